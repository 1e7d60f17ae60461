// A thread beside the one that reads and writes: it is handed batches in a ring of memory that both see, and answers them in their order.
// Used by seal-stream.ts.

import { once } from "node:events";
import { Worker } from "node:worker_threads";

import { AgeFault } from "./age-open.ts";
import type { OpenedFile } from "./opened-meter.ts";
import type { BatchAnswer, BatchOrder, ThreadStart } from "./seal-exchange.ts";

/** Whole chunks of age. */
export const BATCH_BYTES = 1024 * 1024;
/** One fills while others wait for the thread: on a busy machine it gets its share of the CPU now and then. */
export const INPUTS = 6;

/** One thread. */
export class BatchThread {
  readonly #worker: Worker;
  readonly #input = new Uint8Array(new SharedArrayBuffer(INPUTS * BATCH_BYTES));
  readonly #answers: Promise<BatchAnswer>[] = [];
  readonly #waiting: ((answer: BatchAnswer) => void)[] = [];
  readonly #failed: Promise<never>;
  /** Of the batch that is filled. */
  #filled = 0;
  #sent = 0;

  constructor(work: ThreadStart["work"]) {
    const data: ThreadStart = { input: this.#input, batchBytes: BATCH_BYTES, inputs: INPUTS, work };
    // In the bundle it lies beside this chunk.
    const file = import.meta.url.endsWith(".ts") ? "./seal-worker.ts" : "./seal-worker.mjs";
    this.#worker = new Worker(new URL(file, import.meta.url), { workerData: data });
    this.#worker.on("message", (answer: BatchAnswer) => this.#waiting.shift()?.(answer));
    this.#failed = Promise.race([
      once(this.#worker, "error").then(([error]) => Promise.reject(error as Error)),
      once(this.#worker, "exit").then(() => Promise.reject(new Error("the thread of the backup has ended"))),
    ]);
    this.#failed.catch(() => undefined);
  }

  /** How many batches were handed over and not answered. */
  get underWay(): number {
    return this.#answers.length;
  }

  /** The batch that is filled takes no more: it is sent once more comes, and only then known not to be the last one. */
  get isFull(): boolean {
    return this.#filled === BATCH_BYTES;
  }

  /** Takes as much as the batch has room for, and answers how much. Fewer than `INPUTS` may be under way. */
  fill(piece: Uint8Array): number {
    const part = piece.subarray(0, BATCH_BYTES - this.#filled);
    this.#input.set(part, (this.#sent % INPUTS) * BATCH_BYTES + this.#filled);
    this.#filled += part.length;
    return part.length;
  }

  /** Hands over the batch that was filled. */
  send(isLast: boolean): void {
    const order: BatchOrder = { number: this.#sent, bytes: this.#filled, isLast };
    this.#answers.push(new Promise((resolve) => this.#waiting.push(resolve)));
    this.#worker.postMessage(order);
    this.#sent += 1;
    this.#filled = 0;
  }

  /** The answer to the oldest batch that is under way. Rejects where the thread has ended. */
  async next(): Promise<BatchAnswer> {
    const [oldest] = this.#answers;
    if (oldest === undefined) throw new Error("no batch is under way");
    const answer = await Promise.race([oldest, this.#failed]);
    void this.#answers.shift();
    return answer;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** Opens a large file in a thread, and measures what comes out of it. Throws an `AgeFault` as `OpenedMeter` does. */
export class ThreadMeter {
  readonly #thread: BatchThread;

  constructor(file: { head: Uint8Array; key: Uint8Array }) {
    this.#thread = new BatchThread({ kind: "open", ...file });
  }

  /** The piece is anybody's again once this resolves. */
  async take(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length;) {
      if (this.#thread.isFull) {
        this.#thread.send(false);
        if (this.#thread.underWay === INPUTS) await this.#next();
      }
      at += this.#thread.fill(piece.subarray(at));
    }
  }

  /** Once, at the end. */
  async read(): Promise<OpenedFile> {
    this.#thread.send(true);
    let opened: OpenedFile | undefined;
    while (this.#thread.underWay > 0) opened = await this.#next();
    if (opened === undefined) throw new Error("the thread that opens a backup said nothing of it");
    return opened;
  }

  end(): Promise<void> {
    return this.#thread.end();
  }

  async #next(): Promise<OpenedFile | undefined> {
    const { fault, opened } = await this.#thread.next();
    if (fault !== undefined) throw new AgeFault(fault);
    return opened;
  }
}
