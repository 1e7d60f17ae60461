// Moves bytes while it adds them up, one buffer at a time, whatever a file's size. Files are opened so that no link is followed.

import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

import { YoungGarbage } from "./young-garbage.ts";

/** What went through. */
export interface StreamSum {
  sha256: string;
  /** In bytes. */
  size: number;
}

/** Told of each piece that went through, in bytes. */
export type OnBytes = (count: number) => void;

const CHUNK_BYTES = 256 * 1024;

/**
 * Reads a plain file piece by piece; no link is followed. Each piece is good until the next one is asked for.
 * @param endBytes where to stop; at the end of the file when left out
 */
export async function openPlain(path: string, endBytes = Infinity): Promise<AsyncIterable<Uint8Array>> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) throw new Error(`${path} is no plain file`);
  } catch (error) {
    await file.close();
    throw error;
  }
  return readPieces(file, endBytes);
}

async function* readPieces(file: FileHandle, endBytes: number): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  try {
    for (let left = endBytes; left > 0;) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(CHUNK_BYTES, left));
      if (bytesRead === 0) return;
      left -= bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** Passes pieces on and adds them up; the sum is known once all went through. */
export class Summing {
  readonly #hash = createHash("sha256");
  readonly #onBytes: OnBytes;
  readonly #garbage = new YoungGarbage();
  #size = 0;

  constructor(onBytes: OnBytes = () => undefined) {
    this.#onBytes = onBytes;
  }

  async *pass(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      this.#hash.update(piece);
      this.#size += piece.length;
      this.#garbage.add(piece.length);
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
  const summing = new Summing(onBytes);
  try {
    for await (const piece of summing.pass(pieces)) await writeWhole(file, piece);
    await file.sync();
  } finally {
    await file.close();
  }
  return summing.sum;
}

async function writeWhole(file: FileHandle, piece: Uint8Array): Promise<void> {
  for (let at = 0; at < piece.length;) at += (await file.write(piece, at)).bytesWritten;
}
