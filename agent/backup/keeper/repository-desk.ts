// The repositories of this node's stores: from what fleet.toml says of each to a place with its keys, what lies there, and what goes. A
// directory is looked into here; a bucket is asked by a child, and what it said is kept for a while.

import type { BackupRecord } from "../core/backup-record.ts";
import type { KnownBackup, RepositoryPlan, StorePlan } from "../../../shared/state/backup.ts";
import type { Clock } from "../../host/os/clock.ts";
import type { ChildAnswer, ListRequest, RetainRequest } from "../backup-exchange.ts";
import { splitKeys } from "../objects/bucket-place.ts";
import { carryOutRetention, type Retained, type RetentionInput } from "../keep-few.ts";
import { type BackupList, listBriefly } from "../pipeline.ts";
import { DirectoryQueue } from "../repository/directory-queue.ts";
import { openRepository, type RepositoryPlace } from "../repository/repository-place.ts";
import type { PlaceTerm, StoreFolder } from "../repository/repository-port.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** A secret's value, or why there is none. */
export type SecretReading = { value: string } | { reason: string };

/** What the desk works with. */
export interface DeskParts {
  node: string;
  clock: Clock;
  /** The directory of the repository `local`. */
  localDirectory: string;
  /** Of a spare in the node's place: the term of its takeover. */
  readTerm?: (() => PlaceTerm | undefined) | undefined;
  /** Reads a secret by its path. */
  readSecret(path: string): SecretReading;
  /** True where backups of a store are known to lie in a repository. */
  isKnown(store: StorePlan, repository: RepositoryPlan): boolean;
  /** Asks a child that is not in the way of a dump. */
  askLight(request: ListRequest | RetainRequest): Promise<ChildAnswer>;
}

/** A store, or one area of it: its bases, or a timeline of its log. */
export type StoreArea = StorePlan & Pick<StoreFolder, "area">;

/** A listing, or why there is none. */
export type Listing = { list: BackupList } | { reason: string };

/** A bucket is asked again after so long, where no run made it known before. */
const LIST_AGE_MS = 600_000;
/** One that could not be asked is asked again sooner. */
const FAILURE_AGE_MS = 60_000;
/** A directory answers in this time, or hangs. */
const LIST_DEADLINE_MS = 30_000;
/** As long as a bucket's child may take. */
const RETAIN_DEADLINE_MS = 900_000;

/** Knows the repositories of one node. */
export class RepositoryDesk {
  readonly #parts: DeskParts;
  readonly #directories: DirectoryQueue;
  readonly #listings = new Map<string, { atMs: number; listing: Promise<Listing> }>();

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.#directories = new DirectoryQueue(parts.clock);
  }

  /** A place with its keys, or why it cannot be used. */
  resolve(plan: RepositoryPlan, store: StorePlan, use: "write" | "prune" = "write"): RepositoryPlace | string {
    if (plan.kind === "unknown") return `fleet.toml has no repository ${plan.name}`;
    const term = this.#parts.readTerm?.();
    const inTerm = term === undefined ? {} : { term };
    if (plan.kind !== "s3") {
      const holds = this.#parts.isKnown(store, plan) ? this.#folder(store) : undefined;
      return { kind: plan.kind, name: plan.name, directory: plan.path ?? this.#parts.localDirectory, holds, ...inTerm };
    }
    const { name, endpoint, bucket, region, prefix, lockDays, caFile, secret, prunerSecret } = plan;
    const path = use === "write" ? secret : prunerSecret;
    const read = this.#parts.readSecret(path);
    if ("reason" in read) return `the secret ${path}: ${read.reason}`;
    const keys = splitKeys(path, read.value);
    if (typeof keys === "string") return keys;
    return { kind: "s3", name, endpoint, bucket, region, prefix, ...keys, lockDays, caFile, ...inTerm };
  }

  /** The directory of this host that a repository is; undefined for another kind. */
  findDirectory(plan: RepositoryPlan): string | undefined {
    if (plan.kind === "local") return this.#parts.localDirectory;
    return plan.kind === "directory" ? plan.path : undefined;
  }

  /** What a repository has of a store. Never rejects. */
  list(plan: RepositoryPlan, store: StoreArea): Promise<Listing> {
    const place = this.resolve(plan, store);
    if (typeof place === "string") return Promise.resolve({ reason: place });
    const folder = this.#folder(store);
    if (place.kind !== "s3")
      return this.#directories
        .ask(place.directory, LIST_DEADLINE_MS, async () =>
          listBriefly((await openRepository(place)).repository, folder),
        )
        .then((list) => ({ list }), describeFailure);
    const key = nameListing(plan, store);
    const nowMs = this.#parts.clock.nowMs();
    const known = this.#listings.get(key);
    if (known !== undefined && nowMs - known.atMs < LIST_AGE_MS && nowMs >= known.atMs) return known.listing;
    const listing = this.#ask(place, folder).then((found) => {
      // What went wrong is not kept as long as what is there.
      if ("reason" in found) this.#listings.set(key, { atMs: nowMs - LIST_AGE_MS + FAILURE_AGE_MS, listing });
      return found;
    });
    this.#listings.set(key, { atMs: nowMs, listing });
    return listing;
  }

  /** Something was written or removed there. */
  forget(store: StoreArea): void {
    for (const plan of store.repositories) this.#listings.delete(nameListing(plan, store));
  }

  /** Where a backup's files lie, for people. */
  describeFiles(
    plan: RepositoryPlan,
    store: StoreArea,
    { files, folder: lies }: Pick<KnownBackup, "files"> & { folder?: string | undefined },
  ): string[] {
    const { node, service, store: name, area } = this.#folder(store);
    const folder = lies ?? (area === undefined ? name : `${name}.wal/${area}`);
    const prefix = plan.kind === "s3" && plan.prefix !== "" ? `${plan.prefix}/` : "";
    const start =
      plan.kind === "s3"
        ? `s3://${plan.bucket}/${prefix}`
        : `${(plan.kind === "directory" ? plan.path : undefined) ?? this.#parts.localDirectory}/`;
    return files.map((file) => `${start}${node}/${service}/${folder}/${file}`);
  }

  /** Does something small in a place that is open to this process; a directory that hangs is given up on. */
  reach<T>(place: RepositoryPlace, work: () => Promise<T>): Promise<T> {
    return place.kind === "s3" ? work() : this.#directories.ask(place.directory, RETAIN_DEADLINE_MS, work);
  }

  /** Carries out retention in one repository, with the key that may delete. Rejects with why it could not. */
  async retain(plan: RepositoryPlan, store: StorePlan, input: RetentionInput): Promise<Retained> {
    const repository = this.resolve(plan, store, "prune");
    if (typeof repository === "string") throw new Error(repository);
    const folder = this.#folder(store);
    // The listings of a bucket are long: another process reads them.
    if (repository.kind !== "s3" && store.source.bucket === undefined)
      return this.#directories.ask(repository.directory, RETAIN_DEADLINE_MS, async () =>
        carryOutRetention((await openRepository(repository)).repository, folder, input),
      );
    const answer = await this.#parts.askLight({ kind: "retain", repository, folder, input });
    if (answer.kind === "retained") return answer.kept;
    throw new Error(answer.kind === "failed" ? answer.reason : "the child gave no answer");
  }

  async #ask(repository: RepositoryPlace, folder: StoreFolder): Promise<Listing> {
    const answer = await this.#parts.askLight({ kind: "list", repository, folders: [folder] });
    const list = answer.kind === "listed" ? answer.lists[0] : undefined;
    if (list !== undefined) return { list };
    return { reason: answer.kind === "failed" ? answer.reason : "the child gave no answer" };
  }

  #folder({ service, store, area }: StoreArea): StoreFolder {
    return { node: this.#parts.node, service, store, ...(area === undefined ? {} : { area }) };
  }
}

function nameListing({ name }: RepositoryPlan, { service, store, area = "" }: StoreArea): string {
  return `${name} ${service}/${store} ${area}`;
}

function describeFailure(error: unknown): { reason: string } {
  return { reason: readMessage(error) };
}

/** The record of a backup by its name, from one repository; undefined also where that cannot be read. */
export async function findRecord(
  desk: RepositoryDesk,
  { plan, repository, name }: { plan: StorePlan; repository: RepositoryPlan; name: string },
): Promise<BackupRecord | undefined> {
  const listing = await desk.list(repository, plan);
  return "list" in listing ? listing.list.records.find((record) => record.name === name) : undefined;
}
