// Where the backups of a store can be taken from: each of its repositories with its keys, what it has, and what opens that. Made by the
// keeper; asked by restores and pins.

import type { StorePlan } from "../../../shared/state/backup.ts";
import type { BackupRecord } from "../core/backup-record.ts";
import type { OwnKey } from "../keeper/own-key.ts";
import type { RepositoryPlace } from "./repository-place.ts";
import type { RepositoryDesk } from "../keeper/repository-desk.ts";

/** One repository of a store, and what opens what lies there. */
export interface BackupSource {
  place: RepositoryPlace;
  records: readonly BackupRecord[];
  /** This node's age identities. */
  identities: readonly string[];
}

/** The same of one area of a store, with the names of all that lies there and is no backup. */
export interface AreaSource extends BackupSource {
  names: readonly string[];
}

/** The repositories of every store of a node. */
export class StoreSources {
  readonly #readPlans: () => readonly StorePlan[];
  readonly #desk: RepositoryDesk;
  readonly #identity: OwnKey;

  constructor(readPlans: () => readonly StorePlan[], desk: RepositoryDesk, identity: OwnKey) {
    this.#readPlans = readPlans;
    this.#desk = desk;
    this.#identity = identity;
  }

  /** Every repository of a store that can be read: in the manifest's order. */
  list(service: string, store: string): Promise<BackupSource[]> {
    return this.listArea(service, store);
  }

  /** The same of an area of the store: of its bases, or of its log. */
  async listArea(service: string, store: string, area?: string): Promise<AreaSource[]> {
    const plan = this.#find(service, store);
    if (plan === undefined) return [];
    if (plan.recipients.length > 0) await this.#identity.ensure();
    const identities = this.#identity.secrets;
    const sources = plan.repositories.map(async (repository): Promise<AreaSource[]> => {
      const place = this.#desk.resolve(repository, plan);
      const listing = typeof place === "string" ? undefined : await this.#desk.list(repository, { ...plan, area });
      if (typeof place === "string" || listing === undefined || "reason" in listing) return [];
      return [{ place, records: listing.list.records, names: listing.list.strange, identities }];
    });
    return (await Promise.all(sources)).flat();
  }

  /** A record was written there: what is known of it is looked up again. */
  forget(service: string, store: string): void {
    const plan = this.#find(service, store);
    if (plan !== undefined) this.#desk.forget(plan);
  }

  #find(service: string, store: string): StorePlan | undefined {
    return this.#readPlans().find((plan) => plan.service === service && plan.store === store);
  }
}
