// Changes to the disk that are there after a power cut once the call returns: what is written is synced before it gets its name, and the
// directory that holds the name is synced after. Every call of the system goes through `DiskCalls`, so that a test sees their order.

import { closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync, symlinkSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";

/** The calls, as the system has them. */
export interface DiskCalls {
  /** Writes a whole new file; nothing is synced. */
  write(path: string, text: string): void;
  /** A file or a directory. */
  sync(path: string): void;
  rename(from: string, to: string): void;
  link(target: string, path: string): void;
  remove(path: string): void;
}

/** Those of this host. */
export const HOST_DISK: DiskCalls = {
  write(path, text) {
    // Nothing secret is in them: whoever asks `orca update` may read them.
    const file = openSync(path, "w", 0o644);
    try {
      writeSync(file, text);
    } finally {
      closeSync(file);
    }
  },
  sync(path) {
    const file = openSync(path, "r");
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  },
  rename: renameSync,
  link: symlinkSync,
  remove: (path) => rmSync(path, { recursive: true, force: true }),
};

/** Replaces a file as a whole. */
export function writeDurably(disk: DiskCalls, path: string, text: string): void {
  const beside = `${path}.new`;
  disk.write(beside, text);
  disk.sync(beside);
  disk.rename(beside, path);
  disk.sync(dirname(path));
}

/** Lets a link name something else, in one step: there is no moment without one. */
export function pointDurably(disk: DiskCalls, path: string, target: string): void {
  const beside = `${path}.new`;
  disk.remove(beside);
  disk.link(target, beside);
  disk.rename(beside, path);
  disk.sync(dirname(path));
}

/** Removes a file, for good. */
export function removeDurably(disk: DiskCalls, path: string): void {
  disk.remove(path);
  disk.sync(dirname(path));
}

/** Gives a whole directory its name, once all that is in it is on the disk. */
export function moveDurably(disk: DiskCalls, from: string, to: string): void {
  for (const entry of readdirSync(from, { recursive: true, withFileTypes: true }))
    if (!entry.isSymbolicLink()) disk.sync(join(entry.parentPath, entry.name));
  disk.sync(from);
  disk.rename(from, to);
  disk.sync(dirname(to));
}
