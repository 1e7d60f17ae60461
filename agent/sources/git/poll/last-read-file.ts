// When the source was last read well, and that written down, so that its age is known after a restart too: the time of an empty file.

import { stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { type Clock, nameMoment } from "../../../host/os/clock.ts";

const NAME = "last-read";

/** The mark in the source's directory. */
export class ReadMark {
  readonly #file: string;
  readonly #clock: Clock;
  /** By the clock that never jumps; what an earlier agent wrote down is taken at its word. */
  #readAtMs: number | undefined;
  #writtenAtMs = Number.NEGATIVE_INFINITY;

  constructor(directory: string, clock: Clock) {
    this.#file = join(directory, NAME);
    this.#clock = clock;
  }

  /** When it was last read, by the wall clock as it stands now; undefined where that is not known. */
  get readMs(): number | undefined {
    return this.#readAtMs === undefined ? undefined : nameMoment(this.#clock, this.#readAtMs);
  }

  /** Takes over what was written down. */
  async load(): Promise<void> {
    const written = await stat(this.#file).catch(() => undefined);
    if (written !== undefined) this.#readAtMs = this.#clock.monotonicMs() + written.mtimeMs - this.#clock.nowMs();
  }

  /** It was read well just now. */
  note(): void {
    this.#readAtMs = this.#clock.monotonicMs();
  }

  /** Writes the time down where it is another one by more than `everyMs`. Never throws. */
  async write(everyMs = 0): Promise<void> {
    const { readMs } = this;
    if (readMs === undefined || (this.#readAtMs ?? 0) - this.#writtenAtMs <= everyMs) return;
    this.#writtenAtMs = this.#readAtMs ?? 0;
    try {
      await writeFile(this.#file, "");
      await utimes(this.#file, readMs / 1_000, readMs / 1_000);
    } catch {
      // A disk that is full costs the age after a restart, and nothing else.
    }
  }
}
