// What status says of backups that are not as they should be.

import type { StorePlan } from "../../../shared/state/backup.ts";
import { expect, test } from "vitest";

import { noteStore } from "../../../agent/backup/keeper/backup-notes.ts";
import { noteForeign, noteSetAside } from "../../../agent/backup/keeper/repository-memory.ts";
import type { BackupRecord } from "../../../agent/backup/core/backup-record.ts";
import { describeFaults } from "../../../agent/cli/backup/backup-command.ts";
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

test("a hook that failed, and a newest backup that is set aside also after a run that failed", () => {
  const run = { trigger: "asked", startedMs: NOW, endedMs: NOW } as const;
  const hooks = "hook after it: thaw ended with exit code 127: ";
  expect(say({ accountedMs: NOW, madeMs: NOW, lastRun: { ...run, made: "pg_dump_1", hooks } })).toEqual([
    `the last backup of pg/db was made, and a hook failed: ${hooks}`,
  ]);
  const setAside = { backup: "pg_dump_1", startedMs: NOW, reason: "it has 1 KiB" };
  expect(say({ accountedMs: NOW, madeMs: NOW, setAside, lastRun: { ...run, reason: "it is full" } })).toEqual([
    "the last run made no backup of pg/db: it is full: see orca help backup",
    "the backup pg_dump_1 of pg/db is set aside: it has 1 KiB: if that is right, orca backup verify pg db --backup pg_dump_1 accepts it",
  ]);
});

const record = (name: string, startedMs: number, quarantined?: string): BackupRecord =>
  ({ name, startedMs, ...(quarantined === undefined ? {} : { quarantined }) }) as BackupRecord;

test("whether the newest is set aside is what lies there, and a look at some repositories forgets nothing newer", () => {
  const memory: StoreMemory = { accountedMs: NOW };
  const whole = { isWhole: true, nowMs: NOW };
  const [old, aside] = [record("a", NOW - HOUR), record("b", NOW, "small")];
  const noted = noteSetAside(memory, [old, aside], whole);
  expect(noted.setAside).toEqual({ backup: "b", startedMs: NOW, reason: "small" });
  expect(noteSetAside(noted, [old], { ...whole, isWhole: false })).toEqual(noted);
  expect(noteSetAside(noted, [old], whole)).toEqual(memory);
  expect(noteSetAside(noted, [old, record("b", NOW)], whole)).toEqual(memory);
});

test("backups of a machine that was cut off and had lost its place are said, until they are gone", () => {
  const repository = { kind: "local", name: "local", path: undefined } as const;
  const [old, newest] = [record("a", NOW - HOUR), record("b", NOW)];
  const memory: StoreMemory = { accountedMs: NOW, goodMs: { local: NOW } };
  const noted = noteForeign(memory, repository, [newest, old]);
  expect(say(noted)).toEqual([
    "the repository local has 2 backups of pg/db (the newest is b) by a machine that has lost this node's place: it was cut off " +
      "and wrote on; nothing counts, restores or removes them: see orca help recover",
  ]);
  expect(say(noteForeign(noted, repository, undefined))).toEqual([]);
  expect(noteForeign(memory, repository, undefined)).toBe(memory);
});

test("what a run says of a backup that was made, and is not as it should be", () => {
  const store = { service: "pg", store: "db" };
  const run = { trigger: "asked", startedMs: NOW, endedMs: NOW, made: "pg_dump_1" } as const;
  expect(describeFaults(store, { ...run, warning: "a file changed", repositories: [{ repository: "near" }] })).toEqual(
    [],
  );
  expect(
    describeFaults(store, {
      ...run,
      repositories: [{ repository: "near" }, { repository: "geo", reason: "it is away" }],
      quarantined: "it has 1 KiB",
      hooks: "hook before it: freeze ended with exit code 1: ",
    }),
  ).toEqual([
    "geo did not get it: it is away",
    "set aside: it has 1 KiB: it does not count for rpo; if that is right, orca backup verify pg db --backup pg_dump_1 accepts it",
    "hook before it: freeze ended with exit code 1: ",
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
