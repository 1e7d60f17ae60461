// A dump on its way into a file of age: what comes is gathered in batches, a thread of its own seals one while the next comes in and the
// one before is written. A small one is sealed here and starts no thread. Digests are taken of what lies there afterwards, opened with the
// file's own key: no program waits for them.

import { crc32 } from "node:zlib";

import { AgeFault } from "./age-open.ts";
import { beginFile, countSealed, PayloadSealer } from "./age-stream.ts";
import { BATCH_BYTES, BatchThread, INPUTS, ThreadMeter } from "./batch-thread.ts";
import { type Measured, Meter } from "./dump-gate.ts";
import { OpenedMeter } from "./opened-meter.ts";

/** A file as it lies there, and what went into it. */
export interface MeasuredFile {
  plain: Measured;
  stored: Measured;
}

/** What lies there is not what was stored. */
export class Altered extends Error {}

/** So much is held before a thread is started for more. */
const SMALL_BYTES = 4 * 1024 * 1024;
/** One more than may wait for the thread: the oldest may still be on its way to the disk. */
const OUTPUTS = INPUTS + 1;

/** A stream that is sealed for public keys. */
export class SealedStream {
  readonly #plain: AsyncIterable<Uint8Array>;
  readonly #file: { head: Buffer; key: Buffer };
  /** Of what came in: between there and the disk its bytes go through memory that no cipher guards. */
  #came = { bytes: 0, check: 0 };
  #isWhole = false;

  constructor(plain: AsyncIterable<Uint8Array>, keys: readonly Buffer[]) {
    this.#plain = plain;
    this.#file = beginFile(keys);
  }

  /** Once, when all was read and written: opens what lies there with the file's own key. */
  async measureBack(pieces: AsyncIterable<Uint8Array>): Promise<MeasuredFile> {
    if (!this.#isWhole) throw new Error("it was not sealed to its end");
    const stored = new Meter();
    const opening = this.#came.bytes > SMALL_BYTES ? new ThreadMeter(this.#file) : new OpenedMeter(this.#file);
    try {
      for await (const piece of pieces) {
        await opening.take(piece);
        stored.take(piece);
      }
      const { check, ...plain } = await opening.read();
      if (plain.bytes !== this.#came.bytes || check !== this.#came.check)
        throw new Altered("it does not open as what came from its program");
      return { plain, stored: stored.read() };
    } catch (error) {
      throw error instanceof AgeFault ? new Altered(error.message) : error;
    } finally {
      if (opening instanceof ThreadMeter) await opening.end();
    }
  }

  /** A piece holds what it held until the one after the next is asked for. */
  async *pieces(): AsyncIterable<Uint8Array> {
    const { head, key } = this.#file;
    yield head;
    const held: Uint8Array[] = [];
    let heldBytes = 0;
    let thread: SealingThread | undefined;
    try {
      for await (const piece of this.#plain) {
        this.#came = { bytes: this.#came.bytes + piece.length, check: crc32(piece, this.#came.check) };
        if (thread === undefined) {
          heldBytes += piece.length;
          held.push(Uint8Array.from(piece));
          if (heldBytes <= SMALL_BYTES) continue;
          thread = new SealingThread(key);
          for (const early of held.splice(0)) yield* thread.write(early);
        } else yield* thread.write(piece);
      }
      if (thread === undefined) {
        const sealed = Buffer.allocUnsafeSlow(countSealed(heldBytes));
        new PayloadSealer(key).seal(Buffer.concat(held), sealed, true);
        this.#isWhole = true;
        yield sealed;
        return;
      }
      yield* thread.finish();
      this.#isWhole = true;
    } finally {
      await thread?.end();
    }
  }
}

/** What is sealed by a thread on its way to the disk. */
class SealingThread {
  readonly #output = new Uint8Array(new SharedArrayBuffer(OUTPUTS * countSealed(BATCH_BYTES)));
  readonly #thread: BatchThread;
  #taken = 0;

  constructor(key: Uint8Array) {
    this.#thread = new BatchThread({ kind: "seal", key, output: this.#output, outputs: OUTPUTS });
  }

  /** Takes more of the plain stream; gives what is sealed once no further batch could be filled. */
  async *write(piece: Uint8Array): AsyncIterable<Uint8Array> {
    for (let at = 0; at < piece.length;) {
      if (this.#thread.isFull) {
        this.#thread.send(false);
        if (this.#thread.underWay === INPUTS) yield await this.#take();
      }
      at += this.#thread.fill(piece.subarray(at));
    }
  }

  /** All that is left. */
  async *finish(): AsyncIterable<Uint8Array> {
    this.#thread.send(true);
    while (this.#thread.underWay > 0) yield await this.#take();
  }

  end(): Promise<void> {
    return this.#thread.end();
  }

  async #take(): Promise<Uint8Array> {
    const { bytes } = await this.#thread.next();
    const at = (this.#taken % OUTPUTS) * countSealed(BATCH_BYTES);
    this.#taken += 1;
    return this.#output.subarray(at, at + bytes);
  }
}
