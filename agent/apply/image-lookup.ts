// Is an image on this host? Thirty services of one image ask once: what was found is believed for a moment. An image that
// goes in that moment makes a creation fail, which is tried again like any other.

import type { DockerReader } from "../docker/reader.ts";
import type { Clock } from "../host/os/clock.ts";

/** How long a found image is believed in. One that was not found is asked for each time. */
const BELIEVED_MS = 1_000;

/** Looks images up. */
export class ImageLookup {
  readonly #reader: Pick<DockerReader, "findImage">;
  readonly #clock: Clock;
  readonly #asked = new Map<string, { atMs: number; answer: Promise<boolean> }>();

  constructor(reader: Pick<DockerReader, "findImage">, clock: Clock) {
    this.#reader = reader;
    this.#clock = clock;
  }

  /** True when the image is on this host. */
  async isHere(reference: string): Promise<boolean> {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#asked.get(reference);
    if (known !== undefined && nowMs - known.atMs < BELIEVED_MS && (await known.answer)) return true;
    const answer = this.#reader.findImage(reference).then((id) => id !== undefined);
    this.#asked.set(reference, { atMs: nowMs, answer });
    try {
      return await answer;
    } finally {
      if (this.#asked.get(reference)?.answer === answer && !(await answer.catch(() => false)))
        this.#asked.delete(reference);
    }
  }
}
