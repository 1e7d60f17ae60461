// Whether a log that is streamed is still the server's own, how a store stands with it, and when the next base is due. Pure.

import { findNextDue } from "../../../../shared/manifest/schedule.ts";
import type { StorePlan } from "../../../../shared/state/backup.ts";
import type { WalLook } from "./wal-look.ts";
import { parsePosition, type WalPosition } from "./wal-position.ts";

/** What is remembered of a log, as wal-state.ts keeps it. */
export interface KnownLog {
  systemId: string;
  timeline: number;
  slot: string;
  shipped: Readonly<Record<string, string>>;
  caughtUpMs: Readonly<Record<string, number>>;
  base?: { startedMs: number; start: string; stop: string; repositories: readonly string[] } | undefined;
  baseTriedMs?: number | undefined;
  baseReason?: string | undefined;
  lost?: { why: string; atMs: number } | undefined;
  gaps?: Readonly<Record<string, { from: string; to: string }>> | undefined;
}

/** Why a log ends here, and another one begins with a new base; undefined while it goes on. */
export function findLogEnd(log: KnownLog, look: WalLook, slot: string): string | undefined {
  if (log.systemId !== look.systemId) return "the server has another system identifier: its data was made anew";
  if (log.timeline !== look.timeline)
    return `the server is on timeline ${look.timeline} and was on ${log.timeline}: its data was restored`;
  if (log.slot !== slot) return `its manifest names the slot ${slot}, and the log was received by ${log.slot}`;
  if (look.slot === undefined)
    return `the server has no slot ${slot} any more: somebody dropped it, or put other data in its place`;
  if (look.slot.isLost) return "the server has let go of what was not received yet: max_slot_wal_keep_size was reached";
  if (findFurthest(log) > look.flushed)
    return "the server's log ends before what is stored of it: older data was put in its place";
  return undefined;
}

function findFurthest({ shipped }: KnownLog): WalPosition {
  return Object.values(shipped)
    .map((text) => parsePosition(text) ?? 0n)
    .reduce((most, position) => (position > most ? position : most), 0n);
}

/** True while a base of a store is under way that no lost log and no failure has made necessary: as at the store's beginning. */
export function isUnderWay(log: KnownLog | undefined, repository: string): boolean {
  if (log === undefined) return true;
  const { base, shipped, lost, baseReason } = log;
  const isWhole =
    base !== undefined && (parsePosition(shipped[repository] ?? "") ?? 0n) >= (parsePosition(base.stop) ?? 0n);
  return lost === undefined && baseReason === undefined && !isWhole;
}

/** How one repository stands: until when everything that was committed can be restored from it, or why nothing can be yet. */
export function judgeStanding(log: KnownLog | undefined, repository: string): { goodMs: number } | { trouble: string } {
  const lost = log?.lost === undefined ? "" : ` (the one before was lost: ${log.lost.why})`;
  if (log?.base === undefined) {
    const why = log?.baseReason === undefined ? "" : `: ${log.baseReason}`;
    return { trouble: `the log has no base yet${why}${lost}` };
  }
  const { base, shipped, caughtUpMs } = log;
  if (!base.repositories.includes(repository)) return { trouble: `the base of the log is not in it${lost}` };
  const at = parsePosition(shipped[repository] ?? "") ?? 0n;
  if (at < (parsePosition(base.stop) ?? 0n)) return { trouble: `the log of its base is not whole yet${lost}` };
  const gap = log.gaps?.[repository];
  if (gap !== undefined && (parsePosition(gap.to) ?? 0n) > (parsePosition(base.start) ?? 0n))
    return { trouble: `the log from ${gap.from} to ${gap.to} is missing in it` };
  return { goodMs: Math.max(base.startedMs, caughtUpMs[repository] ?? 0) };
}

/** One that failed is tried again so soon. */
const RETRY_MS = 300_000;

/** When the next base is to be made, in milliseconds since the epoch. */
export function findBaseDue(
  log: KnownLog,
  { wal, repositories }: Pick<StorePlan, "wal" | "repositories">,
  nowMs: number,
): number {
  if (wal === undefined) return Number.POSITIVE_INFINITY;
  const retryMs = log.baseTriedMs === undefined ? nowMs : Math.min(log.baseTriedMs, nowMs) + RETRY_MS;
  if (log.base === undefined) return log.baseTriedMs === undefined ? nowMs : retryMs;
  const { base } = log;
  const isMissing = repositories.some(({ name }) => {
    const gap = log.gaps?.[name];
    const isBroken = gap !== undefined && (parsePosition(gap.to) ?? 0n) > (parsePosition(base.start) ?? 0n);
    return isBroken || !base.repositories.includes(name);
  });
  if (isMissing) return retryMs;
  const dueMs = findNextDue(wal.base, Math.min(base.startedMs, nowMs));
  return log.baseTriedMs !== undefined && log.baseTriedMs > base.startedMs ? Math.max(dueMs, retryMs) : dueMs;
}

/** A moment, and what was on the server's disk then. */
export interface WalMark {
  atMs: number;
  flushed: WalPosition;
}

/** So many looks are remembered while a repository lags. */
const MOST_MARKS = 60;

/** Remembers one more look; of many the oldest and the newest. */
export function addMark(marks: readonly WalMark[], mark: WalMark): WalMark[] {
  const all = [...marks, mark];
  return all.length <= MOST_MARKS ? all : [...all.slice(0, 1), ...all.slice(2)];
}

/** The newest moment of which everything is before a position. */
export function findCaughtUp(marks: readonly WalMark[], shipped: WalPosition): number | undefined {
  return marks.findLast(({ flushed }) => flushed <= shipped)?.atMs;
}
