// One object without a record beside it in a repository, such as a piece of a log: stored encrypted and read back, and read and opened again. Runs in the child.

import type { Measured } from "../dump-gate.ts";
import { Meter } from "../dump-gate.ts";
import { writeBatches } from "../batches.ts";
import { decryptStream, encryptStream } from "../encrypt.ts";
import type { Repository, StoreFolder } from "./repository-port.ts";

/** Where it lies. */
interface ObjectPlace {
  repository: Repository;
  folder: StoreFolder;
  name: string;
}

/** Stores it, reads it back, and answers what lies there. Nothing is left where that fails. */
export async function storeObject(
  { repository, folder, name }: ObjectPlace,
  content: AsyncIterable<Uint8Array>,
  recipients: readonly string[],
): Promise<Measured> {
  const pending = await repository.create(folder, name);
  try {
    const sealed = encryptStream(content, recipients);
    await writeBatches(sealed.pieces(), (piece) => pending.write(piece));
    await pending.publish();
    return (await sealed.measureBack(repository.read(folder, name))).stored;
  } catch (error) {
    await pending.abandon().catch(() => undefined);
    throw error;
  }
}

/** Reads it and opens it; answers also the digest of what lies there. Throws where it does not open. */
export async function readObject(
  { repository, folder, name }: ObjectPlace,
  identities: readonly string[],
): Promise<{ content: Buffer; stored: Measured }> {
  const meter = new Meter();
  const pieces: Buffer[] = [];
  const stored = watch(repository.read(folder, name), meter);
  for await (const piece of name.endsWith(".age") ? decryptStream(stored, identities) : stored)
    pieces.push(Buffer.from(piece));
  return { content: Buffer.concat(pieces), stored: meter.read() };
}

async function* watch(pieces: AsyncIterable<Uint8Array>, meter: Meter): AsyncIterable<Uint8Array> {
  for await (const piece of pieces) {
    meter.take(piece);
    yield piece;
  }
}

/** A content that is in memory. */
export async function* giveOnce(content: Uint8Array): AsyncIterable<Uint8Array> {
  yield content;
}
