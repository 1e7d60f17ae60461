// A file of secrets on disk: encrypted with age for the key that lies beside it, or plain where that was said. Read by the
// short-lived child, written by `orca secrets`. The age library is loaded here and nowhere in the agent itself.

import { chmodSync } from "node:fs";
import { open, readFile, rename, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { LockHeldError, takeLock } from "../../host/files/lock.ts";
import { readSecretFile } from "../../host/files/secret-file.ts";
import { describeSecrets, parseSecrets, type SecretTable } from "./secret-text.ts";

/** Which file, which key, and whether it may be plain. */
export interface SecretFilePlace {
  file: string;
  identityFile: string;
  plain: boolean;
}

/** So long somebody who changes a file waits for somebody else who does. */
const LOCK_PATIENCE_MS = 10_000;
const LOCK_RETRY_MS = 50;

/** What every age file begins with. */
const AGE_HEAD = "age-encryption.org/v1";

/** The key's file where nobody says another: beside the file that it opens. */
export function nameIdentityFile(file: string): string {
  return `${file}.key`;
}

/** Reads all secrets of a file. Throws with what to do, and never with content. */
export async function readSecretTable(place: SecretFilePlace): Promise<SecretTable> {
  const { file, plain } = place;
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new Error(
      error.code === "ENOENT"
        ? `${file} does not exist: make it with orca secrets set`
        : `${file} cannot be read: ${error.code}${error.code === "EACCES" ? ": use sudo" : ""}`,
    );
  });
  const isEncrypted = bytes.subarray(0, AGE_HEAD.length).toString("latin1") === AGE_HEAD;
  if (plain && !isEncrypted) {
    if (((await stat(file)).mode & 0o077) !== 0)
      throw new Error(`${file} can be read by others: run chmod 600 ${file}`);
    return parseSecrets(bytes.toString("utf8"));
  }
  if (!isEncrypted)
    throw new Error(`${file} is not encrypted: make it with orca secrets set, or allow that with plain`);
  return parseSecrets(await decrypt(bytes, place));
}

async function decrypt(bytes: Uint8Array, { file, identityFile }: SecretFilePlace): Promise<string> {
  const { Decrypter } = await import("age-encryption");
  const decrypter = new Decrypter();
  for (const identity of await readIdentities(identityFile)) decrypter.addIdentity(identity);
  try {
    return await decrypter.decrypt(bytes, "text");
  } catch (error) {
    throw new Error(`${file} does not open with the key in ${identityFile}`, { cause: error });
  }
}

/** Lines that begin with # are comments, as `age-keygen` writes them. */
async function readIdentities(identityFile: string): Promise<string[]> {
  const text = (await readSecretFile(identityFile)).expose();
  const lines = text.split("\n").map((line) => line.trim());
  const identities = lines.filter((line) => line.startsWith("AGE-SECRET-KEY-"));
  if (identities.length === 0) throw new Error(`${identityFile} holds no AGE-SECRET-KEY-…`);
  return identities;
}

/**
 * Changes what a file holds now, or makes it: two who change it at once lose nothing of each other's.
 * @param change from what the file holds to what it shall hold
 */
export async function changeSecretTable(
  place: SecretFilePlace,
  change: (secrets: SecretTable) => SecretTable,
): Promise<void> {
  const letGo = await waitForLock(place.file);
  try {
    await writeSecretTable(place, change(await readSecretTableIfThere(place)));
  } finally {
    letGo();
  }
}

/** Whoever changes the file takes a fraction of a second for it. */
async function waitForLock(file: string): Promise<() => void> {
  const holder = { pid: process.pid, command: "orca secrets", since: new Date().toISOString() };
  const request = { directory: dirname(file), name: `.${basename(file)}`, what: file, holder };
  for (const endMs = performance.now() + LOCK_PATIENCE_MS; ; await sleep(LOCK_RETRY_MS)) {
    try {
      return takeLock(request);
    } catch (error) {
      if (!(error instanceof LockHeldError) || performance.now() > endMs) throw error;
    }
  }
}

/** Reads all secrets of a file; none where there is no file yet. */
export async function readSecretTableIfThere(place: SecretFilePlace): Promise<SecretTable> {
  const info = await stat(place.file).catch((error: NodeJS.ErrnoException) => error);
  return info instanceof Error && info.code === "ENOENT" ? new Map() : readSecretTable(place);
}

/** Replaces a file as a whole; makes the key where there is none. */
export async function writeSecretTable(place: SecretFilePlace, secrets: SecretTable): Promise<void> {
  const text = describeSecrets(secrets);
  const content = place.plain ? Buffer.from(text) : await encrypt(text, place.identityFile);
  const path = `${place.file}.new`;
  await writeSynced(path, content, "w");
  chmodSync(path, 0o600);
  await rename(path, place.file);
}

/** On the disk when it returns: a key that a power loss took would take everything it has encrypted. */
async function writeSynced(path: string, content: string | Uint8Array, flag: "w" | "wx"): Promise<void> {
  const file = await open(path, flag, 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  const directory = await open(dirname(path), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function encrypt(text: string, identityFile: string): Promise<Uint8Array> {
  const { Encrypter, generateX25519Identity, identityToRecipient } = await import("age-encryption");
  if ((await stat(identityFile).catch(() => undefined)) === undefined) {
    await writeSynced(identityFile, `${await generateX25519Identity()}\n`, "wx");
  }
  const encrypter = new Encrypter();
  for (const identity of await readIdentities(identityFile))
    encrypter.addRecipient(await identityToRecipient(identity));
  return encrypter.encrypt(text);
}
