// When a provider is asked again: at its poll, sooner while something is not known, never sooner than it wants. Pure; the keeper waits.

import { backoffDelayMs } from "../../../shared/state/backoff.ts";
import type { RoundVerdict } from "./round.ts";
import { REFUSAL_POLL_MS } from "./refusals.ts";

/** Waits after a provider could not be asked; jitter only makes them longer. */
const RETRY = { initialMs: 5_000, maxMs: 60_000 };
/** The same after it refused everything: a question for each secret, which a person has to help with. */
const RETRY_REFUSED = { initialMs: 5_000, maxMs: 300_000 };
/** Between two polls up to a tenth more or less passes, so that nodes do not ask at once. */
const POLL_JITTER = 0.1;
/** So much later than a provider asked for, at most, so that nodes behind one address do not come back at once. */
const WAIT_SPREAD_MS = 5_000;

/** What the next question's time depends on besides the last round. */
interface Rhythm {
  /** Rounds that failed in a row. */
  failures: number;
  /** Undefined for a provider that says itself when something changes. */
  pollMs: number | undefined;
  /** A refusal has not ended its value yet. */
  isOpen: boolean;
  /** Another number from 0 to 1 on each node. */
  spread: number;
}

/** How long to wait; undefined where the provider tells when something has changed. */
export function chooseDelayMs(
  { left, waitMs, down, refusesAll }: RoundVerdict,
  { failures, pollMs, isOpen, spread }: Rhythm,
): number | undefined {
  if (left.length > 0 || refusesAll !== undefined) {
    const retry = refusesAll === undefined ? RETRY : RETRY_REFUSED;
    const inRow = down === undefined && refusesAll === undefined ? 0 : Math.max(0, failures - 1);
    // The formula takes jitter off; here a wait must never be shorter than it says.
    const backoffMs = backoffDelayMs(retry, inRow, "secrets") * 1.25;
    const askedMs = waitMs === 0 ? 0 : waitMs + spread * WAIT_SPREAD_MS;
    return Math.max(askedMs, Math.min(retry.maxMs, backoffMs));
  }
  const nextMs = pollMs === undefined ? undefined : Math.round(pollMs * (1 + POLL_JITTER * (spread * 2 - 1)));
  // A refusal is asked about again, also of a provider that says itself when something changes.
  return isOpen ? Math.min(REFUSAL_POLL_MS, nextMs ?? REFUSAL_POLL_MS) : nextMs;
}
