// Lets a few through at once, and the rest in the order in which they came; who is hurried never waits. The executor creates containers
// through it: an engine that is asked for thirty at once has little time left for the starts that go on beside.
// Nobody waits for long: one that takes its time gives its place up. Held by test/unit/host/turnstile.test.ts.

import type { Clock } from "../host/os/clock.ts";

/** How many pass at once, and how long one holds its place. */
export interface TurnstileOptions {
  clock: Pick<Clock, "after">;
  places: number;
  heldMs: number;
}

/** One turnstile. */
export class Turnstile {
  readonly #options: TurnstileOptions;
  /** Below none where hurried ones have come beside. */
  #free: number;
  #waiting: (() => void)[] = [];

  constructor(options: TurnstileOptions) {
    this.#options = options;
    this.#free = options.places;
  }

  /**
   * Takes a place, and waits for a free one unless it is hurried.
   * @returns what gives the place up, which may be called twice; an abort ends the wait with no place taken
   */
  async enter(hurried: boolean, signal: AbortSignal): Promise<() => void> {
    if (hurried || this.#free > 0) return this.#take();
    const entered = await this.#wait(signal);
    return entered ? this.#take() : () => undefined;
  }

  #wait(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const enter = (): void => {
        signal.removeEventListener("abort", leave);
        resolve(true);
      };
      const leave = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== enter);
        resolve(false);
      };
      this.#waiting.push(enter);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  #take(): () => void {
    this.#free -= 1;
    let isHeld = true;
    const giveUp = (): void => {
      if (!isHeld) return;
      isHeld = false;
      cancel();
      this.#free += 1;
      if (this.#free > 0) this.#waiting.shift()?.();
    };
    const cancel = this.#options.clock.after(this.#options.heldMs, giveUp);
    return giveUp;
  }
}
