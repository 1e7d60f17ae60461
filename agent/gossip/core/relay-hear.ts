// What comes in through a server, checked in this order: who is meant, how much of it there may be, whose signature it carries, whether
// it was said before. Pure; part of relay.ts.

import { isKnownHint, spreadHint } from "./hints.ts";
import { compareRecords, readRecord, readSigned, type SignedRecord } from "./record.ts";
import { hearTakeovers } from "./takeovers.ts";
import { isOwnWord, type RelayMessage } from "./relay-message.ts";
import { mayListen, type RelayPeer, takeAnchor, takeStanding as takeBeat } from "./relay-peer.ts";
import { reportRefusal } from "./gossip-refusals.ts";
import { judgePeer, put, type RelayState, sayBeat } from "./relay-state.ts";
import { ASK_SOON_MS, HINT_EVERY_MS, PROVE_EVERY_MS } from "../settings.ts";

/** Somebody asks whether this node lives. */
export function answer(state: RelayState, { asker, target, nonce }: Extract<RelayMessage, { t: "ask" }>): void {
  if (target !== state.options.node || !state.roster.has(asker)) return;
  const message = state.own.prove(state.nowMs, { asker, nonce });
  if (message === undefined) reportRefusal(state, asker, "too-many-frames", "more questions than can be answered");
  else state.effects.push({ kind: "say", message });
}

/** Takes what somebody says; only its own signature makes it its word. */
export function hear(state: RelayState, message: Exclude<RelayMessage, { t: "ask" }>): void {
  const { node } = message;
  const member = state.roster.get(node);
  const peer = state.peers.get(node);
  if (peer === undefined || member === undefined) return;
  // An answer to somebody else's question, or to none.
  if (message.t === "proof" && (message.to !== state.options.node || !peer.nonces.has(message.nonce))) return;
  const { realm, signer } = state.options;
  if (!mayListen(peer, state.nowMs)) reportRefusal(state, node, "too-many-frames", "more in its name than it may say");
  else if (!isOwnWord(realm, message, { publicKey: member.publicKey, signer }))
    reportRefusal(state, node, "forged-record", `a ${message.t} in its name that it has not signed`);
  else if (message.t === "hint") takeHint(state, peer, message.revision);
  else takeStanding(state, peer, message);
}

function takeStanding(
  state: RelayState,
  peer: RelayPeer,
  message: Extract<RelayMessage, { t: "beat" | "proof" }>,
): void {
  const { node, boot, seq, beat, upMs } = message;
  const standing = { node, boot, seq, beat, upMs };
  if (message.t === "proof") {
    if (!takeAnchor(peer, standing, message.nonce)) return;
    peer.asked = { dueMs: state.nowMs + PROVE_EVERY_MS * (0.8 + 0.2 * state.options.rng()), times: 0 };
  } else {
    const taken = takeBeat(peer, standing, state.nowMs);
    if (taken === "replayed") return reportRefusal(state, node, "replayed-record", "a heartbeat that it said before");
    // Another life of it, or one that is not known yet: it is asked before it is believed.
    if (taken === "unproven") peer.asked.dueMs = Math.min(peer.asked.dueMs, state.nowMs + ASK_SOON_MS);
  }
  judgePeer(state, peer);
  state.effects.push({ kind: "changed", node });
}

/** What a record says of takeovers counts whoever has signed it: each carries the recovery key's own signature. */
export function hearTakeoversIn(state: RelayState, record: SignedRecord): void {
  if (!record.body.includes('"takeovers"')) return;
  hearTakeovers(state, readRecord(record)?.takeovers ?? [], () => {
    state.own.sign();
    put(state);
  });
}

/** Takes a value of the bucket. */
export function take(state: RelayState, record: SignedRecord): void {
  const peer = state.peers.get(record.node);
  const member = state.roster.get(record.node);
  if (peer === undefined || member === undefined) {
    state.counts.recordsOfStrangers += 1;
    return;
  }
  const order = peer.held === undefined ? 1 : compareRecords(record, peer.held.record);
  if (order <= 0) {
    state.counts.recordsKnown += 1;
    if (order < 0) reportRefusal(state, record.node, "replayed-record", "an older record in place of its newest");
    return;
  }
  const { realm, signer } = state.options;
  if (!mayListen(peer, state.nowMs)) return reportRefusal(state, record.node, "too-many-frames", "too many records");
  const body = readSigned(record, { realm, publicKey: member.publicKey, signer });
  if (body === undefined) return refuseRecord(state, record.node);
  peer.held = { record, body };
  state.counts.recordsAccepted += 1;
  judgePeer(state, peer);
  state.effects.push({ kind: "changed", node: record.node });
}

/** Takes a value of the bucket that stands in this node's own name. */
export function meetOwn(state: RelayState, record: SignedRecord | undefined): void {
  state.echo = record;
  if (record === undefined) return;
  const met = state.own.handleForeignCopy(record, state.nowMs);
  if (met === "known") return;
  if (met === "forged") return refuseRecord(state, record.node);
  state.effects.push({ kind: "store-boot", boot: met.boot });
  if (met.isClone) state.effects.push({ kind: "event", event: { kind: "cloned", boot: record.boot } });
  put(state);
  sayBeat(state);
}

function takeHint(state: RelayState, peer: RelayPeer, revision: string): void {
  if (state.nowMs < peer.hintMs || isKnownHint(state.hints, revision)) return;
  peer.hintMs = state.nowMs + HINT_EVERY_MS;
  state.counts.hintsReceived += 1;
  if (revision === state.own.words.revision) return;
  const delayMs = spreadHint(state.roster.size, state.options.rng);
  state.effects.push({ kind: "hint", revision, delayMs });
}

function refuseRecord(state: RelayState, node: string): void {
  state.counts.recordsForged += 1;
  reportRefusal(state, node, "forged-record", "a record in its name that it has not signed");
}
