// Which base a restore to a moment begins with, and which bases and objects a window keeps. A base and its log to the next base are one
// unit: none of it goes without the other. Pure.

import type { BackupRecord } from "../../core/backup-record.ts";
import { isComplete } from "../../core/backup-record.ts";
import { followObjects, type WalGap, type WalObject } from "./wal-object.ts";
import { nameTimeline, parsePosition, startOfSegment, type WalPosition } from "./wal-position.ts";

/** What a base says of the log that it needs. */
export interface BaseRange {
  systemId: string;
  timeline: number;
  segmentBytes: number;
  /** It needs no more than what is after this, and all of what is before that. */
  start: WalPosition;
  stop: WalPosition;
}

/** Reads it from a base's record; undefined for a record that is none. */
export function readBaseRange({ files }: Pick<BackupRecord, "files">): BaseRange | undefined {
  const wal = files[0]?.facts?.wal;
  if (wal === undefined) return undefined;
  const [start, stop] = [parsePosition(wal.start), parsePosition(wal.stop)];
  if (start === undefined || stop === undefined) return undefined;
  return { systemId: wal.systemId, timeline: wal.timeline, segmentBytes: wal.segmentBytes, start, stop };
}

/** Where the log of a base lies: below the store's own folder. */
export function nameLogArea({ systemId, timeline }: Pick<BaseRange, "systemId" | "timeline">): string {
  return `${systemId}/${nameTimeline(timeline)}`;
}

/** The area of the bases. */
export const BASE_AREA = "base";

/** How far the log of a base leads, and whether the base is complete: all of its range is there. */
export function followBase(
  record: BackupRecord,
  objects: readonly WalObject[],
): { objects: WalObject[]; end: WalPosition; isComplete: boolean } | undefined {
  const range = readBaseRange(record);
  if (range === undefined) return undefined;
  const { start: from, segmentBytes, stop } = range;
  const followed = followObjects(objects, { from, sinceMs: record.startedMs, segmentBytes });
  return { ...followed, isComplete: followed.end >= stop };
}

/** The bases among records, the newest first. */
export function listBases(records: readonly BackupRecord[]): BackupRecord[] {
  return records
    .filter((record) => readBaseRange(record) !== undefined)
    .toSorted((one, other) => other.endedMs - one.endedMs);
}

/** What is missing between the end of a base's log and what was stored after that; undefined where nothing is. */
export function findMissing(record: BackupRecord, objects: readonly WalObject[]): WalGap | undefined {
  const end = followBase(record, objects)?.end;
  const after = objects.filter(({ shippedMs, to }) => end !== undefined && shippedMs >= record.startedMs && to > end);
  const [next] = after.map(({ from }) => from).toSorted((one, other) => (one < other ? -1 : 1));
  return end === undefined || next === undefined || next <= end ? undefined : { from: end, to: next };
}

/** True for one whose own files are fine: what a proof has found at fault is its log, from some position on. */
function mayServe(record: BackupRecord): boolean {
  const last = record.verifications.findLast(({ verdict }) => verdict !== "unknown");
  return isComplete(record) || (isComplete({ ...record, verifications: [] }) && last?.reach !== undefined);
}

/** The bases that may serve a moment, the best first: what was read after it cannot be taken back. */
export function listBasesBefore(records: readonly BackupRecord[], atMs: number): BackupRecord[] {
  return records
    .filter((record) => mayServe(record) && readBaseRange(record) !== undefined && record.endedMs <= atMs)
    .toSorted((one, other) => other.endedMs - one.endedMs);
}

/**
 * The objects that a restore to a moment reads: all that was shipped until then, and the first two that were shipped after it, which mostly have
 * what was written between and what the server stops at. Of a server that writes much, or whose log waited, the rest has it: who does not
 * come to the moment with these reads all.
 * @param stop what the base needs is there in any case
 */
export function cutObjects(
  inOrder: readonly WalObject[],
  { atMs, stop }: { atMs: number; stop: WalPosition },
): WalObject[] {
  // Times of commits and of shipments are one host's; one shipment more is cheap.
  const last = inOrder.findIndex(({ shippedMs, to }) => shippedMs > atMs && to >= stop);
  return last === -1 ? [...inOrder] : inOrder.slice(0, last + 2);
}

/** What goes of a store's bases and their log. */
export interface WalExpiry {
  /** Names of bases. */
  bases: string[];
  /** The log of this timeline before it goes; undefined where none goes. */
  before: WalPosition | undefined;
}

/**
 * Keeps the newest complete base that is older than the window, and every newer one. Without a complete one nothing goes.
 * @param complete names of bases whose range is there
 */
export function planWalExpiry(
  records: readonly BackupRecord[],
  { complete, windowMs, nowMs, systemId, timeline }: ExpiryFacts,
): WalExpiry {
  const newestFirst = records.toSorted((one, other) => other.endedMs - one.endedMs);
  const oldest = newestFirst.find(({ name, endedMs }) => complete.has(name) && endedMs <= nowMs - windowMs);
  if (oldest === undefined) return { bases: [], before: undefined };
  const bases = newestFirst
    .filter((record) => record.endedMs < oldest.endedMs && (record.pinnedUntilMs ?? 0) <= nowMs)
    .map(({ name }) => name);
  const isPinned = newestFirst.some((record) => record.endedMs < oldest.endedMs && (record.pinnedUntilMs ?? 0) > nowMs);
  const range = readBaseRange(oldest);
  const isOwn = range !== undefined && range.systemId === systemId && range.timeline === timeline && !isPinned;
  return { bases, before: isOwn ? startOfSegment(range.start, range.segmentBytes) : undefined };
}

interface ExpiryFacts {
  complete: ReadonlySet<string>;
  windowMs: number;
  nowMs: number;
  systemId: string;
  timeline: number;
}
