// When a prune is due: weekly, once for all that were missed, and early while the engine's disk runs full. Pure.

import { jitterFraction } from "../../../shared/state/identity.ts";
import type { PruneTrigger } from "../../../shared/state/prune.ts";
import { WEEK_MS } from "./choose-prune.ts";

/** What is kept between prunes. */
export interface PruneTimes {
  /** The last weekly time that was answered; the moment this was first looked at where none was. */
  accountedMs: number;
  /** When a full disk was last answered. */
  earlyMs: number | undefined;
}

/** What a disk has left, as shares of all of it. */
export interface DiskShares {
  free: number;
  inodesFree: number;
}

/** Nodes that came up together do not all prune at once. */
const LONGEST_JITTER_MS = 6 * 3_600_000;
/** After the agent's start what was missed waits so long: a host that comes up has more urgent work. */
const START_DELAY_MS = 900_000;
/** A disk that stays full although all was taken: looked at again so seldom. */
const EARLY_REST_MS = 6 * 3_600_000;
/** Below this share of free space or inodes it prunes early; status and alerts say it from 20 % on. */
const FULL_SHARE = 0.1;

/** What is due now; undefined for nothing. */
export function findPruneDue(
  times: PruneTimes,
  disk: DiskShares | undefined,
  { node, nowMs, startedMs }: { node: string; nowMs: number; startedMs: number },
): PruneTrigger | undefined {
  const early = times.earlyMs === undefined ? undefined : Math.min(times.earlyMs, nowMs);
  if (disk !== undefined && findLeast(disk) < FULL_SHARE && (early === undefined || nowMs - early >= EARLY_REST_MS))
    return "low-disk";
  const { dueMs, missed } = findWeekly(times, { node, nowMs, startedMs });
  if (nowMs < (missed ? Math.max(dueMs, startedMs + START_DELAY_MS) : dueMs)) return undefined;
  return missed ? "catch-up" : "schedule";
}

/** When the next weekly one is due, and whether it fell into a time without an agent. */
export function findWeekly(
  { accountedMs }: Pick<PruneTimes, "accountedMs">,
  { node, nowMs, startedMs }: { node: string; nowMs: number; startedMs: number },
): { dueMs: number; missed: boolean } {
  // What was answered in the future was answered by a clock that was wrong.
  const fromMs = Math.min(accountedMs, nowMs);
  const dueMs = fromMs + WEEK_MS + Math.floor(jitterFraction(`${node}/prune`) * LONGEST_JITTER_MS);
  return { dueMs, missed: dueMs < startedMs };
}

/** The lesser of both shares: a disk without inodes is as full as one without space. */
function findLeast({ free, inodesFree }: DiskShares): number {
  return Math.min(free, inodesFree);
}
