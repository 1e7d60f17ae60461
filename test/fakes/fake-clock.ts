// Time in a test's hand: timers fire only when the test moves the clock. Wall time and monotonic time move together
// unless the test makes the wall clock jump.

import { setImmediate as passReally, setTimeout as sleepReally } from "node:timers/promises";

import type { CancelTimer, Clock } from "../../agent/host/os/clock.ts";

interface Timer {
  atMs: number;
  order: number;
  callback: () => void;
}

/** What is open without anybody waiting for it: vitest's limit for the test, and servers that nobody has called. */
const PASSIVE = new Set(["Timeout", "TCPServerWrap", "TTYWrap"]);

function listOpen(): string[] {
  return process.getActiveResourcesInfo().filter((name) => !PASSIVE.has(name));
}

function waitsForDisk(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith("FSReq"));
}

/** A clock that stands still until told. */
export class FakeClock implements Clock {
  #monotonicMs = 0;
  #wallOffsetMs: number;
  #timers: Timer[] = [];
  #order = 0;
  /** Says whether real work (files, SQLite, promises) is still going on; the clock waits for it. */
  isBusy: () => boolean = () => false;
  /** Vitest's own pipes, and what tests before this one in the same process have left open: nobody waits for it. */
  readonly #openBefore = listOpen().length;

  constructor(startMs = Date.UTC(2026, 10, 21, 12, 0, 0)) {
    this.#wallOffsetMs = startMs;
  }

  nowMs(): number {
    return this.#wallOffsetMs + this.#monotonicMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, callback: () => void): CancelTimer {
    // Whole milliseconds, as the system's clock and its timers have them.
    const timer = { atMs: this.#monotonicMs + Math.max(0, Math.ceil(delayMs)), order: (this.#order += 1), callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((entry) => entry !== timer);
    };
  }

  /** The wall clock jumps; timers do not notice. */
  jump(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /**
   * Lets real work that is under way come to rest. Where the process waits for nothing outside, what is left to do is promises: two
   * rounds of the event loop end them. Else a millisecond passes, so that an answer can come.
   */
  async settle(): Promise<void> {
    do await (listOpen().length > this.#openBefore ? sleepReally(1) : passReally().then(() => passReally()));
    while (this.isBusy() || waitsForDisk());
  }

  /** Moves time forward, firing what is due in order. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#monotonicMs + byMs;
    await this.settle();
    for (;;) {
      const next = this.#timers
        .filter((timer) => timer.atMs <= endMs)
        .toSorted((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (next === undefined) break;
      this.#monotonicMs = Math.max(this.#monotonicMs, next.atMs);
      const due = this.#timers.filter((timer) => timer.atMs <= this.#monotonicMs);
      this.#timers = this.#timers.filter((timer) => timer.atMs > this.#monotonicMs);
      for (const timer of due.toSorted((a, b) => a.atMs - b.atMs || a.order - b.order)) timer.callback();
      await this.settle();
    }
    this.#monotonicMs = endMs;
    await this.settle();
  }

  /**
   * Moves time forward until a condition holds.
   * @returns how many milliseconds that took; throws when it does not hold within `withinMs`
   */
  async advanceUntil(condition: () => boolean, withinMs: number, what = "the condition"): Promise<number> {
    const startMs = this.#monotonicMs;
    await this.settle();
    while (!condition()) {
      const leftMs = startMs + withinMs - this.#monotonicMs;
      if (leftMs <= 0) throw new Error(`${what} did not come about within ${withinMs} ms of fake time`);
      const nextMs = Math.min(...this.#timers.map((timer) => timer.atMs), this.#monotonicMs + leftMs);
      await this.advance(Math.max(1, nextMs - this.#monotonicMs));
    }
    return this.#monotonicMs - startMs;
  }
}
