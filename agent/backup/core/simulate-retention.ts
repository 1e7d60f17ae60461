// What a policy keeps over a year: plays a schedule's backups, each verified, and the daily retention, by the same function that decides
// in earnest. Pure.

import { findNextDue } from "../../../shared/manifest/schedule.ts";
import type { BackupRecord } from "./backup-record.ts";
import { planRetention, type RetentionPolicy } from "./retention.ts";

/** What is there at the end of a year, and what was at most. */
export interface SimulatedYear {
  /** When the backups that are kept were made, newest first, and why each is. */
  kept: readonly { startedMs: number; reasons: readonly string[] }[];
  made: number;
  /** The most that lay there at once: what goes is marked first and removed later. */
  most: number;
  endMs: number;
}

const DAY_MS = 86_400_000;
const YEAR_DAYS = 365;

/** Plays a year that begins at a moment. */
export function simulateYear(schedule: string, policy: RetentionPolicy, startMs: number): SimulatedYear {
  let records: BackupRecord[] = [];
  let [made, most] = [0, 0];
  let dueMs = findNextDue(schedule, startMs);
  for (let day = 1; day <= YEAR_DAYS; day += 1) {
    const nowMs = startMs + day * DAY_MS;
    for (; dueMs <= nowMs; dueMs = findNextDue(schedule, dueMs)) {
      records.push(buildRecord(dueMs));
      made += 1;
    }
    most = Math.max(most, records.length);
    records = keep(records, policy, nowMs);
  }
  const endMs = startMs + YEAR_DAYS * DAY_MS;
  const plan = planRetention(records, policy, buildFacts(endMs));
  const reasons = plan.kind === "plan" ? plan.kept : new Map<string, readonly string[]>();
  const kept = records
    .toSorted((one, other) => other.startedMs - one.startedMs)
    .map(({ name, startedMs }) => ({ startedMs, reasons: reasons.get(name) ?? ["marked, and removed a day later"] }));
  return { kept, made, most, endMs };
}

function keep(records: readonly BackupRecord[], policy: RetentionPolicy, nowMs: number): BackupRecord[] {
  const plan = planRetention(records, policy, buildFacts(nowMs));
  if (plan.kind === "stand-still") return [...records];
  const [expire, remove, unmark] = [new Set(plan.expire), new Set(plan.remove), new Set(plan.unmark)];
  return records
    .filter(({ name }) => !remove.has(name))
    .map((record) => {
      const { expiringMs: _mark, ...plain } = record;
      return expire.has(record.name) ? { ...record, expiringMs: nowMs } : unmark.has(record.name) ? plain : record;
    });
}

function buildFacts(nowMs: number): Parameters<typeof planRetention>[2] {
  return { nowMs, lastRunGood: true, clockDoubtful: false, expected: undefined };
}

function buildRecord(startedMs: number): BackupRecord {
  const measured = { bytes: 1, sha256: "" };
  const name = new Date(startedMs).toISOString();
  return {
    version: 1,
    node: "",
    service: "",
    store: "",
    engine: "",
    name,
    files: [{ file: name, kind: "database", content: "", plain: measured, stored: measured }],
    trigger: "schedule",
    startedMs,
    endedMs: startedMs,
    image: "",
    recipients: [],
    restoreWith: [],
    verifications: [{ atMs: startedMs, verdict: "good", detail: "" }],
  };
}
