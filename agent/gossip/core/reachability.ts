// Who is alive, as this node sees it: by the link it holds, by what others can prove, and by how long nobody could. Pure.
// A node's opinion is its own: it is never part of a record, and nobody's opinion speaks for another.

import type { Reachability } from "../../../shared/fleet/gossip-event.ts";
import { compareVersions, describeProof } from "./record.ts";
import type { Message } from "./message.ts";
import { directSilenceMs, type Peer, sendTo, silenceMs, type State } from "./state.ts";
import {
  ASK_EVERY_MS,
  DEATH_AFTER_MS,
  MOST_NONCES,
  MOST_RELAYED,
  PROVEN_MS,
  RELAYED_FRESH_MS,
  RELAYED_MS,
  RELAYS_ASKED,
  RELAY_SILENCE_MS,
  REPORT_AFTER_MS,
  SUSPECT_MS,
} from "../settings.ts";

/** What an opinion is made from. Times in milliseconds. */
export interface Evidence {
  /** It is heard on its own link, or through others, in time. */
  heard: boolean;
  silenceMs: number;
  /** Its port refuses connections. */
  refused: boolean;
  /** Peers that do not reach it either, and peers that could be asked. */
  noes: number;
  candidates: number;
  /** 1, or more while the own loop lags. */
  strain: number;
}

/** Judges one peer. A closed port needs no silence: with one confirmation, where one can be had, its process has ended. */
export function judgeReachability({
  heard,
  silenceMs: silence,
  refused,
  noes,
  candidates,
  strain,
}: Evidence): Reachability {
  if (heard) return "alive";
  if (refused && noes >= Math.min(candidates, 2)) return "dead";
  const deathMs = DEATH_AFTER_MS[Math.min(noes, DEATH_AFTER_MS.length - 1)] ?? 0;
  return silence >= deathMs * strain ? "dead" : "suspect";
}

const BY_LINK = "alive by a link to it";

/** Looks at one peer again, and asks others where it is not heard. */
export function lookAt(state: State, peer: Peer): void {
  const direct = directSilenceMs(state, peer) <= SUSPECT_MS * state.strain;
  // As nearly always: it is alive, and was.
  if (direct && peer.state === "alive" && peer.why === BY_LINK) {
    peer.suspicion = undefined;
    return;
  }
  const proven = state.awakeMs - (peer.proven?.atMs ?? -Infinity) <= PROVEN_MS * state.strain;
  if (direct) peer.suspicion = undefined;
  else if (peer.state !== "unknown") askOthers(state, peer);
  if (peer.state === "unknown" && !direct && !proven) return;
  const next = direct || proven ? "alive" : judgeSilent(state, peer);
  const said = state.held.get(peer.node)?.body.left === true && peer.link === undefined ? "left" : next;
  const alive = direct ? BY_LINK : `alive by a proof through ${peer.proven?.via ?? "others"}`;
  turn(state, peer, said, describeTransition(peer, said, alive));
}

/**
 * A peer is heard on its own link. If it was silent for so long that its statements had become stale, and no tick came in that time,
 * this node has told nobody that they were stale: whoever read them meanwhile must read them again.
 */
export function noteHeard(state: State, peer: Peer): void {
  const wasSilent = directSilenceMs(state, peer) > SUSPECT_MS * state.strain;
  peer.heardMs = state.awakeMs;
  if (peer.state !== "alive" || peer.why !== BY_LINK) lookAt(state, peer);
  if (wasSilent) state.effects.push({ kind: "changed", node: peer.node });
}

function judgeSilent(state: State, peer: Peer): Reachability {
  const { noes, refused } = peer.suspicion ?? { noes: new Set(), refused: false };
  return judgeReachability({
    heard: false,
    silenceMs: silenceMs(state, peer),
    refused,
    noes: noes.size,
    strain: state.strain,
    candidates: listRelays(state, peer).length,
  });
}

function describeTransition(peer: Peer, next: Reachability, alive: string): string {
  switch (next) {
    case "alive":
      return alive;
    case "left":
      return "its agent was told to end";
    case "unknown":
      return peer.why;
    case "suspect":
    case "dead": {
      const noes = [...(peer.suspicion?.noes ?? [])].toSorted();
      const others = noes.length === 0 ? "" : `; ${noes.join(", ")} cannot reach it either`;
      const what = peer.suspicion?.refused === true ? "its port refuses connections" : "it is not heard";
      return `${what}${others}`;
    }
    default:
      return next satisfies never;
  }
}

/** Changes the opinion, where it changes. */
function turn(state: State, peer: Peer, next: Reachability, why: string): void {
  if (peer.state === next) {
    peer.why = why;
    return;
  }
  peer.state = next;
  peer.sinceMs = state.nowMs;
  peer.why = why;
  peer.reported = false;
  if (next === "alive") peer.nonces.clear();
  state.effects.push(
    { kind: "event", event: { kind: "peer", node: peer.node, state: next, why } },
    { kind: "changed", node: peer.node },
  );
}

/** Peers that are heard directly, and so may know better. */
function listRelays(state: State, target: Peer): Peer[] {
  const relays: Peer[] = [];
  for (const peer of state.peers.values())
    if (peer !== target && directSilenceMs(state, peer) <= RELAY_SILENCE_MS) relays.push(peer);
  return relays;
}

/** Asks a few others, each with a nonce that only the target itself can answer. */
function askOthers(state: State, peer: Peer): void {
  peer.suspicion ??= { noes: new Set(), askedMs: -Infinity, refused: false };
  const { suspicion } = peer;
  if (state.awakeMs - suspicion.askedMs < ASK_EVERY_MS) return;
  suspicion.askedMs = state.awakeMs;
  const relays = listRelays(state, peer);
  // A no is the word of one moment: whoever said it may hear the peer by now.
  suspicion.noes.clear();
  const from = Math.floor(state.options.rng() * relays.length);
  const nonce = state.options.newNonce();
  if (peer.nonces.size >= MOST_NONCES) peer.nonces.delete(peer.nonces.keys().next().value ?? "");
  peer.nonces.set(nonce, state.awakeMs);
  for (let count = 0; count < Math.min(RELAYS_ASKED, relays.length); count += 1) {
    const relay = relays[(from + count) % relays.length];
    if (relay !== undefined) sendTo(state, relay.node, { t: "ask", target: peer.node, nonce });
  }
}

/** A relay does not reach the target either. */
export function takeNo(state: State, from: string, message: Extract<Message, { t: "no" }>): void {
  const peer = state.peers.get(message.target);
  if (peer?.suspicion === undefined || !peer.nonces.has(message.nonce)) return;
  peer.suspicion.noes.add(from);
  lookAt(state, peer);
}

/** The target has signed our nonce: it lived when that was sent, and its newest record was this one. */
export function takeProof(state: State, from: string, proof: Extract<Message, { t: "proof" }>): void {
  const { target, nonce, boot, seq, signature } = proof;
  const peer = state.peers.get(target);
  const member = state.roster.get(target);
  const sentMs = peer?.nonces.get(nonce);
  if (peer === undefined || member === undefined || sentMs === undefined) return;
  const { realm, node, signer } = state.options;
  const text = describeProof({ realm, node: target, to: node, nonce, boot, seq });
  if (!signer.verify(member.publicKey, text, signature)) return;
  peer.nonces.delete(nonce);
  const version = { boot, seq };
  if (peer.proven === undefined || sentMs >= peer.proven.atMs) peer.proven = { atMs: sentMs, version, via: from };
  if (peer.suspicion !== undefined) peer.suspicion = { ...peer.suspicion, noes: new Set(), refused: false };
  lookAt(state, peer);
  state.effects.push({ kind: "changed", node: target });
}

/**
 * Whether the record held of a node is its present word. Undefined when it is, else why not. A dead or suspect node's record
 * says what was, and a replayed one is never fresh: only the owner, on a live link or by a proof, makes it so.
 */
export function findStaleness(state: State, node: string): string | undefined {
  const peer = state.peers.get(node);
  const held = state.held.get(node);
  if (!state.roster.has(node)) return `${node} is not in this realm`;
  if (peer === undefined) return `${node} has no link to this node`;
  if (peer.state !== "alive") return describeAway(peer, node);
  if (held === undefined) return `${node} has said nothing yet`;
  if (held.body.left === true) return `the agent of ${node} was told to end`;
  const direct = directSilenceMs(state, peer) <= SUSPECT_MS * state.strain;
  if (direct && peer.said !== undefined && compareVersions(held.record, peer.said) === 0) return undefined;
  const { proven } = peer;
  const current = proven !== undefined && compareVersions(held.record, proven.version) === 0;
  if (current && state.awakeMs - proven.atMs <= RELAYED_FRESH_MS) return undefined;
  return `what ${node} said last has not arrived yet`;
}

function describeAway({ state, why }: Peer, node: string): string {
  return state === "unknown" ? `${node} was not reached yet` : `${node} is ${state}: ${why}`;
}

/** Reports nodes that are away for long: once, by the reachable node with the lowest name. */
export function reportAway(state: State): void {
  for (const peer of state.linkedPeers) {
    const away = peer.state === "dead" || peer.state === "unknown";
    const forMs = state.nowMs - peer.sinceMs;
    if (!away || peer.reported || forMs < REPORT_AFTER_MS) continue;
    peer.reported = true;
    const { node, why } = peer;
    const lower = [...state.peers.values()].some((other) => other.state === "alive" && other.node < state.options.node);
    if (!lower) state.effects.push({ kind: "event", event: { kind: "unreachable", node, forMs, why } });
  }
}

/** Another node asks for an opinion on a third. */
export function relayAsk(state: State, asker: string, { target, nonce }: Extract<Message, { t: "ask" }>): void {
  const peer = state.peers.get(target);
  const reaches = peer !== undefined && directSilenceMs(state, peer) <= RELAY_SILENCE_MS * state.strain;
  if (!reaches || state.relayed.length >= MOST_RELAYED) {
    sendTo(state, asker, { t: "no", target, nonce });
    return;
  }
  state.relayed.push({ asker, target, nonce, atMs: state.awakeMs });
  sendTo(state, target, { t: "challenge", asker, nonce });
}

/** Signs another node's nonce, by way of whoever relays it. */
export function answerChallenge(state: State, relay: string, message: Extract<Message, { t: "challenge" }>): void {
  const { asker, nonce } = message;
  if (!state.roster.has(asker)) return;
  const { realm, node, signer } = state.options;
  const { boot, seq } = state;
  const signature = signer.sign(describeProof({ realm, node, to: asker, nonce, boot, seq }));
  sendTo(state, relay, { t: "proof", target: node, asker, nonce, boot, seq, signature });
}

/** Hands a proof on to whoever asked for it. */
export function relayProof(state: State, from: string, proof: Extract<Message, { t: "proof" }>): void {
  const index = state.relayed.findIndex(
    ({ asker, target, nonce }) => asker === proof.asker && target === from && nonce === proof.nonce,
  );
  if (index === -1) return;
  state.relayed.splice(index, 1);
  sendTo(state, proof.asker, proof);
}

/** The link to a target has ended: who asked about it is told. */
export function endRelays(state: State, target: string): void {
  for (const entry of state.relayed.filter((one) => one.target === target))
    sendTo(state, entry.asker, { t: "no", target, nonce: entry.nonce });
  state.relayed = state.relayed.filter((one) => one.target !== target);
}

/** Forgets asks that nobody answered. */
export function sweepRelays(state: State): void {
  if (state.relayed.length === 0) return;
  state.relayed = state.relayed.filter(({ atMs }) => state.awakeMs - atMs < RELAYED_MS);
}
