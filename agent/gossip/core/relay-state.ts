// What one node knows where a server stands between all, and the few ways in which it is changed: the data that the parts of relay.ts
// work on. Pure.

import type { GossipEvent } from "../../../shared/fleet/gossip-event.ts";
import type { SignedTakeover } from "../../../shared/fleet/takeover.ts";
import type { ProtocolCounts, RefusalKind } from "../../../shared/fleet/gossip-stats.ts";
import { compareRecords, type SignedRecord } from "./record.ts";
import type { RelayMessage } from "./relay-message.ts";
import type { OwnRecord } from "./relay-own.ts";
import { type Hearing, judgeRelayPeer, type RelayPeer } from "./relay-peer.ts";
import type { GossipOptions, Member } from "./state.ts";
import {
  BEATS_MISSED,
  LONGEST_RELAY_BEAT_MS,
  MOMENT_MS,
  PUT_AGAIN_MS,
  PUT_ELSE_MS,
  PUT_FAILED_MS,
  RELAY_BEAT_MS,
  RELAY_BEAT_PER_NODE_MS,
} from "../settings.ts";

/** What the shell is asked to do. */
export type RelayEffect =
  | { kind: "put"; record: SignedRecord }
  /** Asks the bucket for a node's record: what it said last should have come by itself, and has not. */
  | { kind: "fetch"; node: string }
  | { kind: "say"; message: RelayMessage }
  | { kind: "store-boot"; boot: number }
  | { kind: "hint"; revision: string; delayMs: number }
  | { kind: "event"; event: GossipEvent }
  | { kind: "takeover"; takeover: SignedTakeover }
  | { kind: "changed"; node: string | undefined };

/** Everything one node knows. */
export interface RelayState {
  readonly options: GossipOptions;
  readonly own: OwnRecord;
  readonly peers: Map<string, RelayPeer>;
  /** The takeover of each replaced node that counts. */
  readonly takeovers: Map<string, SignedTakeover>;
  readonly counts: ProtocolCounts;
  readonly refused: Record<RefusalKind, number>;
  nowMs: number;
  putMs: number;
  /** What the bucket holds of this node, as it was seen last. */
  echo: SignedRecord | undefined;
  beatMs: number;
  /** Since when the server is reached. */
  connectedMs: number | undefined;
  /** Why it is not. */
  trouble: string;
  roster: ReadonlyMap<string, Member>;
  interests: ReadonlySet<string>;
  readonly hints: string[];
  /** Refusals that were told, and when. */
  readonly told: Map<string, number>;
  effects: RelayEffect[];
}

/** How this node hears others now. */
export function readHearing(state: RelayState): Hearing {
  const freshMs = BEATS_MISSED * beatEveryMs(state) + MOMENT_MS;
  return { nowMs: state.nowMs, connectedMs: state.connectedMs, trouble: state.trouble, freshMs };
}

/** How often a heartbeat is due. */
export function beatEveryMs(state: RelayState): number {
  return Math.min(LONGEST_RELAY_BEAT_MS, Math.max(RELAY_BEAT_MS, state.roster.size * RELAY_BEAT_PER_NODE_MS));
}

/** Looks at one node again. */
export function judgePeer(state: RelayState, peer: RelayPeer): void {
  const next = judgeRelayPeer(peer, readHearing(state));
  peer.why = next.why;
  if (peer.state === next.state) return;
  Object.assign(peer, { state: next.state, sinceMs: state.nowMs, reported: false });
  const event = { kind: "peer" as const, node: peer.node, ...next };
  state.effects.push({ kind: "event", event }, { kind: "changed", node: peer.node });
}

/** Puts the own record where there is something new, or it is time. */
export function putIfDue(state: RelayState): void {
  const { dirty } = state.own;
  const isThere = state.echo !== undefined && compareRecords(state.echo, state.own.record) === 0;
  const againMs = isThere ? PUT_AGAIN_MS : PUT_ELSE_MS;
  if (state.connectedMs === undefined || (!dirty && state.nowMs - state.putMs < againMs)) return;
  if (!state.own.mayPut()) return;
  if (dirty) state.own.sign();
  put(state);
}

/** Puts the own record as it is. */
export function put(state: RelayState): void {
  if (state.connectedMs === undefined) return;
  state.putMs = state.nowMs;
  state.effects.push({ kind: "put", record: state.own.record });
}

/** The server did not take the own record: the same one is put again soon. */
export function putAgainSoon(state: RelayState): void {
  state.putMs = Math.min(state.putMs, state.nowMs - PUT_ELSE_MS + PUT_FAILED_MS);
}

/** Says that this node lives. */
export function sayBeat(state: RelayState): void {
  state.beatMs = state.nowMs;
  state.effects.push({ kind: "say", message: state.own.beat(state.nowMs) });
}
