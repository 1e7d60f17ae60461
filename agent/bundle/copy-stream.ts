// Moves bytes while it adds them up: one buffer at a time, whatever a file's size. Files are opened so that no link is followed.

import { createHash } from "node:crypto";
import { constants, createReadStream, createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import type { Readable, Writable } from "node:stream";
import { once } from "node:events";

/** What went through. */
export interface StreamSum {
  sha256: string;
  /** In bytes. */
  size: number;
}

/** Told of each piece that went through, in bytes. */
export type OnBytes = (count: number) => void;

const CHUNK_BYTES = 256 * 1024;

/** Opens a plain file to read it; no link is followed. */
export async function openPlain(path: string): Promise<Readable> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  if (!(await file.stat()).isFile()) {
    await file.close();
    throw new Error(`${path} is no plain file`);
  }
  return createReadStream("", { fd: file, highWaterMark: CHUNK_BYTES });
}

/** Passes pieces on and adds them up; the sum is known once all went through. */
export class Summing {
  readonly #hash = createHash("sha256");
  readonly #onBytes: OnBytes;
  #size = 0;

  constructor(onBytes: OnBytes = () => undefined) {
    this.#onBytes = onBytes;
  }

  async *pass(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      this.#hash.update(piece);
      this.#size += piece.length;
      this.#onBytes(piece.length);
      yield piece;
    }
  }

  /** Ends it. */
  get sum(): StreamSum {
    return { sha256: this.#hash.digest("hex"), size: this.#size };
  }
}

/** Reads a file to its end and adds it up. */
export async function sumFile(path: string, onBytes?: OnBytes): Promise<StreamSum> {
  const summing = new Summing(onBytes);
  for await (const piece of summing.pass(await openPlain(path))) void piece;
  return summing.sum;
}

/** Writes a new file, which is on disk when this resolves. Throws where something has that name. */
export async function writeStream(
  path: string,
  pieces: AsyncIterable<Uint8Array>,
  { mode = 0o644, onBytes }: { mode?: number; onBytes?: OnBytes | undefined } = {},
): Promise<StreamSum> {
  const file = await open(path, "wx", mode);
  const target = createWriteStream("", { fd: file, highWaterMark: CHUNK_BYTES, flush: true });
  const ended = once(target, "close");
  const summing = new Summing(onBytes);
  try {
    for await (const piece of summing.pass(pieces)) await writePiece(target, piece);
    target.end();
    await ended;
  } catch (error) {
    target.destroy();
    throw error;
  }
  return summing.sum;
}

async function writePiece(target: Writable, piece: Uint8Array): Promise<void> {
  if (target.errored !== null) throw target.errored;
  if (!target.write(piece)) await once(target, "drain");
}
