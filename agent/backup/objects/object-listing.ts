// What a run of `engine = "objects"` writes down: which stored object each key of the bucket is. Lines of JSON in the order of the keys, in
// several packed files, so that what a killed run has listed is known to the next one. Pure but for the packing.

import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, gzipSync } from "node:zlib";

import * as z from "zod";

import { copyPieces } from "../batches.ts";
import { decryptStream, encryptStream } from "../encrypt.ts";

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const bytes = z.int().min(0);

/** The name of a stored object: its time is in it, so that one that no listing names is known to be old (object-pool.ts). */
export const POOL_NAME: RegExp = /^[0-9a-f]{32}(?:\.age)?$/;

/** S3 takes keys of so many bytes. */
export const LONGEST_KEY = 1_024;

const listedObject = z.object({
  /** Below the prefix of the source. A text, and never a path. */
  key: z.string().min(1).max(LONGEST_KEY),
  etag: z.string(),
  bytes,
  sha256: digest,
  /** As the source says it; of the version that was copied, or looked at last. */
  modified: z.string(),
  /** What the source gives beside the bytes: its type, and what people have written to it. */
  headers: z.record(z.string(), z.string()),
  /** The stored object. */
  file: z.string().regex(POOL_NAME),
  stored: z.object({ bytes, sha256: digest }),
});

/** One object of a listing. */
export type ListedObject = z.infer<typeof listedObject>;

const listingHead = z.object({
  orca: z.literal("objects"),
  version: z.literal(1),
  bucket: z.string(),
  prefix: z.string(),
  /** Whom the stored objects are encrypted for. */
  recipients: z.array(z.string()),
});

/** What stands first in each file of a listing. */
export type ListingHead = z.infer<typeof listingHead>;

/** A listing that is none. */
export class ListingFault extends Error {}

/** A key of 1,024 bytes, each written with six letters, and what S3 lets people write to an object (8 KiB). */
const LONGEST_LINE = 64 * 1024;

/** One file of a listing: packed, and encrypted where there is somebody to encrypt for. */
export function packListing(
  head: ListingHead,
  entries: readonly ListedObject[],
): { plain: Buffer; stored: AsyncIterable<Uint8Array> } {
  const lines = [JSON.stringify(head), ...entries.map((entry) => JSON.stringify(entry))];
  const plain = gzipSync(`${lines.join("\n")}\n`);
  return { plain, stored: encryptStream(once(plain), head.recipients).pieces() };
}

async function* once(piece: Uint8Array): AsyncIterable<Uint8Array> {
  yield piece;
}

/** The entries of one file, in its order. Throws a `ListingFault` where it is none, and what decryption throws. */
export async function* readListing(
  stored: AsyncIterable<Uint8Array>,
  identities: readonly string[] | undefined,
): AsyncIterable<{ head: ListingHead; entry: ListedObject }> {
  let head: ListingHead | undefined;
  for await (const line of unpackLines(identities === undefined ? stored : decryptStream(stored, identities))) {
    if (head === undefined) head = parse(listingHead, line);
    else yield { head, entry: parse(listedObject, line) };
  }
  if (head === undefined) throw new ListingFault("it has no head");
}

function parse<T>(schema: z.ZodType<T>, line: string): T {
  try {
    return schema.parse(JSON.parse(line));
  } catch {
    throw new ListingFault("it has a line that is no entry");
  }
}

/** Lines of a packed text; what is cut does not unpack. */
export async function* unpackLines(packed: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  const gunzip = createGunzip();
  // It takes one piece while it works on another; a repository fills it again then.
  const flow = pipeline(Readable.from(copyPieces(packed), { objectMode: false }), gunzip);
  // It is thrown where the pieces are read.
  flow.catch(() => undefined);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  try {
    for await (const piece of gunzip) {
      rest += decoder.decode(piece as Buffer, { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > LONGEST_LINE) throw new ListingFault("it has a line without end");
      yield* lines;
    }
    await flow;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code?.startsWith("Z_") === true || code === "ERR_ENCODING_INVALID_ENCODED_DATA")
      throw new ListingFault("it does not unpack");
    throw error;
  } finally {
    gunzip.destroy();
  }
  if (rest !== "") throw new ListingFault("its last line is cut");
}

/** As S3 orders keys: by their bytes in UTF-8. */
export function compareKeys(one: string, other: string): number {
  return one === other ? 0 : Buffer.compare(Buffer.from(one), Buffer.from(other));
}
