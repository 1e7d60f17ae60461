// One other node as it is seen through a server: when it was last known to live, by a proof that answered a question of this node
// and by heartbeats after it. A server that repeats, holds back or slows down what it passes on makes nobody look alive. Pure.

import type { GossipEvent, Reachability } from "../../../shared/fleet/gossip-event.ts";
import { compareVersions } from "./record.ts";
import type { Standing } from "./relay-message.ts";
import type { Held } from "./state.ts";
import { FETCH_AFTER_MS, FETCH_AGAIN_MS, HEARD, MOST_RELAY_NONCES, REPORT_AFTER_MS } from "../settings.ts";

/** What is known of one node. Times are this node's own. */
export interface RelayPeer {
  node: string;
  held: Held | undefined;
  /** A moment at which its own time was known: the question was sent then, so its answer was said later. */
  anchor: { boot: number; upMs: number; atMs: number } | undefined;
  /** The newest that it said of itself, and when it must have said that. */
  last: { standing: Standing; saidMs: number } | undefined;
  nonces: Map<string, number>;
  asked: { dueMs: number; times: number };
  /** When the bucket is asked for what it said last; undefined while that is here. */
  fetchDueMs: number | undefined;
  state: Reachability;
  sinceMs: number;
  why: string;
  reported: boolean;
  hintMs: number;
  /** Messages in its name that are still looked at: a bucket that refills. */
  allowance: { left: number; atMs: number };
}

/** A node that nothing is known of. */
export function beginRelayPeer(node: string, nowMs: number): RelayPeer {
  return {
    node,
    held: undefined,
    anchor: undefined,
    last: undefined,
    nonces: new Map(),
    asked: { dueMs: nowMs, times: 0 },
    fetchDueMs: undefined,
    state: "unknown",
    sinceMs: nowMs,
    why: NEVER,
    reported: false,
    hintMs: -Infinity,
    allowance: { left: HEARD.atOnce, atMs: nowMs },
  };
}

const NEVER = "not reached since this agent's start";

/** May another message in its name be looked at? Checking a signature costs, whoever sent it. */
export function mayListen(peer: RelayPeer, nowMs: number): boolean {
  const { left, atMs } = peer.allowance;
  const filled = Math.min(HEARD.atOnce, left + (Math.max(0, nowMs - atMs) / 1_000) * HEARD.perSecond);
  peer.allowance = { left: Math.max(0, filled - 1), atMs: nowMs };
  return filled >= 1;
}

/** Keeps a nonce that is being sent. */
export function askWith(peer: RelayPeer, nonce: string, nowMs: number): void {
  if (peer.nonces.size >= MOST_RELAY_NONCES) peer.nonces.delete(peer.nonces.keys().next().value ?? "");
  peer.nonces.set(nonce, nowMs);
}

/** A question of this node was answered: the node lived after it was sent. */
export function takeAnchor(peer: RelayPeer, standing: Standing, nonce: string): boolean {
  const sentMs = peer.nonces.get(nonce);
  // A life that has been followed by another does not come back.
  if (sentMs === undefined || standing.boot < (peer.last?.standing.boot ?? 0)) return false;
  peer.nonces.clear();
  peer.anchor = { boot: standing.boot, upMs: standing.upMs, atMs: sentMs };
  if (peer.last === undefined || compareStanding(standing, peer.last.standing) >= 0)
    peer.last = { standing, saidMs: sentMs };
  return true;
}

/**
 * A heartbeat: newer than any before, of the life that was proven. It was said as long after the proof as its owner's clock says,
 * however late it comes.
 */
export function takeStanding(peer: RelayPeer, standing: Standing, nowMs: number): "taken" | "replayed" | "unproven" {
  const { anchor, last } = peer;
  if (last !== undefined && compareStanding(standing, last.standing) <= 0) return "replayed";
  if (anchor?.boot !== standing.boot) return "unproven";
  peer.last = { standing, saidMs: Math.min(nowMs, anchor.atMs + (standing.upMs - anchor.upMs)) };
  return "taken";
}

function compareStanding(left: Standing, right: Standing): number {
  return left.boot - right.boot || left.beat - right.beat;
}

/** How this node hears others. */
export interface Hearing {
  nowMs: number;
  /** Since when the server is reached; undefined while it is not, with the reason. */
  connectedMs: number | undefined;
  trouble: string;
  /** A silence of so long makes what was said stale. */
  freshMs: number;
}

/** What is thought of it, and why. */
export function judgeRelayPeer(peer: RelayPeer, hearing: Hearing): { state: Reachability; why: string } {
  const { nowMs, connectedMs, freshMs, trouble } = hearing;
  if (connectedMs === undefined) return { state: "unknown", why: trouble };
  if (peer.held?.body.left === true && isNewest(peer)) return { state: "left", why: "its agent was told to end" };
  if (peer.last === undefined || peer.anchor === undefined) return { state: "unknown", why: NEVER };
  const silenceMs = nowMs - peer.last.saidMs;
  if (silenceMs <= freshMs) return { state: "alive", why: "alive by its word through the server" };
  // Who has only just been reconnected cannot know who is silent.
  if (nowMs - connectedMs < freshMs) return { state: "unknown", why: "not heard since the server is reached again" };
  return { state: silenceMs <= 2 * freshMs ? "suspect" : "dead", why: "it is not heard through the server" };
}

/** Is the bucket to be asked for a node's record now? */
export function isFetchDue(peer: RelayPeer, nowMs: number): boolean {
  if (peer.state !== "alive" || isNewest(peer)) {
    peer.fetchDueMs = undefined;
    return false;
  }
  peer.fetchDueMs ??= nowMs + FETCH_AFTER_MS;
  if (nowMs < peer.fetchDueMs) return false;
  peer.fetchDueMs = nowMs + FETCH_AGAIN_MS;
  return true;
}

function isNewest({ held, last }: RelayPeer): boolean {
  if (held === undefined) return false;
  return last === undefined || compareVersions(held.record, last.standing) >= 0;
}

/** Whether its record is its present word; undefined when it is, else why not. */
export function findRelayStaleness(peer: RelayPeer | undefined, node: string, hearing: Hearing): string | undefined {
  if (peer === undefined) return `${node} is not in this realm`;
  const { state, why } = judgeRelayPeer(peer, hearing);
  if (state === "unknown") return `${node} was not reached yet: ${why}`;
  if (state === "left") return `the agent of ${node} was told to end`;
  if (state !== "alive") return `${node} is ${state}: ${why}`;
  if (peer.held === undefined) return `${node} has said nothing yet`;
  return isNewest(peer) ? undefined : `what ${node} said last has not arrived yet`;
}

/** Nodes that have been away for long: each once, said by the reachable node with the lowest name. */
export function listLongAway(
  peers: ReadonlyMap<string, RelayPeer>,
  own: string,
  { nowMs, connectedMs = nowMs }: Hearing,
): GossipEvent[] {
  const all = [...peers.values()];
  const isLowest = !all.some(({ state, node }) => state === "alive" && node < own);
  return all.flatMap((peer) => {
    const { node, state, why, reported } = peer;
    const forMs = nowMs - Math.max(peer.sinceMs, connectedMs);
    if (reported || (state !== "dead" && state !== "unknown") || forMs < REPORT_AFTER_MS) return [];
    peer.reported = true;
    return isLowest ? [{ kind: "unreachable" as const, node, forMs, why }] : [];
  });
}
