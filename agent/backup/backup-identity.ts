// This node's own age identity, in the form that `age-keygen` writes: it opens this node's backups, so that they can be proved and restored
// here, and no other's. Made once on the node; its secret half never leaves it but through the pipe to the child.

import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";

import { makeDirectory } from "../host/files/make-directory.ts";

/** An identity of age. */
export interface BackupIdentity {
  /** As fleet.toml writes it: `age1…`. */
  recipient: string;
  secret: string;
}

/**
 * Reads the identity; undefined where there is none.
 * Throws where others can read it, or where it is none: a key is never replaced by itself.
 */
export async function readBackupIdentity(path: string): Promise<BackupIdentity | undefined> {
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new Error(`read the node's backup key: ${path}: ${error.code}`);
  });
  if (info === undefined || info.size === 0) return undefined;
  if ((info.mode & 0o077) !== 0)
    throw new Error(`read the node's backup key: others can read it: run chmod 600 ${path}`);
  const text = await readFile(path, "utf8");
  // The recipient stands beside it, so that nobody has to compute it.
  const recipient = /^# public key: (age1[a-z0-9]+)$/m.exec(text)?.[1];
  const secret = /^AGE-SECRET-KEY-[A-Z0-9-]+$/m.exec(text)?.[0];
  if (recipient === undefined || secret === undefined)
    throw new Error(`read the node's backup key: ${path} is not what age-keygen writes`);
  return { recipient, secret };
}

/** Reads the identity, or makes it. */
export async function ensureBackupIdentity(path: string): Promise<BackupIdentity> {
  const known = await readBackupIdentity(path);
  if (known !== undefined) return known;
  // Only whoever makes one pays for loading it.
  const { generateX25519Identity, identityToRecipient } = await import("age-encryption");
  const secret = await generateX25519Identity();
  const recipient = await identityToRecipient(secret);
  await makeDirectory(dirname(path), 0o700);
  const temporary = `${path}.new`;
  try {
    const file = await open(temporary, "w", 0o600);
    try {
      await file.chmod(0o600);
      await file.writeFile(`# public key: ${recipient}\n${secret}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new Error(`make the node's backup key: ${path}`, { cause: error });
  }
  return { recipient, secret };
}
