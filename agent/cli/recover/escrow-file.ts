// An escrow as it is stored: encrypted with age for offline recipients, which stock `age -d` opens. Used by `orca escrow create` and
// `orca recover`; what it holds is never printed.

import { readFile } from "node:fs/promises";

import { decryptStream, encryptStream } from "../../backup/encrypt.ts";
import { type Escrow, escrowSchema } from "../../setup/escrow.ts";
import { CommandError } from "../frame/exit-codes.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** Encrypts an escrow. */
export async function sealEscrow(escrow: Escrow, recipients: readonly string[]): Promise<Buffer> {
  const plain = Buffer.from(JSON.stringify(escrow));
  return collect(encryptStream(once(plain), recipients).pieces());
}

/** Opens one with an offline recipient's key, as age-keygen writes it. Throws without a word of what is in either file. */
export async function openEscrow(file: string, keyFile: string): Promise<Escrow> {
  const keys = await readText(keyFile);
  const identities = keys.match(/^AGE-SECRET-KEY-[A-Z0-9-]+$/gm) ?? [];
  if (identities.length === 0) throw new CommandError(`${keyFile} holds no key as age-keygen writes it`);
  const stored = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(`${file} cannot be read: ${error.code}`);
  });
  let plain: Buffer;
  try {
    plain = await collect(decryptStream(once(stored), identities));
  } catch (error) {
    throw new CommandError(`${file} does not open with ${keyFile}: ${readMessage(error)}`);
  }
  const parsed = escrowSchema.safeParse(parse(plain));
  if (!parsed.success) throw new CommandError(`${file} is no escrow that this version of Orca knows`);
  return parsed.data;
}

function parse(plain: Buffer): unknown {
  try {
    return JSON.parse(plain.toString("utf8"));
  } catch {
    return undefined;
  }
}

async function readText(file: string): Promise<string> {
  return readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(`${file} cannot be read: ${error.code}`);
  });
}

async function* once(bytes: Buffer): AsyncIterable<Uint8Array> {
  yield await Promise.resolve(bytes);
}

async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Buffer[] = [];
  // A piece is filled again once the next one is asked for.
  for await (const piece of pieces) all.push(Buffer.from(piece));
  return Buffer.concat(all);
}
