// What status says of backups that are not as they should be.

import type { StorePlan } from "../../../shared/state/backup.ts";
import { expect, test } from "vitest";

import { noteStore } from "../../../agent/backup/keeper/backup-notes.ts";
import type { StoreMemory } from "../../../agent/backup/keeper/backup-state.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 10, 20, 12);
const PLAN = buildStorePlan({ rpoMs: 6 * HOUR });

const say = (memory: StoreMemory | undefined, plan: Partial<StorePlan> = {}, nowMs = NOW): string[] =>
  noteStore({ ...PLAN, ...plan }, memory, nowMs).map(({ text }) => text);

test("nothing while all is well, and before anything is known", () => {
  expect(say(undefined)).toEqual([]);
  expect(say({ accountedMs: NOW - HOUR, seenMs: NOW - 90 * HOUR, madeMs: NOW - HOUR })).toEqual([]);
});

test("a run that made none, and a backup that cannot be restored, with their reasons", () => {
  const memory: StoreMemory = {
    accountedMs: NOW,
    madeMs: NOW - HOUR,
    lastRun: { trigger: "schedule", startedMs: NOW, endedMs: NOW, reason: "app: it ended with exit code 1" },
    lastVerify: { backup: "pg_dump_1", endedMs: NOW, verdict: "bad", detail: "app: restore data: cut" },
  };
  expect(say(memory)).toEqual([
    "the last run made no backup of pg/db: app: it ended with exit code 1: see orca help backup",
    "the backup pg_dump_1 of pg/db cannot be restored: app: restore data: cut: see orca help backup",
  ]);
});

test("a promise that is broken, also where no run ever began; its name stays while the age grows", () => {
  const memory = { accountedMs: NOW - 7 * HOUR, seenMs: NOW - 7 * HOUR };
  expect(say(memory)).toEqual([
    "there is no good backup of pg/db since 7h, and its manifest promises one of 6h (slo.rpo)",
  ]);
  expect(say({ ...memory, madeMs: NOW - 6.5 * HOUR })).toEqual([
    "the newest good backup of pg/db is 6h 30m old, and its manifest promises one of 6h (slo.rpo)",
  ]);
  expect(say(memory, { rpoMs: undefined })).toEqual([]);
  const names = [NOW, NOW + HOUR].map((nowMs) => noteStore(PLAN, memory, nowMs).map(({ name }) => name));
  expect(names[0]).toEqual(names[1]);
});
