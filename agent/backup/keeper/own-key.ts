// This node's backup key as the keeper has it: made by a child where there is none, compared with what fleet.toml says of it, and never a
// reason for no backup. A key that is not this node's own is never encrypted for.

import type { Note } from "../../../shared/state/note.ts";
import type { StorePlan } from "../../../shared/state/backup.ts";
import type { ChildAnswer, IdentifyRequest } from "../backup-exchange.ts";
import { type BackupIdentity, readBackupIdentity } from "../backup-identity.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** The identity of one node. */
export class OwnKey {
  readonly #path: string;
  readonly #ask: (request: IdentifyRequest) => Promise<ChildAnswer>;
  #known: BackupIdentity | undefined;
  #trouble: string | undefined;
  #ensuring: Promise<void> | undefined;
  #begun = false;

  constructor(path: string, ask: (request: IdentifyRequest) => Promise<ChildAnswer>) {
    this.#path = path;
    this.#ask = ask;
  }

  /** As fleet.toml writes it; undefined until it is known. */
  get recipient(): string | undefined {
    return this.#known?.recipient;
  }

  /** What opens this node's backups. */
  get secrets(): string[] {
    return this.#known === undefined ? [] : [this.#known.secret];
  }

  /** Has it read or made once, so that a person can write its recipient into fleet.toml before the first backup. */
  begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    void this.ensure();
  }

  /** Reads it, or has it made. Never rejects. */
  ensure(): Promise<void> {
    if (this.#known !== undefined) return Promise.resolve();
    this.#ensuring ??= this.#read().finally(() => (this.#ensuring = undefined));
    return this.#ensuring;
  }

  /** Whom a backup is encrypted for: nobody, where its repositories ask for nobody. */
  listRecipients({ recipients, backupKey }: StorePlan): string[] {
    if (recipients.length === 0) return [];
    const own = this.recipient !== undefined && backupKey === this.recipient ? [this.recipient] : [];
    return [...new Set([...recipients, ...own])];
  }

  /** What opens what this node encrypts now: none where it does not encrypt for itself. */
  listOpening(plan: StorePlan): string[] {
    const { recipient } = this;
    return recipient !== undefined && this.listRecipients(plan).includes(recipient) ? this.secrets : [];
  }

  /** What is not as it should be. */
  note(plans: readonly StorePlan[]): Note[] {
    const name = "backup key";
    if (this.#trouble !== undefined) return [{ name, text: `${this.#trouble}: see orca help repositories` }];
    const sealed = plans.find(({ recipients }) => recipients.length > 0);
    if (sealed === undefined || this.recipient === undefined || sealed.backupKey === this.recipient) return [];
    const says =
      sealed.backupKey === undefined ? "names no backup_key of this node" : "names another backup_key than this node's";
    const text = `fleet.toml ${says}: its encrypted backups cannot be proved here: write backup_key = "${this.recipient}": see orca help repositories`;
    return [{ name, text }];
  }

  async #read(): Promise<void> {
    try {
      this.#known = await readBackupIdentity(this.#path);
      if (this.#known === undefined) {
        const answer = await this.#ask({ kind: "identify", path: this.#path });
        if (answer.kind === "failed") throw new Error(answer.reason);
        this.#known = await readBackupIdentity(this.#path);
      }
      this.#trouble = undefined;
    } catch (error) {
      this.#trouble = readMessage(error);
    }
  }
}
