// How long the programs of a backup may take, all of them together. One that hangs is ended from here, so that what was begun for it is given
// up in order and the reason is said; whoever started the child kills it some time later, where even that does not help.

import { describeDuration } from "../../shared/text/duration.ts";

/** Begins when it is made. */
export class DumpDeadline {
  readonly #deadlineMs: number | undefined;
  readonly #startedMs = performance.now();

  /** @param deadlineMs undefined for none */
  constructor(deadlineMs: number | undefined) {
    this.#deadlineMs = deadlineMs;
  }

  /** Watches over one of them; `cancel` is called once, when it is late, and makes whoever reads its output fail. */
  watch(cancel: () => void): DumpWatch {
    return new DumpWatch(this.#deadlineMs, this.#startedMs, cancel);
  }
}

/** Over one program. */
class DumpWatch {
  readonly #deadlineMs: number | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  #isLate = false;

  constructor(deadlineMs: number | undefined, startedMs: number, cancel: () => void) {
    this.#deadlineMs = deadlineMs;
    if (deadlineMs === undefined) return;
    const late = (): void => {
      this.#isLate = true;
      cancel();
    };
    this.#timer = setTimeout(late, Math.max(0, startedMs + deadlineMs - performance.now()));
  }

  /** Throws where it was late before there was anything to be cancelled. */
  expectInTime(): void {
    if (this.#isLate) throw new Error("it began too late");
  }

  /** Why it was ended; undefined where it was not. */
  explain(): string | undefined {
    if (!this.#isLate) return undefined;
    return `it had not come to its end within ${describeDuration(this.#deadlineMs ?? 0)}, and was ended`;
  }

  /** It has come to its end. */
  end(): void {
    clearTimeout(this.#timer);
  }
}
