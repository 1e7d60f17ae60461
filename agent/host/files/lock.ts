// One agent for each node and engine: a lock that the kernel lets go when its holder dies. Held by an open SQLite
// transaction, since the runtime has no flock of its own; the file beside it names the holder.

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { makePrivate } from "./private-file.ts";
import { makeDirectorySync } from "./make-directory.ts";

/** Who holds a lock. */
export interface LockHolder {
  pid: number;
  command: string;
  since: string;
}

/** The lock is held by someone else. */
export class LockHeldError extends Error {
  readonly holder: LockHolder | undefined;
  constructor(what: string, holder: LockHolder | undefined) {
    const who =
      holder === undefined ? "another process" : `process ${holder.pid} (${holder.command}) since ${holder.since}`;
    super(`${what} is held by ${who}`);
    this.name = "LockHeldError";
    this.holder = holder;
  }
}

/** What to lock. */
export interface LockRequest {
  /** A directory for lock files that every agent of this host shares. */
  directory: string;
  /** The file's name, without an ending. */
  name: string;
  /** What is locked, for the message. */
  what: string;
  holder: LockHolder;
}

/**
 * Takes a lock, or throws a `LockHeldError` that names the holder.
 * @returns a function that lets it go
 */
export function takeLock({ directory, name, what, holder }: LockRequest): () => void {
  makeDirectorySync(directory, 0o755);
  const path = join(directory, `${name}.lock`);
  const holderPath = join(directory, `${name}.holder`);
  // SQLite locks a file that can only be read, too.
  makePrivate(path);
  const database = new DatabaseSync(path);
  try {
    database.exec("PRAGMA busy_timeout = 200; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE");
  } catch {
    database.close();
    throw new LockHeldError(what, readHolder(holderPath));
  }
  writeFileSync(holderPath, JSON.stringify(holder), { mode: 0o644 });
  return () => {
    rmSync(holderPath, { force: true });
    database.close();
  };
}

function readHolder(path: string): LockHolder | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as LockHolder;
  } catch {
    return undefined;
  }
}
