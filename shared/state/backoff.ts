// Exponential backoff with jitter, as one pure function. Used by plan/ for restarts and failures and by the shell for
// reconnecting.

import { jitterFraction } from "./identity.ts";

/** How long to wait at first and at most, in milliseconds. */
export interface BackoffLimits {
  initialMs: number;
  maxMs: number;
}

/** The least share of the computed delay that jitter leaves. */
const LEAST_SHARE = 0.8;

/**
 * The delay before attempt number `attempt`: initial × 2^attempt, at most max, times a share in [0.8, 1).
 * @param attempt how many attempts there were before, 0 for none
 * @param key what the jitter is drawn from: the same key and attempt always give the same delay
 * @returns milliseconds
 */
export function backoffDelayMs(limits: BackoffLimits, attempt: number, key: string): number {
  const whole = Math.min(limits.maxMs, limits.initialMs * 2 ** Math.min(attempt, 40));
  const share = LEAST_SHARE + (1 - LEAST_SHARE) * jitterFraction(`${key}\n${attempt}`);
  return Math.round(whole * share);
}
