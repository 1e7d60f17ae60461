// What wakes the loop, and when. Triggers only shorten the wait: fired while a turn runs they make one more turn, not many.

import type { CancelTimer, Clock } from "./host/clock.ts";

/** Where a trigger came from; for the log and for deciding whether to resync. */
export type Trigger = "start" | "source" | "engine" | "health" | "operation" | "timer" | "request" | "reload";

/** Triggers that come within this time of each other make one turn. */
const GATHER_MS = 8;

/** Collects triggers between turns. */
export class TriggerQueue {
  readonly #clock: Clock;
  #waiting = new Set<Trigger>();
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks for a turn soon. */
  fire(trigger: Trigger): void {
    this.#waiting.add(trigger);
    this.#wake?.();
  }

  /**
   * Waits for the next turn.
   * @param delayMs when to go on although nothing was fired
   * @returns what was fired, or `timer` alone
   */
  async next(delayMs: number): Promise<ReadonlySet<Trigger>> {
    if (this.#waiting.size === 0) await this.#sleep(delayMs, true);
    if (this.#waiting.size > 0) await this.#sleep(GATHER_MS, false);
    const fired = this.#waiting.size === 0 ? new Set<Trigger>(["timer"]) : this.#waiting;
    this.#waiting = new Set();
    return fired;
  }

  #sleep(delayMs: number, wakes: boolean): Promise<void> {
    return new Promise((resolve) => {
      let cancel: CancelTimer = () => undefined;
      const end = (): void => {
        this.#wake = undefined;
        cancel();
        resolve();
      };
      cancel = this.#clock.after(delayMs, end);
      if (wakes) this.#wake = end;
    });
  }
}
