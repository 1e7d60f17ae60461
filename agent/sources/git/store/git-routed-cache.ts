// Remembers, between runs of the child, which manifests of other nodes speak of routes, by the id of their directory: only
// directories that a commit has changed are read again. A cache: what cannot be read is found anew.

import { createHash } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

const FILE = "routed.json";

/** Routed manifests by the id of a node's directory. */
export class RoutedCache {
  readonly #file: string;
  readonly #known: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly #used = new Map<string, ReadonlyMap<string, string>>();
  #changed = false;

  private constructor(file: string, known: ReadonlyMap<string, ReadonlyMap<string, string>>) {
    this.#file = file;
    this.#known = known;
  }

  /** Opens the cache of a directory; an empty one where it is missing or damaged. */
  static async open(directory: string): Promise<RoutedCache> {
    const file = join(directory, FILE);
    try {
      const text = await readFile(file, "utf8");
      const end = text.indexOf("\n");
      const body = text.slice(end + 1);
      if (text.slice(0, end) !== digest(body)) return new RoutedCache(file, new Map());
      const entries = JSON.parse(body) as [string, [string, string][]][];
      return new RoutedCache(file, new Map(entries.map(([id, texts]) => [id, new Map(texts)])));
    } catch {
      return new RoutedCache(file, new Map());
    }
  }

  /** True for a directory that need not be read. */
  has(id: string): boolean {
    return this.#known.has(id);
  }

  /** Finds what is known of a directory, or reads it. */
  async find(id: string, read: () => Promise<ReadonlyMap<string, string>>): Promise<ReadonlyMap<string, string>> {
    const known = this.#known.get(id);
    const texts = known ?? (await read());
    if (known === undefined) this.#changed = true;
    this.#used.set(id, texts);
    return texts;
  }

  /** Writes down what was used; what was not is forgotten. */
  async save(): Promise<void> {
    if (!this.#changed) return;
    const body = JSON.stringify([...this.#used].map(([id, texts]) => [id, [...texts]]));
    await writeFile(`${this.#file}.new`, `${digest(body)}\n${body}`, { mode: 0o600 });
    await rename(`${this.#file}.new`, this.#file);
  }
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
