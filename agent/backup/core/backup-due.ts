// When the next backup of a store is due. Pure. A time that was missed is made up once, however many were missed; a jitter that is the
// same for ever keeps nodes apart that have one schedule.

import { findNextDue } from "../../../shared/manifest/schedule.ts";
import { sha256 } from "../../../shared/state/identity.ts";

/** What is kept of a store's schedule between runs. */
export interface ScheduleMemory {
  /** The due time that was answered last, by a run or by a skip; the moment the schedule was first seen where there was none. */
  accountedMs: number;
}

/** What comes next. */
export interface BackupDue {
  /** The time by the schedule. */
  dueMs: number;
  /** When it begins: with its jitter, and after a start of the host not at once. */
  atMs: number;
  trigger: "schedule" | "catch-up";
}

/** After the agent's own start what was missed waits so long: a host that comes up has more urgent work. */
const START_DELAY_MS = 120_000;
const LONGEST_JITTER_MS = 900_000;
const JITTER_SHARE = 0.1;

/**
 * Finds the next run.
 * @param schedule `every 5h` or a cron in UTC
 * @param key what the jitter is made from: node, service and store
 */
export function findBackupDue(
  schedule: string,
  memory: ScheduleMemory,
  { key, nowMs, agentStartedMs }: { key: string; nowMs: number; agentStartedMs: number },
): BackupDue {
  // What was answered in the future was answered by a clock that was wrong.
  const dueMs = findNextDue(schedule, Math.min(memory.accountedMs, nowMs));
  const periodMs = findNextDue(schedule, dueMs) - dueMs;
  const jitterMs = drawJitter(key, periodMs);
  // Another time has passed since: this one stands for all that were missed.
  const missed = dueMs + periodMs <= nowMs || dueMs < agentStartedMs;
  const atMs = dueMs + jitterMs;
  if (!missed) return { dueMs, atMs, trigger: "schedule" };
  return { dueMs, atMs: Math.max(atMs, agentStartedMs + START_DELAY_MS), trigger: "catch-up" };
}

/** The same for one key for ever, below a tenth of the period. */
function drawJitter(key: string, periodMs: number): number {
  const share = Number.parseInt(sha256(key).slice(0, 8), 16) / 2 ** 32;
  return Math.floor(share * Math.min(LONGEST_JITTER_MS, periodMs * JITTER_SHARE));
}
