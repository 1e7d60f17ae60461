// What has failed and is tried again: the one form in which that is kept, and exponential backoff with jitter. Pure. Used by plan/ for
// restarts and failures, and by whatever asks a server.

import { jitterFraction } from "./identity.ts";

/** How long to wait at first and at most, in milliseconds. */
export interface BackoffLimits {
  initialMs: number;
  maxMs: number;
}

/** The least share of the computed delay that jitter leaves. */
const LEAST_SHARE = 0.8;

/** Something that has failed, and when it is tried again. On which clock is its keeper's to say. */
export interface Setback {
  /** Why, in words. */
  message: string;
  /** How often it had failed before in a row: 0 for the first time. */
  attempt: number;
  nextMs: number;
}

/** One failure. */
interface Failed {
  nowMs: number;
  message: string;
  /** What the jitter is drawn from. */
  key: string;
  /** Not sooner than after this: a server may have asked for it. */
  leastMs?: number;
}

/** What there is to keep after another failure. */
export function failAgain(before: Setback | undefined, limits: BackoffLimits, failed: Failed): Setback {
  const { nowMs, message, key, leastMs = 0 } = failed;
  const attempt = before === undefined ? 0 : before.attempt + 1;
  return { message, attempt, nextMs: nowMs + Math.max(leastMs, backoffDelayMs(limits, attempt, key)) };
}

/** True while it is not time to try again. */
export function isHeldBack<T extends Pick<Setback, "nextMs">>(setback: T | undefined, nowMs: number): setback is T {
  return setback !== undefined && nowMs < setback.nextMs;
}

/** The delay before jitter: initial × 2^attempt, at most max. */
export function growDelayMs({ initialMs, maxMs }: BackoffLimits, attempt: number): number {
  return Math.min(maxMs, initialMs * 2 ** Math.min(attempt, 40));
}

/**
 * The delay before attempt number `attempt`: initial × 2^attempt, at most max, times a share in [0.8, 1).
 * @param attempt how many attempts there were before, 0 for none
 * @param key what the jitter is drawn from: the same key and attempt always give the same delay
 * @returns milliseconds
 */
export function backoffDelayMs(limits: BackoffLimits, attempt: number, key: string): number {
  const share = LEAST_SHARE + (1 - LEAST_SHARE) * jitterFraction(`${key}\n${attempt}`);
  return Math.round(growDelayMs(limits, attempt) * share);
}
