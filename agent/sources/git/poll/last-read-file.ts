// Writes down when the source was last read well, so that its age is known after a restart too: the time of an empty file.

import { stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";

const NAME = "last-read";

/** The mark in the source's directory. */
export class ReadMark {
  readonly #file: string;
  #markedMs = 0;

  constructor(directory: string) {
    this.#file = join(directory, NAME);
  }

  /** When it was last read; undefined where that is not known. */
  async read(): Promise<number | undefined> {
    return stat(this.#file).then(
      ({ mtimeMs }) => mtimeMs,
      () => undefined,
    );
  }

  /** Writes a time down where it is another one by more than `everyMs`. Never throws. */
  async write(readMs: number | undefined, everyMs = 0): Promise<void> {
    if (readMs === undefined || Math.abs(readMs - this.#markedMs) <= everyMs) return;
    this.#markedMs = readMs;
    try {
      await writeFile(this.#file, "");
      await utimes(this.#file, readMs / 1_000, readMs / 1_000);
    } catch {
      // A disk that is full costs the age after a restart, and nothing else.
    }
  }
}
