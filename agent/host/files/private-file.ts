// Files that are this user's alone, whatever the umask and whatever an earlier version left: who may read a lock file may hold
// the lock, and who may read the state reads every manifest. Used by the store and by locks.

import { chmodSync, closeSync, constants, fchmodSync, openSync } from "node:fs";

const PRIVATE = 0o600;

/** Makes a file where it is missing, and takes it from others where it is there. */
export function makePrivate(path: string): void {
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT, PRIVATE);
  try {
    fchmodSync(file, PRIVATE);
  } finally {
    closeSync(file);
  }
}

/** Takes a file from others; one that is not there is fine. */
export function takeFromOthers(path: string): void {
  try {
    chmodSync(path, PRIVATE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
