// The agent's only clock and timers, so that tests can hold time in their hand.

/** Cancels a timer; cancelling twice is fine. */
export type CancelTimer = () => void;

/** Time as the shell sees it. The pure core is given numbers instead. */
export interface Clock {
  /** Milliseconds since the epoch; may jump. It names moments, and no duration is taken from it. */
  nowMs(): number;
  /** Milliseconds on a clock that never jumps, and that all processes share until the host boots again. */
  monotonicMs(): number;
  /** Calls back once, not before `delayMs` have passed. */
  after(delayMs: number, callback: () => void): CancelTimer;
}

/** The longest delay a Node timer takes; longer ones would fire at once. */
const LONGEST_TIMER_MS = 2_147_483_647;

/** The clock of this machine. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => Number(process.hrtime.bigint()) / 1e6,
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, Math.min(Math.max(0, delayMs), LONGEST_TIMER_MS));
    return () => clearTimeout(timer);
  },
};
