// "There is a new revision, look at Git": told on once by everyone who hears it, so that it reaches who has no link to its source,
// and acted on at slightly different times. Pure.

import { type Link, sendTo, type State } from "./state.ts";
import { HINTS_KEPT, HINT_EVERY_MS, HINT_SPREAD_MS, HINT_SPREAD_PER_NODE_MS } from "../settings.ts";

/** When a hint is to be acted on. */
export function spreadHint(nodes: number, rng: () => number): number {
  return Math.floor(rng() * Math.min(HINT_SPREAD_MS, nodes * HINT_SPREAD_PER_NODE_MS));
}

/** This node has seen a new revision. */
export function sayHint(state: State, revision: string): void {
  if (isKnownHint(state.hints, revision)) return;
  state.counts.hintsSent += 1;
  for (const { node } of state.peers.values()) sendTo(state, node, { t: "hint", revision });
}

/** Another one has; at most so often from one peer, and each revision once. */
export function takeHint(state: State, link: Link, revision: string): void {
  const peer = state.peers.get(link.node);
  if (peer === undefined || state.nowMs < peer.hintMs || isKnownHint(state.hints, revision)) return;
  state.counts.hintsReceived += 1;
  peer.hintMs = state.nowMs + HINT_EVERY_MS;
  if (revision === state.own.revision) return;
  state.effects.push({ kind: "hint", revision, delayMs: spreadHint(state.roster.size, state.options.rng) });
  if (state.linked.size + 1 < state.roster.size)
    for (const { node } of state.peers.values()) if (node !== link.node) sendTo(state, node, { t: "hint", revision });
}

/** Was this revision told before? It is from now on. */
export function isKnownHint(hints: string[], revision: string): boolean {
  if (hints.includes(revision)) return true;
  hints.push(revision);
  if (hints.length > HINTS_KEPT) hints.shift();
  return false;
}
