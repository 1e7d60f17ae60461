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

/** Less than this is the reading's own noise. */
const LEAST_STEP_MS = 50;

/** What a moment of the monotonic clock is called by the wall clock as it stands now. */
export function nameMoment(clock: Pick<Clock, "nowMs" | "monotonicMs">, atMs: number): number {
  return Math.round(clock.nowMs() - clock.monotonicMs() + atMs);
}

/** Notices that somebody has set the wall clock. */
export class ClockSteps {
  readonly #clock: Pick<Clock, "nowMs" | "monotonicMs">;
  #offsetMs: number;

  /** @param offsetMs how far the wall clock stood before the monotonic one when times were last named; by default now */
  constructor(clock: Pick<Clock, "nowMs" | "monotonicMs">, offsetMs?: number) {
    this.#clock = clock;
    this.#offsetMs = offsetMs ?? clock.nowMs() - clock.monotonicMs();
  }

  /** How far the wall clock stands before the monotonic one by the names that are in use. */
  get offsetMs(): number {
    return this.#offsetMs;
  }

  /** By how much every name is to be moved now; 0 where the clock was not set. */
  take(): number {
    const offsetMs = this.#clock.nowMs() - this.#clock.monotonicMs();
    const stepMs = Math.round(offsetMs - this.#offsetMs);
    if (Math.abs(stepMs) < LEAST_STEP_MS) return 0;
    this.#offsetMs += stepMs;
    return stepMs;
  }
}

/**
 * Waits for work that must not keep the agent from ending; no timer of it stays behind, which would keep the process.
 * @param work never rejects
 */
export async function waitAtMost(work: Promise<unknown>, limitMs: number, clock: Clock): Promise<void> {
  let cancel: CancelTimer = () => undefined;
  const late = new Promise<void>((resolve) => {
    cancel = clock.after(limitMs, resolve);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    cancel();
  }
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
