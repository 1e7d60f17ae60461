// A store without files, and the server that gives them: a file that is not there is fetched when it is read, with its whole
// directory. So what a node reads counts, and not what else is in the repository. Runs in the child that fetches.

import type { ObjectReader } from "./git-store.ts";

/** What is asked of the store beneath. */
export interface PartialStore extends ObjectReader {
  has(id: string): Promise<boolean>;
}

/** A file that the server has left out: it is larger than any that is read. */
export class OmittedFile extends Error {
  constructor(id: string) {
    super(`${id} is too large and was not fetched`);
  }
}

/** Reads objects, and fetches files by themselves. */
export class PartialObjects implements ObjectReader {
  readonly #store: PartialStore;
  readonly #fetch: (ids: readonly string[]) => Promise<void>;
  /** What was fetched: what is not there now is not to be had. */
  readonly #asked = new Set<string>();

  /** @param fetch fetches files, and directories but for files that are too large */
  constructor(store: PartialStore, fetch: (ids: readonly string[]) => Promise<void>) {
    this.#store = store;
    this.#fetch = fetch;
  }

  async read(id: string, type: "commit" | "tree" | "blob" | "tag", within?: string): Promise<Uint8Array> {
    if (type !== "blob" || (await this.#store.has(id))) return this.#store.read(id, type);
    await this.prepare([within ?? id]);
    if (!(await this.#store.has(id))) throw new OmittedFile(id);
    return this.#store.read(id, type);
  }

  async prepare(ids: readonly string[]): Promise<void> {
    const open = ids.filter((id) => !this.#asked.has(id));
    if (open.length === 0) return;
    for (const id of open) this.#asked.add(id);
    try {
      await this.#fetch(open);
    } catch (error) {
      // Of several it is not known which is too much: each is asked for by itself.
      if (open.length > 1) for (const id of open) this.#asked.delete(id);
      throw error;
    }
  }
}
