// When a branch is asked for next: after a poll that went well, after one that failed, after a hint. Pure: times are
// arguments, on a clock that does not jump.

import { failAgain, type Setback } from "../../../../shared/state/backoff.ts";
import { jitterFraction } from "../../../../shared/state/identity.ts";

/** A poll comes within a tenth around its time, so that a fleet does not ask all at once. */
const JITTER_SHARE = 0.2;
/** A source that failed is tried again after 5 s, then twice as long each time, up to 5 min. */
const RETRY = { initialMs: 5_000, maxMs: 300_000 };
/** Hints come together: a fetch is followed by another after so long at the soonest, a mere poll after less. */
const FETCH_GAP_MS = 6_000;
const POLL_GAP_MS = 1_000;

/** How long to wait after a poll that went well; always the same for the same key and count. */
export function pollDelayMs(pollMs: number, key: string, polls: number): number {
  return Math.round(pollMs * (1 - JITTER_SHARE / 2 + JITTER_SHARE * jitterFraction(`${key}\n${polls}`)));
}

/** What is kept after a poll that failed: it is tried again ever more seldom, and never sooner than the server asked for. */
export function failPoll(
  before: Setback | undefined,
  failed: { nowMs: number; message: string; key: string; retryAfterMs?: number | undefined },
): Setback {
  return failAgain(before, RETRY, { ...failed, leastMs: failed.retryAfterMs ?? 0 });
}

/** When things happened last. */
export interface PollTimes {
  polledMs: number;
  fetchedMs: number;
  /** The server asked to be left alone until then. */
  notBeforeMs: number;
}

/** How long a hint waits: it is followed at once, but for what came just before it. */
export function hintDelayMs({ polledMs, fetchedMs, notBeforeMs }: PollTimes, nowMs: number): number {
  return Math.max(0, Math.max(polledMs + POLL_GAP_MS, fetchedMs + FETCH_GAP_MS, notBeforeMs) - nowMs);
}
