// The files of one audit log: what is written to now, and those before it, each named by the number of its last line. The chain goes on from
// one to the next. Used by the log, by `orca audit` and by the export; removes nothing.

import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** So many digits sort as numbers do. */
const DIGITS = 12;

/** Where the lines up to this one lie once the log is rotated. */
export function segmentPath(path: string, lastSeq: number): string {
  return `${path}.${String(lastSeq).padStart(DIGITS, "0")}`;
}

/** The files before the one that is written to, the oldest first. */
export async function listSegments(path: string): Promise<string[]> {
  const name = basename(path);
  const entries = await readdir(dirname(path)).catch(() => []);
  const isSegment = (entry: string): boolean =>
    entry.startsWith(`${name}.`) && new RegExp(`^\\d{${DIGITS}}$`).test(entry.slice(name.length + 1));
  return entries
    .filter(isSegment)
    .toSorted()
    .map((entry) => join(dirname(path), entry));
}
