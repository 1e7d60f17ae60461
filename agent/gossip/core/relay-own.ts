// What this node says through a server, and where it stands: its record, its heartbeats, the counter of its lives. Pure; part of
// relay.ts.

import type { AgentWord } from "../../../shared/fleet/agent-version.ts";
import type { LostNode } from "../../../shared/slo/availability.ts";
import type { ColdStartStatement } from "../../../shared/state/cold-start.ts";
import type { SignedTakeover } from "../../../shared/fleet/takeover.ts";
import {
  compareRecords,
  buildBody,
  isSameAgent,
  isSameLost,
  readSigned,
  type ServiceStatement,
  type SignedRecord,
  signRecord,
} from "./record.ts";
import { type RelayMessage, signRelayed, type Standing } from "./relay-message.ts";
import type { GossipOptions } from "./state.ts";
import { ANSWERS, OWN_RECORDS, REFUTES_OF_A_RESTORED_DISK, REFUTE_EVERY_MS } from "../settings.ts";

/** Everything there is to say. */
export interface Words {
  services: Readonly<Record<string, ServiceStatement>>;
  revision: string | undefined;
  cold: ColdStartStatement | undefined;
  agent?: AgentWord | undefined;
  lost?: readonly LostNode[] | undefined;
}

/** What came of a record in this node's name. */
type Meeting = "known" | "forged" | { boot: number; isClone: boolean };

/** The own side. */
export class OwnRecord {
  readonly #options: GossipOptions;
  readonly #beganMs: number;
  #boot: number;
  #seq = 0;
  #beat = 0;
  #left = false;
  #refutes = { atMs: -Infinity, count: 0 };
  #tokens: { records: number; answers: number } = { records: OWN_RECORDS.atOnce, answers: ANSWERS.atOnce };
  /** Which takeovers are said. */
  takeovers: () => readonly SignedTakeover[] = () => [];
  words: Words = { services: {}, revision: undefined, cold: undefined };
  /** There is something that the record does not say yet, or that the server has not taken. */
  dirty = false;
  record: SignedRecord;

  constructor(options: GossipOptions, nowMs: number) {
    this.#options = options;
    this.#boot = options.boot;
    this.#beganMs = nowMs;
    this.record = this.sign();
  }

  /** Takes what is to be said; true when it is new. */
  take(words: Words): boolean {
    const { revision, cold, agent, lost, services } = this.words;
    this.words = words;
    const isSame =
      revision === words.revision &&
      cold === words.cold &&
      isSameAgent(agent, words.agent) &&
      isSameLost(lost, words.lost);
    if (isSame && JSON.stringify(services) === JSON.stringify(words.services)) return false;
    this.dirty = true;
    return true;
  }

  /** This agent ends as it was told to. */
  leave(): void {
    this.#left = true;
    this.sign();
  }

  /** Makes the next record. */
  sign(): SignedRecord {
    const { node, realm, signer } = this.#options;
    this.dirty = false;
    this.#seq += 1;
    const said = { ...this.words, left: this.#left, takeovers: this.takeovers() };
    const words = buildBody({ realm, node, boot: this.#boot, seq: this.#seq }, said);
    this.record = signRecord(words, signer);
    return this.record;
  }

  /** The next heartbeat. */
  beat(nowMs: number): RelayMessage {
    this.#beat += 1;
    const { realm, signer } = this.#options;
    return signRelayed(realm, { t: "beat", ...this.#stand(nowMs) }, signer);
  }

  /** The answer to a question; undefined when there are more of them than can be answered. */
  prove(nowMs: number, { asker, nonce }: { asker: string; nonce: string }): RelayMessage | undefined {
    if (this.#tokens.answers < 1) return undefined;
    this.#tokens.answers -= 1;
    const { realm, signer } = this.#options;
    return signRelayed(realm, { t: "proof", ...this.#stand(nowMs), to: asker, nonce }, signer);
  }

  /** May another record be put now? */
  mayPut(): boolean {
    if (this.#tokens.records < 1) return false;
    this.#tokens.records -= 1;
    return true;
  }

  /** Time has passed. */
  refill(passedMs: number): void {
    const fill = (kind: { atOnce: number; perSecond: number }, left: number): number =>
      Math.min(kind.atOnce, left + (passedMs / 1_000) * kind.perSecond);
    this.#tokens = { records: fill(OWN_RECORDS, this.#tokens.records), answers: fill(ANSWERS, this.#tokens.answers) };
  }

  /** A record of this node that this life has not written: of a restored disk's future, or of a clone. This life goes above it. */
  handleForeignCopy(record: SignedRecord, nowMs: number): Meeting {
    if (compareRecords(record, this.record) <= 0 || nowMs - this.#refutes.atMs < REFUTE_EVERY_MS) return "known";
    const { realm, publicKey, signer } = this.#options;
    if (readSigned(record, { realm, publicKey, signer }) === undefined) return "forged";
    this.#refutes = { atMs: nowMs, count: this.#refutes.count + 1 };
    this.#boot = Math.max(this.#boot, record.boot) + 1;
    this.#seq = 0;
    this.sign();
    return { boot: this.#boot, isClone: this.#refutes.count > REFUTES_OF_A_RESTORED_DISK };
  }

  #stand(nowMs: number): Standing {
    const upMs = Math.max(0, Math.round(nowMs - this.#beganMs));
    return { node: this.#options.node, boot: this.#boot, seq: this.#seq, beat: this.#beat, upMs };
  }
}
