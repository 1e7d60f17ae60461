// The index of a log: what stands for its manifest. It names each object that lies in one area with the digest of its bytes as they are
// stored, so that a listing that lacks one is found out, also at its end. Pure; written by log-index.ts, read there and by proofs.

import * as z from "zod";

import { findGaps, listWalObjects, type WalGap, type WalObject } from "./wal-object.ts";
import type { WalPosition } from "./wal-position.ts";

const entry = z.looseObject({ name: z.string(), sha256: z.string() });
const index = z.looseObject({ version: z.literal(1), objects: z.array(entry) });

/** One object, and the digest of it as it is stored. */
export interface IndexEntry {
  name: string;
  sha256: string;
}

const NAME = /^index\.\d{8}T\d{9}Z\.json\.zst(?:\.age)?$/;

/** `index.20261120T021701123Z.json.zst.age`. */
export function nameIndex(writtenMs: number, encrypted: boolean): string {
  const stamp = new Date(writtenMs).toISOString().replaceAll(/[-:.]/g, "");
  return `index.${stamp}.json.zst${encrypted ? ".age" : ""}`;
}

/** The indexes among names, the newest first: it counts. */
export function listIndexes(names: readonly string[]): string[] {
  return names.filter((name) => NAME.test(name)).toSorted((one, other) => (one < other ? 1 : -1));
}

/** As it is written, before it is packed. */
export function writeIndexText(objects: readonly IndexEntry[]): string {
  return JSON.stringify({ version: 1, objects });
}

/** Reads it; undefined for a text that is none. */
export function parseIndex(text: string): IndexEntry[] | undefined {
  try {
    return index.parse(JSON.parse(text)).objects;
  } catch {
    return undefined;
  }
}

/**
 * The next index of an area.
 * @param add what was stored since the last one
 * @param drop names of what goes now, and the position before which all goes
 */
export function followIndex(
  known: readonly IndexEntry[],
  add: readonly IndexEntry[],
  { names, before, segmentBytes }: { names: readonly string[]; before: WalPosition | undefined; segmentBytes: number },
): IndexEntry[] {
  const dropped = new Set(names);
  const all = new Map([...known, ...add].map((one) => [one.name, one] as const));
  return [...all.values()].filter(({ name }) => {
    const [object] = listWalObjects([name], segmentBytes);
    const isOld = before !== undefined && object !== undefined && object.to <= before;
    return !dropped.has(name) && !isOld;
  });
}

/** What an index names that is not there, and that nothing else has either: the first of it, with the object's name. */
export function findLost(
  entries: readonly IndexEntry[],
  objects: readonly WalObject[],
  { segmentBytes, sinceMs }: { segmentBytes: number; sinceMs: number },
): (WalGap & { name: string }) | undefined {
  const there = new Set(objects.map(({ name }) => name));
  const named = listWalObjects(
    entries.map(({ name }) => name),
    segmentBytes,
  );
  const absent = named
    .filter(({ name, shippedMs }) => !there.has(name) && shippedMs >= sinceMs)
    .toSorted((one, other) => (one.from < other.from ? -1 : 1));
  for (const { name, from, to } of absent) {
    const [gap] = findGaps(objects, { from, to });
    if (gap !== undefined) return { ...gap, name };
  }
  return undefined;
}
