// Which streams are held: who dials whom and when, what happens when two cross, and how much a peer may say on one. Pure.

import { growDelayMs } from "../../../shared/state/backoff.ts";
import { endRelays, lookAt, noteHeard } from "./reachability.ts";
import { sendBeat } from "./repair.ts";
import { beginPeer, type Link, type Peer, send, type State } from "./state.ts";
import {
  ANSWER_AFTER_MS,
  BEAT_MS,
  DIAL_FIRST_MS,
  DIAL_MOST_MS,
  FRAMES_AT_ONCE,
  FRAMES_PER_SECOND,
  GIVE_UP_MS,
  LIVELY_MS,
  PROMPT_DIALS,
  SPARE_MS,
  STALLED_MS,
} from "../settings.ts";

/** Dials every node that should have a link and has none, or a silent one, when it is due. */
export function dialWhereDue(state: State): void {
  for (const peer of state.linkedPeers) {
    if (peer.dial.busy || state.nowMs < peer.dial.dueMs) continue;
    // After an outage a stream waits ever longer before it tries again; a new one gets through at once.
    if (peer.link === undefined || state.awakeMs - peer.link.heardMs > STALLED_MS * state.strain) dial(state, peer);
  }
}

function dial(state: State, peer: Peer): void {
  const member = state.roster.get(peer.node);
  if (member === undefined) return;
  peer.dial.busy = true;
  state.effects.push({ kind: "dial", node: peer.node, address: member.address });
}

/** A dial came to nothing: it is tried again, ever more seldom. */
export function failDial(state: State, node: string, refused: boolean): void {
  const peer = state.peers.get(node);
  if (peer === undefined) return;
  const { attempt } = peer.dial;
  const delayMs =
    growDelayMs({ initialMs: DIAL_FIRST_MS, maxMs: DIAL_MOST_MS }, attempt) * (0.7 + 0.3 * state.options.rng());
  peer.dial = { dueMs: state.nowMs + delayMs, attempt: attempt + 1, busy: false };
  if (peer.link !== undefined || peer.suspicion === undefined) return;
  peer.suspicion.refused = refused;
  // A process that is being ended closes its port a moment after its streams: whether it is dead must not wait for a tick.
  // A timer counts whole milliseconds, and may come early by a part of one.
  if (!refused && attempt < PROMPT_DIALS) state.effects.push({ kind: "wake", afterMs: Math.ceil(delayMs) + 1 });
  lookAt(state, peer);
}

/** A new authenticated stream. Of two that cross, the one that the lower name opened stays, unless it is silent. */
export function addLink(state: State, { id, node, dialler }: Pick<Link, "id" | "node" | "dialler">): void {
  const { awakeMs, nowMs } = state;
  if (!state.roster.has(node)) {
    state.effects.push({ kind: "close", link: id, reason: "not in the roster" });
    return;
  }
  const peer = state.peers.get(node) ?? beginPeer(node, nowMs);
  state.peers.set(node, peer);
  const link: Link = {
    id,
    node,
    peer,
    dialler,
    upMs: nowMs,
    heardMs: awakeMs,
    sentMs: awakeMs,
    allowance: FRAMES_AT_ONCE,
    compares: false,
  };
  state.links.set(id, link);
  if (dialler === state.options.node) peer.dial = { dueMs: nowMs, attempt: 0, busy: false };
  const before = peer.link;
  const lower = node < state.options.node ? node : state.options.node;
  const keep =
    before !== undefined && before.dialler === lower && dialler !== lower && awakeMs - before.heardMs < LIVELY_MS;
  if (before !== undefined) peer.spares.push(keep ? link : before);
  if (!keep) peer.link = link;
  introduce(state, link);
  noteHeard(state, peer);
}

/** Says on a link what this node's present word is: only what its owner says itself is fresh. */
function introduce(state: State, link: Link): void {
  const own = state.held.get(state.options.node);
  if (own !== undefined) send(state, link, { t: "record", record: own.record });
}

/** A stream has ended: by a crash at its other end, by the network, or by us. */
export function endLink(state: State, id: number): void {
  const link = state.links.get(id);
  if (link === undefined) return;
  state.links.delete(id);
  const { peer } = link;
  peer.spares = peer.spares.filter((spare) => spare !== link);
  if (peer.link !== link) return;
  peer.link = peer.spares.pop();
  // What was pushed on the link that ended may be lost.
  if (peer.link !== undefined) return introduce(state, peer.link);
  peer.said = undefined;
  endRelays(state, peer.node);
  peer.dial = { ...peer.dial, dueMs: state.nowMs, attempt: 0 };
  lookAt(state, peer);
  dialWhereDue(state);
}

/** Ends surplus links, and sends the heartbeats that are due. */
export function tendLinks(state: State): void {
  for (const link of state.links.values()) {
    const { peer } = link;
    if (peer.link === link) {
      if (state.awakeMs - link.heardMs > GIVE_UP_MS * state.strain) drop(state, link, "nothing was heard on it");
      else if (state.awakeMs - link.sentMs >= BEAT_MS) sendBeat(state, link);
      continue;
    }
    const isOld =
      state.nowMs - link.upMs >= SPARE_MS && (peer.link === undefined || state.nowMs - peer.link.upMs >= SPARE_MS);
    if (isOld) drop(state, link, "another link to the same peer is used");
  }
}

/** Ends a link from this side. */
export function drop(state: State, link: Link, reason: string): void {
  state.effects.push({ kind: "close", link: link.id, reason });
  endLink(state, link.id);
}

/** Something came in on a link; false when the peer says more than it may. */
export function hearOn(state: State, link: Link): boolean {
  const { peer } = link;
  const passedMs = Math.max(0, state.awakeMs - link.heardMs);
  link.allowance = Math.min(FRAMES_AT_ONCE, link.allowance + (passedMs / 1_000) * FRAMES_PER_SECOND) - 1;
  link.heardMs = state.awakeMs;
  noteHeard(state, peer);
  return link.allowance >= 0;
}

/** Answers a heartbeat where that saves a packet. */
export function answerBeat(state: State, link: Link): void {
  if (state.awakeMs - link.sentMs >= ANSWER_AFTER_MS) sendBeat(state, link);
}

/**
 * The nodes that should have a link: all in a small roster; beyond, those of interest and those of the ring. Both ends compute the
 * same.
 */
export function selectLinked(
  roster: ReadonlyMap<string, unknown>,
  node: string,
  { interests, meshLimit }: { interests: ReadonlySet<string>; meshLimit: number },
): { linked: Set<string>; ring: Set<string> } {
  const others = [...roster.keys()].filter((name) => name !== node);
  if (roster.size <= meshLimit) return { linked: new Set(others), ring: new Set(others) };
  const ring = selectRing(roster, node);
  return { linked: new Set([...others.filter((name) => interests.has(name)), ...ring]), ring };
}

/** On a ring of names those one, two, four, … places away, so that every record finds its way to every node. */
function selectRing(roster: ReadonlyMap<string, unknown>, node: string): Set<string> {
  const names = [...roster.keys()].toSorted();
  const ring = new Set<string>();
  const at = names.indexOf(node);
  for (let step = 1; step < names.length; step *= 2) {
    for (const place of [at + step, at - step + names.length]) {
      const name = names[place % names.length];
      if (name !== undefined && name !== node) ring.add(name);
    }
  }
  return ring;
}
