// Looks at a tar while it goes through: how many entries it has, and the digests of a few of its files, so that a restore can be held
// against what was read. What cannot be parsed is let through: whether it is an archive its program and the gate say.

import { createHash } from "node:crypto";
import { once } from "node:events";

import { extract, type Headers } from "tar-stream";

import type { SourceFacts } from "../core/backup-record.ts";

type Sample = NonNullable<SourceFacts["samples"]>[number];

const SAMPLES = 20;
/** A name that programs print as it is and that is no option: such a file can be asked for by its name. */
const PLAIN_NAME = /^[A-Za-z0-9_.+@%=:,/ -]+$/;

/** Watches one archive. */
export class TarFacts {
  readonly output: AsyncIterable<Uint8Array>;
  readonly #parser = extract();
  readonly #samples = new Map<string, Sample>();
  #entries = 0;
  #isLost = false;

  constructor(output: AsyncIterable<Uint8Array>) {
    this.#parser.on("entry", (header, content, next) => {
      this.#entries += 1;
      const sample = this.#choose(header);
      const hash = sample === undefined ? undefined : createHash("sha256");
      content.on("data", (chunk: Buffer) => hash?.update(chunk));
      content.on("end", () => {
        if (sample !== undefined && hash !== undefined) sample.sha256 = hash.digest("hex");
        next();
      });
    });
    this.#parser.on("error", () => (this.#isLost = true));
    this.output = this.#watch(output);
  }

  /** What was seen, once all of it went through. */
  read(): SourceFacts {
    if (this.#isLost) return {};
    const samples = [...this.#samples.values()].filter(({ sha256 }) => sha256 !== "");
    return { entries: this.#entries, ...(samples.length === 0 ? {} : { samples }) };
  }

  /** Those whose names have the smallest digests: the same few files day by day, from all over the tree. */
  #choose({ name, type, size = 0 }: Headers): Sample | undefined {
    if (type !== "file" || !PLAIN_NAME.test(name) || name.startsWith("-")) return undefined;
    const key = createHash("sha256").update(name).digest("hex");
    const last = [...this.#samples.keys()].toSorted().at(SAMPLES - 1);
    if (last !== undefined && key > last) return undefined;
    if (last !== undefined) this.#samples.delete(last);
    const sample = { path: name, bytes: size, sha256: "" };
    this.#samples.set(key, sample);
    return sample;
  }

  async *#watch(output: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const chunk of output) {
      await this.#take(chunk);
      yield chunk;
    }
    if (this.#isLost) return;
    // The last entry is seen a moment after its bytes.
    const ended = once(this.#parser, "finish").catch(() => (this.#isLost = true));
    this.#parser.end();
    await ended;
  }

  async #take(chunk: Uint8Array): Promise<void> {
    if (this.#isLost || this.#parser.write(chunk)) return;
    await once(this.#parser, "drain").catch(() => (this.#isLost = true));
  }
}
