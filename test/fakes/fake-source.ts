// A source in a test's hand: the test sets manifests, or makes reading fail.

import { sha256 } from "../../shared/state/identity.ts";
import type { Snapshot, Source, SourceReading } from "../../shared/state/snapshot.ts";

function byName(left: readonly [string, unknown], right: readonly [string, unknown]): number {
  return left[0] < right[0] ? -1 : 1;
}

const COMMIT = { author: "a <a@x>", committer: "a <a@x>", committedMs: 0, subject: "a change" };

/** A source that holds what the test puts into it. */
export class FakeSource implements Source {
  readonly kind = "directory";
  readonly location = "test";
  /** From a turn's first read on; whoever makes the turns says when one has ended. */
  reading = false;
  /** The end of the commit's message, for what is read from now on. */
  trailers: readonly (readonly [key: string, value: string])[] = [];
  readonly #node: string;
  #manifests: Record<string, string> = {};
  #others: Record<string, Record<string, string>> = {};
  #files: Record<string, Uint8Array> = {};
  #fleet: string | undefined;
  #failure: string | undefined;
  #reading: SourceReading | undefined;
  #hint: () => void = () => undefined;

  constructor(node: string) {
    this.#node = node;
  }

  /** Puts manifests in place of what was there; undefined removes one. */
  set(manifests: Record<string, string | undefined>): void {
    const merged = { ...this.#manifests, ...manifests };
    this.#manifests = Object.fromEntries(
      Object.entries(merged).filter((entry): entry is [string, string] => entry[1] !== undefined),
    );
    this.#changed();
  }

  setFile(path: string, content: string | undefined): void {
    const { [path]: _before, ...rest } = this.#files;
    this.#files = content === undefined ? rest : { ...rest, [path]: Buffer.from(content) };
    this.#changed();
  }

  setFleet(text: string | undefined): void {
    this.#fleet = text;
    this.#changed();
  }

  setOthers(others: Record<string, Record<string, string>>): void {
    this.#others = others;
    this.#changed();
  }

  /** Reading fails from now on, or works again. */
  fail(reason: string | undefined): void {
    this.#failure = reason;
    this.#changed();
  }

  async read(): Promise<SourceReading> {
    this.reading = true;
    if (this.#failure !== undefined)
      return {
        kind: "failed",
        why: { code: "unread", fault: { code: "said", message: this.#failure } },
        retryMs: Date.UTC(2100, 0, 1),
      };
    this.#reading ??= { kind: "read", snapshot: this.#build(), readMs: 0 };
    return this.#reading;
  }

  async watch(onHint: () => void): Promise<void> {
    this.#hint = onHint;
  }

  invalidate(): void {
    this.#reading = undefined;
  }

  async close(): Promise<void> {}

  #changed(): void {
    this.#reading = undefined;
    this.#hint();
  }

  #build(): Snapshot {
    const files = Object.fromEntries(
      Object.entries(this.#files).map(([path, content]) => [path, Buffer.from(content).toString()]),
    );
    const inputs = JSON.stringify([
      this.#fleet,
      Object.entries(this.#manifests).toSorted(byName),
      Object.entries(files).toSorted(byName),
    ]);
    return {
      revision: `dir:${sha256(inputs).slice(0, 12)}`,
      fleet: this.#fleet,
      manifests: { ...this.#others, [this.#node]: this.#manifests },
      files: this.#files,
      describeFile: (node, service) => `manifests/${node}/${service}.toml`,
      fleetFile: "fleet.toml",
      ...(this.trailers.length === 0 ? {} : { commit: { ...COMMIT, trailers: this.trailers } }),
    };
  }
}
