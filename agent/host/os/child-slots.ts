// How many heavy children may run at once: on a small host never two, since together they would push services out of memory.
// Used by child-process.ts alone.

import { totalmem } from "node:os";

/** A host with less memory than this is small: a fetch and an opened secrets file have taken 150 and 80 MiB at once. */
const SMALL_BYTES = 2 * 2 ** 30;
const MOST = 4;

/** Places for children, given in the order in which they were asked for. */
export class ChildSlots {
  #waiting: (() => void)[] = [];
  #free: number;

  /** @param most how many may run at once */
  constructor(most: number) {
    this.#free = most;
  }

  /** Resolves when there is a place, or at once when the signal says that nobody waits any more. To be given back once. */
  async take(signal: AbortSignal): Promise<() => void> {
    if (this.#free > 0) this.#free -= 1;
    else if (!(await this.#wait(signal))) return () => undefined;
    return () => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    };
  }

  /** True when a place was handed over. */
  #wait(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const take = (): void => {
        signal.removeEventListener("abort", leave);
        resolve(true);
      };
      const leave = (): void => {
        this.#waiting = this.#waiting.filter((entry) => entry !== take);
        resolve(false);
      };
      if (signal.aborted) return leave();
      this.#waiting.push(take);
      signal.addEventListener("abort", leave, { once: true });
    });
  }
}

/** The places of this host, whichever part of the agent asks. */
export const HOST_SLOTS = new ChildSlots(totalmem() < SMALL_BYTES ? 1 : MOST);
