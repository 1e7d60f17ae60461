// Walks a branch back from its tip along first parents, fetching more of its history as it goes. Runs in the child that
// fetches: what a walk takes is bounded by MOST_COMMITS, the size limit of a pack and the child's deadline.

import { type InputObjects, type InputQuestion, InputReader } from "./git-inputs.ts";
import { type GitCommit, parseCommit } from "./git-objects.ts";
import type { ObjectReader } from "./git-store.ts";

/** How far back a branch is read (behaviour, section 1). */
export const MOST_COMMITS = 1_000;
/** How much of the history is fetched when more is needed. */
const DEPTHS = [16, 128, MOST_COMMITS + 1] as const;

/** One commit of the walk. */
export interface PastCommit extends GitCommit {
  id: string;
  content: Uint8Array;
  objects: InputObjects;
}

/** A store whose history can grow. */
export interface DeepStore extends ObjectReader {
  has(id: string): Promise<boolean>;
  /** Fetches so many commits of the branch, counted from its tip. */
  deepen(depth: number): Promise<void>;
}

/** Walks one branch, more than once if need be: what was read is kept. */
export class History {
  readonly #store: DeepStore;
  readonly #inputs: InputReader;
  readonly #known: PastCommit[] = [];
  readonly #tip: string;
  #depth = 1;
  #isWhole = false;

  constructor(store: DeepStore, question: InputQuestion & { commit: string }) {
    this.#store = store;
    this.#inputs = new InputReader(store, question);
    this.#tip = question.commit;
  }

  /** True once the branch's first commit was reached. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** The tip, its first parent and so on; ends at the root or after MOST_COMMITS. */
  async *walk(): AsyncGenerator<PastCommit, void, void> {
    let next: string | undefined = this.#tip;
    for (let index = 0; next !== undefined && index < MOST_COMMITS; index += 1) {
      const commit: PastCommit = this.#known[index] ?? (await this.#read(next));
      this.#known[index] = commit;
      yield commit;
      next = commit.parents[0];
      this.#isWhole ||= next === undefined;
    }
  }

  async #read(id: string): Promise<PastCommit> {
    for (const depth of DEPTHS) {
      // The tip is in every store that is whole: where it is missing, more history helps nothing.
      if (id === this.#tip || (await this.#store.has(id))) break;
      if (depth <= this.#depth) continue;
      await this.#store.deepen(depth);
      this.#depth = depth;
    }
    const content = await this.#store.read(id, "commit");
    const commit = parseCommit(content);
    return { ...commit, id, content, objects: await this.#inputs.find(commit.tree) };
  }
}
