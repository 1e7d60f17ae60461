// Looks at a file of age that was written a moment ago: opens it with its own key, and measures what comes out. Run in a thread for a large
// one (seal-worker.ts), and beside everything else for a small one. Every byte is authenticated, and none comes out twice or is left out.

import { crc32 } from "node:zlib";

import { AgeFault, PayloadOpener } from "./age-open.ts";
import { Meter } from "./dump-gate.ts";

/** What came out. */
export interface OpenedFile {
  bytes: number;
  sha256: string;
  /** CRC-32: cheap enough to be taken of what goes in, too. */
  check: number;
}

/** One file; throws an `AgeFault` where it is not what was sealed. */
export class OpenedMeter {
  readonly #head: Buffer;
  readonly #payload: PayloadOpener;
  readonly #meter = new Meter();
  #check = 0;
  #at = 0;

  constructor({ head, key }: { head: Uint8Array; key: Uint8Array }) {
    this.#head = Buffer.from(head);
    this.#payload = new PayloadOpener(Buffer.from(key));
  }

  take(piece: Uint8Array): void {
    const begin = piece.subarray(0, this.#head.length - this.#at);
    if (!this.#head.subarray(this.#at, this.#at + begin.length).equals(begin))
      throw new AgeFault("it does not begin as it did");
    this.#at += begin.length;
    for (const plain of this.#payload.take(piece.subarray(begin.length))) this.#measure(plain);
  }

  /** Once, at the end. */
  read(): OpenedFile {
    if (this.#at < this.#head.length) throw new AgeFault("it ends within its header");
    this.#measure(this.#payload.end());
    return { ...this.#meter.read(), check: this.#check };
  }

  #measure(plain: Buffer<ArrayBuffer>): void {
    this.#meter.take(plain);
    this.#check = crc32(plain, this.#check);
    // Given back at once: what the runtime frees late would be a hundred megabytes by then.
    if (plain.length > 0 && plain.length === plain.buffer.byteLength) plain.buffer.transfer(0);
  }
}
