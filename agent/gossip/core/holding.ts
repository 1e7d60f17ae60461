// Which records are held: one for each node of the roster at most, each newer than the one before, each with its owner's
// signature. Also the own record, and what is done when another life of this node turns up. Pure.

import {
  compareRecords,
  compareVersions,
  buildBody,
  isOwners,
  readRecord,
  readSigned,
  type RecordBody,
  type SignedRecord,
  signRecord,
} from "./record.ts";
import { reportRefusal } from "./gossip-refusals.ts";
import { hearTakeovers } from "./takeovers.ts";
import { type KeptRecord, type Link, send, type State } from "./state.ts";
import { OWN_RECORDS, REFUTES_OF_A_RESTORED_DISK, REFUTE_EVERY_MS } from "../settings.ts";

/**
 * Takes a record from a peer: its own, or one that it relays.
 * @returns true when it is newer than what was held
 */
export function takeRecord(state: State, from: Link, record: SignedRecord): boolean {
  const { node, realm, signer } = state.options;
  hearIn(state, record);
  if (record.node === node) return meetOwnRecord(state, from, record);
  const member = state.roster.get(record.node);
  // A relayed record of a node that Git has just taken out is nobody's fault.
  if (member === undefined) {
    state.counts.recordsOfStrangers += 1;
    return false;
  }
  const held = state.held.get(record.node);
  const order = held === undefined ? 1 : compareRecords(record, held.record);
  const direct = record.node === from.node;
  if (order <= 0) state.counts.recordsKnown += 1;
  if (order < 0) return false;
  if (order === 0) {
    if (direct) noteSaid(state, record);
    return false;
  }
  const read = keep(record);
  if (read === undefined || !isOwners(record, read.body, { realm, publicKey: member.publicKey, signer })) {
    state.counts.recordsForged += 1;
    reportRefusal(state, from.node, "forged-record", `a record of ${record.node} that it has not signed`);
    return false;
  }
  hold(state, read);
  state.counts.recordsAccepted += 1;
  if (direct) noteSaid(state, record);
  state.effects.push({ kind: "changed", node: record.node });
  return true;
}

/** What a record says of takeovers counts whoever has signed it: each carries the recovery key's own signature. */
function hearIn(state: State, record: SignedRecord): void {
  if (!record.body.includes('"takeovers"')) return;
  hearTakeovers(state, keep(record)?.body.takeovers ?? [], () => publishNow(state));
}

/** What an owner says itself, on a live link, is the only thing that counts as fresh. */
function noteSaid(state: State, { node, boot, seq }: SignedRecord): void {
  const peer = state.peers.get(node);
  if (peer === undefined) return;
  if (peer.said === undefined || compareVersions(peer.said, { boot, seq }) < 0) {
    peer.said = { boot, seq };
    state.effects.push({ kind: "changed", node });
  }
}

/** What was read once of a record that travels by reference inside one process. */
const kept = new WeakMap<SignedRecord, KeptRecord>();

/** Reads a record once, whoever else of this process holds it; undefined where it is none. */
function keep(record: SignedRecord): KeptRecord | undefined {
  const known = kept.get(record);
  if (known !== undefined) return known;
  const body = readRecord(record);
  if (body === undefined) return undefined;
  const read = buildKept(record, body);
  kept.set(record, read);
  return read;
}

function buildKept(record: SignedRecord, body: RecordBody): KeptRecord {
  const { node, boot, seq, signature } = record;
  return { record, body, have: [node, boot, seq], mark: hashText(`${node}\n${boot}\n${seq}\n${signature}`) };
}

/** Puts a record in place of the one before. */
function hold(state: State, held: KeptRecord): void {
  const before = state.held.get(held.record.node);
  if (before !== undefined) mix(state, before);
  mix(state, held);
  state.held.set(held.record.node, held);
}

/** Forgets a node that left the roster. */
export function forget(state: State, node: string): void {
  const before = state.held.get(node);
  if (before === undefined) return;
  mix(state, before);
  state.held.delete(node);
}

/** Adds a record to the sum, or takes it out again. */
function mix({ sum }: State, { mark: [high, low] }: KeptRecord): void {
  sum[0] = (sum[0] ^ high) >>> 0;
  sum[1] = (sum[1] ^ low) >>> 0;
}

/** Two rounds of FNV-1a. The sum finds differences by accident, not by intent: what it leads to is signed. */
function hashText(text: string): [number, number] {
  let high = 0x811c9dc5;
  let low = 0xdeadbeef;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    high = Math.imul(high ^ code, 0x01000193);
    low = Math.imul(low ^ code, 0x01000193) ^ (high >>> 15);
  }
  return [high >>> 0, low >>> 0];
}

/** The sum over everything held, as it travels. */
export function describeSum({ sum: [high, low] }: State): string {
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}

/**
 * A record of this node that this life has not written: an older life's, newer than what the disk remembers (it was restored),
 * or that of a clone. This life goes above it.
 */
function meetOwnRecord(state: State, from: Link, record: SignedRecord): boolean {
  const { realm, publicKey, signer } = state.options;
  const own = state.held.get(record.node)?.record;
  if (own !== undefined && compareRecords(record, own) <= 0) return false;
  if (readSigned(record, { realm, publicKey, signer }) === undefined) {
    state.counts.recordsForged += 1;
    reportRefusal(state, from.node, "forged-record", `a record of ${record.node} that it has not signed`);
    return false;
  }
  if (state.nowMs - state.refutedMs < REFUTE_EVERY_MS) return false;
  state.refutedMs = state.nowMs;
  state.refutations += 1;
  state.boot = Math.max(state.boot, record.boot) + 1;
  state.seq = 0;
  state.effects.push({ kind: "store-boot", boot: state.boot });
  if (state.refutations > REFUTES_OF_A_RESTORED_DISK)
    state.effects.push({ kind: "event", event: { kind: "cloned", boot: record.boot } });
  publishNow(state);
  return false;
}

/** Says what is new, as soon as the bucket allows it. */
export function publishIfDue(state: State): void {
  const { publishing } = state;
  if (!publishing.dirty) return;
  const refill = ((state.nowMs - publishing.filledMs) / 1_000) * OWN_RECORDS.perSecond;
  publishing.tokens = Math.min(OWN_RECORDS.atOnce, publishing.tokens + Math.max(0, refill));
  publishing.filledMs = state.nowMs;
  if (publishing.tokens < 1) return;
  publishing.tokens -= 1;
  publishNow(state);
}

/** Signs what is to be said and pushes it to everyone with a link. */
export function publishNow(state: State): void {
  const { node, realm, signer } = state.options;
  const { boot, own } = state;
  state.publishing.dirty = false;
  state.seq += 1;
  const takeovers = [...state.takeovers.values()];
  const words = buildBody({ realm, node, boot, seq: state.seq }, { ...own, takeovers });
  const record = signRecord(words, signer);
  hold(state, buildKept(record, words));
  // One message for all: whoever sends it need not encode it again for each.
  const message = { t: "record" as const, record };
  for (const { link } of state.peers.values()) if (link !== undefined) send(state, link, message);
}
