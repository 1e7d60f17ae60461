// What wakes the loop, and when. Triggers only shorten the wait: fired while a turn runs they make one more turn, not many.
// What is urgent (a crash, a person's word) wakes it at once; the rest may be asked to wait a little and come together.

import type { CancelTimer, Clock } from "../host/os/clock.ts";

/** Where a trigger came from: who reads a call of `fire` sees it. The loop itself does the same turn for each. */
export type Trigger =
  | "start"
  | "backups"
  | "promises"
  | "source"
  | "engine"
  | "health"
  | "operation"
  | "peers"
  | "timer"
  | "request"
  | "reload"
  | "secrets";

/** Triggers that come within this time of each other make one turn: a longer one where nothing hurries. */
const GATHER_MS = 8;
const URGENT_GATHER_MS = 3;

/** How long the next turn may wait. */
export interface Patience {
  /** When to go on although nothing was fired. */
  delayMs: number;
  /** How long triggers that are not urgent are gathered. */
  gatherMs: number;
}

/** Collects triggers between turns. */
export class TriggerQueue {
  readonly #clock: Clock;
  #waiting = new Set<Trigger>();
  #urgent = false;
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks for a turn: soon, or at once where it is urgent. */
  fire(trigger: Trigger, urgent = false): void {
    this.#waiting.add(trigger);
    this.#urgent ||= urgent;
    this.#wake?.();
  }

  /**
   * Waits for the next turn.
   * @returns what was fired, or `timer` alone
   */
  async next({ delayMs, gatherMs }: Patience): Promise<ReadonlySet<Trigger>> {
    await this.#sleep(delayMs, () => this.#waiting.size > 0);
    if (this.#waiting.size > 0 && gatherMs > GATHER_MS) await this.#sleep(gatherMs - GATHER_MS, () => this.#urgent);
    if (this.#waiting.size > 0) await this.#sleep(this.#urgent ? URGENT_GATHER_MS : GATHER_MS, () => false);
    const fired = this.#waiting.size === 0 ? new Set<Trigger>(["timer"]) : this.#waiting;
    this.#waiting = new Set();
    this.#urgent = false;
    return fired;
  }

  /** Sleeps until the time is over, or until something that was fired makes it end. */
  #sleep(delayMs: number, isOver: () => boolean): Promise<void> {
    if (isOver()) return Promise.resolve();
    return new Promise((resolve) => {
      let cancel: CancelTimer = () => undefined;
      const end = (): void => {
        this.#wake = undefined;
        cancel();
        resolve();
      };
      cancel = this.#clock.after(delayMs, end);
      this.#wake = () => {
        if (isOver()) end();
      };
    });
  }
}
