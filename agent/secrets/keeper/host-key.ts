// The key of this host, from which everything that seals or digests secrets is derived: a systemd credential, a file that
// the administrator made, or one made here at the first start. Losing it costs the sealed secrets, not the secrets.

import { hkdfSync, randomBytes } from "node:crypto";
import { chmodSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { statePath } from "../../host/state-layout.ts";
import { makeDirectorySync } from "../../host/files/make-directory.ts";

/** The name of the systemd credential. */
const CREDENTIAL = "orca-host-key";
const LEAST_BYTES = 32;

/** The derived keys. Never printed: a Buffer inside a private field. */
export class HostKey {
  readonly #bytes: Uint8Array;
  /** Where it is from, for people. */
  readonly location: string;

  constructor(bytes: Uint8Array, location: string) {
    if (bytes.length < LEAST_BYTES)
      throw new Error(`${location} has less than ${LEAST_BYTES} bytes: make one with head -c 32 /dev/urandom`);
    this.#bytes = bytes;
    this.location = location;
  }

  /** A key of 32 bytes for one purpose (HKDF-SHA256, RFC 5869). */
  derive(purpose: string): Buffer {
    return Buffer.from(hkdfSync("sha256", this.#bytes, "", `orca ${purpose} v1`, 32));
  }
}

/**
 * Reads the host's key, making it where nobody has given one.
 * @param keyFile a file that the administrator has named; it must exist and belong to its user alone
 * @param stateDir where a key is made otherwise
 * @param credentials systemd's directory of credentials ($CREDENTIALS_DIRECTORY)
 */
export function readHostKey(keyFile: string | undefined, stateDir: string, credentials: string | undefined): HostKey {
  if (keyFile !== undefined) return new HostKey(readOwn(keyFile), keyFile);
  const credential = credentials === undefined ? undefined : readIfThere(join(credentials, CREDENTIAL));
  if (credential !== undefined) return new HostKey(credential, `the systemd credential ${CREDENTIAL}`);
  const file = statePath(stateDir, "hostKey");
  // An empty file is what a full disk has left of a key: nothing can have been sealed with it.
  if ((readIfThere(file)?.length ?? 0) === 0) {
    makeDirectorySync(stateDir, 0o700);
    writeKey(file);
  }
  return new HostKey(readOwn(file), file);
}

/** A key is there whole or not at all. */
function writeKey(file: string): void {
  const made = `${file}.new`;
  try {
    writeFileSync(made, randomBytes(LEAST_BYTES), { mode: 0o600, flush: true });
    chmodSync(made, 0o600);
    renameSync(made, file);
  } catch (error) {
    rmSync(made, { force: true });
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new Error(`the key of this host cannot be made at ${file}: ${reason}`, { cause: error });
  }
}

function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Error(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
  }
}

function readOwn(file: string): Buffer {
  const bytes = readIfThere(file);
  if (bytes === undefined) throw new Error(`${file} does not exist: make it with head -c 32 /dev/urandom, chmod 600`);
  if ((statSync(file).mode & 0o077) !== 0) throw new Error(`${file} can be read by others: run chmod 600 ${file}`);
  return bytes;
}
