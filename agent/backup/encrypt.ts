// Encrypts a stream with age (age-encryption.org/v1) for its recipients: stock `age -d` opens it, and a stream that is cut does not
// open. Loaded only where something is encrypted.

import { ReadableStream } from "node:stream/web";

import { readIdentity, readRecipient } from "./age-keys.ts";
import { decryptWithKeys } from "./age-open.ts";
import { batch, copyPieces } from "./batches.ts";
import { type Measured, Meter } from "./dump-gate.ts";
import { Altered, type MeasuredFile, SealedStream } from "./seal-stream.ts";
import { describeCount } from "../../shared/text/count.ts";

/** A stream as it is stored, and what is known of it once it lies there. */
export interface StoredStream {
  /** In large ones; each holds what it held until the one after the next is asked for. */
  pieces(): AsyncIterable<Uint8Array>;
  /**
   * Once, at the end: reads what lies there now, and answers how much that is and its digest, and the same of what came in. Throws an
   * `Altered` where it is not what was stored.
   */
  measureBack(stored: AsyncIterable<Uint8Array>): Promise<MeasuredFile>;
}

/** The same bytes, encrypted; as they are where there is nobody to encrypt for. */
export function encryptStream(plain: AsyncIterable<Uint8Array>, recipients: readonly string[]): StoredStream {
  const keys = recipients.map(readRecipient);
  if (keys.length > 0 && keys.every((key) => key !== undefined)) return new SealedStream(plain, keys);
  const came = new Meter();
  const taken = measure(plain, came);
  if (keys.length === 0)
    return { pieces: () => batch(taken), measureBack: (stored) => compare(stored, came.read()).then(takeForBoth) };
  const went = new Meter();
  return {
    pieces: () => measure(batch(encryptByLibrary(taken, recipients)), went),
    measureBack: async (stored) => ({ stored: await compare(stored, went.read()), plain: came.read() }),
  };
}

async function compare(pieces: AsyncIterable<Uint8Array>, expected: Measured): Promise<Measured> {
  const meter = new Meter();
  for await (const piece of pieces) meter.take(piece);
  const found = meter.read();
  if (found.bytes === expected.bytes && found.sha256 === expected.sha256) return found;
  throw new Altered(`${found.bytes} of ${describeCount(expected.bytes, "byte")}`);
}

function takeForBoth(stored: Measured): MeasuredFile {
  return { stored, plain: stored };
}

async function* measure(pieces: AsyncIterable<Uint8Array>, meter: Meter): AsyncIterable<Uint8Array> {
  for await (const piece of pieces) {
    meter.take(piece);
    yield piece;
  }
}

/** For recipients of another kind; where one is none at all, the library says so. */
async function* encryptByLibrary(
  plain: AsyncIterable<Uint8Array>,
  recipients: readonly string[],
): AsyncIterable<Uint8Array> {
  const { Encrypter } = await import("age-encryption");
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  const stream = ReadableStream.from(plain);
  yield* await encrypter.encrypt(stream);
}

/** The bytes that were encrypted. Throws where no identity opens them, and where the stream was cut or changed. */
export async function* decryptStream(
  stored: AsyncIterable<Uint8Array>,
  identities: readonly string[],
): AsyncIterable<Uint8Array> {
  const keys = identities.map(readIdentity);
  if (keys.every((key) => key !== undefined)) {
    yield* decryptWithKeys(stored, keys);
    return;
  }
  const { Decrypter } = await import("age-encryption");
  const decrypter = new Decrypter();
  for (const identity of identities) decrypter.addIdentity(identity);
  // The library keeps what it is given; a repository fills it again.
  const stream = ReadableStream.from(copyPieces(stored));
  yield* await decrypter.decrypt(stream);
}
