// Restores of buckets that people ask for: one waits for each store, and what came of the last one is kept while the agent runs. An agent
// that ends in the middle leaves a place that is not empty, and does not go on by itself.

import type { CopyOutOrder, CopyOutRun, StorePlan } from "../../../shared/state/backup.ts";
import { nameStore } from "./store-memories.ts";

/** Whoever does the work. */
interface Worker {
  copyOut(plan: StorePlan, order: CopyOutOrder): Promise<CopyOutRun>;
}

/** What was asked for, and what came of it. */
export class CopyOuts {
  readonly #asked = new Map<string, CopyOutOrder>();
  readonly #last = new Map<string, CopyOutRun>();

  /** Answers why it cannot be, or undefined once it waits. */
  ask(plan: StorePlan | undefined, order: CopyOutOrder): string | undefined {
    const name = `${order.service}/${order.store}`;
    if (plan === undefined) return `${name} is no backup that is in force here`;
    if (plan.source.bucket === undefined) return `${name} is no backup of a bucket: leave --into out`;
    if (this.#asked.has(nameStore(plan))) return `${name} is restored already: wait for its end`;
    this.#asked.set(nameStore(plan), order);
    return undefined;
  }

  isAsked(plan: StorePlan): boolean {
    return this.#asked.has(nameStore(plan));
  }

  last(plan: StorePlan): CopyOutRun | undefined {
    return this.#last.get(nameStore(plan));
  }

  async carryOut(plan: StorePlan, worker: Worker): Promise<void> {
    const key = nameStore(plan);
    const order = this.#asked.get(key);
    try {
      if (order !== undefined) this.#last.set(key, await worker.copyOut(plan, order));
    } finally {
      this.#asked.delete(key);
    }
  }
}
