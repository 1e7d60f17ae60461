// A dump on its way into a file of age: what comes is gathered in batches, a thread of its own seals and digests one while the next comes in
// and the one before is written. A small one is sealed here and starts no thread.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { Worker } from "node:worker_threads";

import { beginFile, countSealed, PayloadSealer } from "./age-stream.ts";
import type { SealAnswer, SealedFile, SealOrder, SealStart } from "./seal-exchange.ts";

/** So much is held before a thread is started for more. */
const SMALL_BYTES = 4 * 1024 * 1024;
/** Whole chunks. */
const BATCH_BYTES = 1024 * 1024;
/** One fills while others wait for the thread. */
const INPUTS = 3;
/** One more than that: the oldest may still be on its way to the disk. */
const OUTPUTS = INPUTS + 1;

/** A stream that is sealed for public keys, and its digest. */
export class SealedStream {
  readonly #plain: AsyncIterable<Uint8Array>;
  readonly #keys: readonly Buffer[];
  #sealed: SealedFile | undefined;

  constructor(plain: AsyncIterable<Uint8Array>, keys: readonly Buffer[]) {
    this.#plain = plain;
    this.#keys = keys;
  }

  /** Once, when all was read. */
  read(): SealedFile {
    if (this.#sealed === undefined) throw new Error("it was not sealed to its end");
    return this.#sealed;
  }

  /** A piece holds what it held until the one after the next is asked for. */
  async *pieces(): AsyncIterable<Uint8Array> {
    const { head, key } = beginFile(this.#keys);
    yield head;
    const held: Uint8Array[] = [];
    let heldBytes = 0;
    let thread: SealingThread | undefined;
    try {
      for await (const piece of this.#plain) {
        if (thread === undefined) {
          heldBytes += piece.length;
          held.push(Uint8Array.from(piece));
          if (heldBytes <= SMALL_BYTES) continue;
          thread = new SealingThread(key, head);
          for (const early of held.splice(0)) yield* thread.write(early);
        } else yield* thread.write(piece);
      }
      if (thread === undefined) {
        const sealed = Buffer.allocUnsafeSlow(countSealed(heldBytes));
        new PayloadSealer(key).seal(Buffer.concat(held), sealed, true);
        const sha256 = createHash("sha256").update(head).update(sealed).digest("hex");
        this.#sealed = { bytes: head.length + sealed.length, sha256 };
        yield sealed;
        return;
      }
      this.#sealed = yield* thread.finish();
    } finally {
      await thread?.end();
    }
  }
}

/** The thread, and what is on its way to it. */
class SealingThread {
  readonly #worker: Worker;
  readonly #input = new Uint8Array(new SharedArrayBuffer(INPUTS * BATCH_BYTES));
  readonly #output = new Uint8Array(new SharedArrayBuffer(OUTPUTS * countSealed(BATCH_BYTES)));
  readonly #answers: Promise<SealAnswer>[] = [];
  readonly #waiting: ((answer: SealAnswer) => void)[] = [];
  readonly #failed: Promise<never>;
  /** Of the batch that is filled. */
  #filled = 0;
  #sent = 0;
  #taken = 0;

  constructor(key: Uint8Array, head: Uint8Array) {
    const data: SealStart = {
      key,
      head,
      input: this.#input,
      output: this.#output,
      batchBytes: BATCH_BYTES,
      inputs: INPUTS,
      outputs: OUTPUTS,
    };
    // In the bundle it lies beside this chunk.
    const file = import.meta.url.endsWith(".ts") ? "./seal-worker.ts" : "./seal-worker.mjs";
    this.#worker = new Worker(new URL(file, import.meta.url), { workerData: data });
    this.#worker.on("message", (answer: SealAnswer) => this.#waiting.shift()?.(answer));
    this.#failed = Promise.race([
      once(this.#worker, "error").then(([error]) => Promise.reject(error as Error)),
      once(this.#worker, "exit").then(() => Promise.reject(new Error("the thread that encrypts has ended"))),
    ]);
    this.#failed.catch(() => undefined);
  }

  /** Takes more of the plain stream; gives what is sealed once no further batch could be filled. */
  async *write(piece: Uint8Array): AsyncIterable<Uint8Array> {
    for (let at = 0; at < piece.length;) {
      // A full batch waits for more: only then it is known not to be the last one.
      if (this.#filled === BATCH_BYTES) yield* this.#send(false);
      const part = piece.subarray(at, at + BATCH_BYTES - this.#filled);
      this.#input.set(part, (this.#sent % INPUTS) * BATCH_BYTES + this.#filled);
      this.#filled += part.length;
      at += part.length;
    }
  }

  /** All that is left. */
  async *finish(): AsyncGenerator<Uint8Array, SealedFile> {
    yield* this.#send(true);
    let last: SealedFile | undefined;
    while (this.#answers.length > 0) {
      const answer = this.#answers[0];
      yield await this.#take();
      last = (await answer)?.file;
    }
    if (last === undefined) throw new Error("the thread that encrypts said nothing of its file");
    return last;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  /** Hands over the batch that was filled. */
  async *#send(isLast: boolean): AsyncIterable<Uint8Array> {
    const order: SealOrder = { number: this.#sent, bytes: this.#filled, isLast };
    this.#answers.push(new Promise((resolve) => this.#waiting.push(resolve)));
    this.#worker.postMessage(order);
    this.#sent += 1;
    this.#filled = 0;
    if (this.#answers.length === INPUTS) yield await this.#take();
  }

  async #take(): Promise<Uint8Array> {
    const answer = await Promise.race([this.#answers[0], this.#failed]);
    void this.#answers.shift();
    const at = (this.#taken % OUTPUTS) * countSealed(BATCH_BYTES);
    this.#taken += 1;
    return this.#output.subarray(at, at + (answer?.bytes ?? 0));
  }
}
