// A clock that is wrong, set right, or away: whatever it does, runs go on at their pace, none is made twice for one time that was
// missed, and none waits until a wrong clock's day has come.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { buildKeeperOptions } from "../../builders/data/keeper-options.ts";
import { BackupKeeper } from "../../../agent/backup/keeper/backup-keeper.ts";
import { findCopyDue } from "../../../agent/backup/keeper/repository-memory.ts";
import { StoreMemories } from "../../../agent/backup/keeper/store-memories.ts";
import type { ObservedEngine } from "../../../shared/state/observed-state.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;
/** A period and the longest jitter. */
const PERIOD_MS = 5.5 * HOUR_MS;
const ENGINE = {
  reachable: true,
  containers: [{ id: "c1", service: "pg", status: "running" }],
} as unknown as ObservedEngine;

let directory = "";
let clock: FakeClock;
/** When each run began, by the monotonic clock. */
let runs: { atMs: number; trigger: string }[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-clock-"));
  clock = new FakeClock();
  runs = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(): BackupKeeper {
  const keeper = new BackupKeeper({
    ...buildKeeperOptions(directory, clock),
    runChild: ({ request }) => {
      const { kind, trigger } = JSON.parse(request) as { kind: string; trigger: string };
      if (kind === "make") runs.push({ atMs: clock.monotonicMs(), trigger });
      const record = { name: `pg_dump_${runs.length}`, files: [] };
      const answer = { kind: "made", record, repositories: [{ repository: "local" }] };
      return Promise.resolve({ kind: "answered", answer: Buffer.from(JSON.stringify(answer)) });
    },
  });
  keeper.follow([buildStorePlan({ rpoMs: 6 * HOUR_MS })], ENGINE);
  return keeper;
}

/** Runs from now on within so many hours. */
async function countRuns(hours: number): Promise<number> {
  const before = runs.length;
  await clock.advance(hours * HOUR_MS);
  return runs.length - before;
}

describe.each([
  ["a year back", -YEAR_MS],
  ["an hour back", -HOUR_MS],
  ["a year forward", YEAR_MS],
])("set %s", (_name, byMs) => {
  test("while the agent runs: a run in every period, and one at most for all that seems missed", async () => {
    open();
    expect(await countRuns(24)).toBe(4);
    clock.jump(byMs);
    expect(await countRuns(1)).toBeLessThanOrEqual(1);
    expect(await countRuns(24)).toBeGreaterThanOrEqual(4);
    for (const [at, { atMs }] of runs.entries())
      expect(atMs - (runs[at - 1]?.atMs ?? 0)).toBeLessThanOrEqual(PERIOD_MS);
  });

  test("and set right again", async () => {
    open();
    await countRuns(24);
    clock.jump(byMs);
    await countRuns(11);
    clock.jump(-byMs);
    expect(await countRuns(1)).toBeLessThanOrEqual(1);
    expect(await countRuns(24)).toBeGreaterThanOrEqual(4);
    for (const [at, { atMs }] of runs.entries())
      expect(atMs - (runs[at - 1]?.atMs ?? 0)).toBeLessThanOrEqual(PERIOD_MS);
  });

  test("between two starts of the agent, and set right after the second", async () => {
    const first = open();
    await countRuns(24);
    await first.close();
    clock.jump(byMs);
    const second = open();
    expect(await countRuns(6)).toBeLessThanOrEqual(2);
    clock.jump(-byMs);
    expect(await countRuns(1)).toBeLessThanOrEqual(1);
    expect(await countRuns(24)).toBeGreaterThanOrEqual(4);
    await second.close();
    open();
    expect(await countRuns(6)).toBeGreaterThanOrEqual(1);
  });
});

test("an agent that was away for three periods makes up exactly one", async () => {
  const first = open();
  await countRuns(12);
  await first.close();
  await clock.advance(16 * HOUR_MS);
  runs = [];
  open();
  expect(await countRuns(4.5)).toBe(1);
  expect(runs[0]?.trigger).toBe("catch-up");
  expect(await countRuns(5.5)).toBe(1);
});

test("a store that was first seen by a clock a year ahead breaks its promise a promise's time after it was set right", async () => {
  clock.jump(YEAR_MS);
  const keeper = open();
  await clock.advance(1_000);
  clock.jump(-YEAR_MS);
  await clock.advance(60_000);
  const [standing] = keeper.standings;
  expect(standing?.seenMs).toBeLessThanOrEqual(clock.nowMs());
});

test("nothing is removed within a day of the moment in which somebody has set the clock", async () => {
  const keeper = open();
  const isDoubted = (): boolean => keeper.notes.some(({ text }) => text.includes("the clock was set"));
  await countRuns(6);
  expect(isDoubted()).toBe(false);
  clock.jump(YEAR_MS);
  await countRuns(6);
  expect(isDoubted()).toBe(true);
  await countRuns(25);
  expect(isDoubted()).toBe(false);
});

test.each([
  ["never", undefined, 120_000],
  ["twice", 2, 480_000],
])("a copy that is owed and was tried %s is tried at its pace when the clock is set back", (_name, tries, waitMs) => {
  const repositories = ["near", "far"].map((name) => ({
    kind: "directory" as const,
    name,
    path: join(directory, name),
  }));
  const plan = buildStorePlan({ repositories });
  const nowMs = clock.nowMs();
  const path = join(directory, "state.json");
  const run = { trigger: "schedule" as const, startedMs: nowMs, endedMs: nowMs, made: "a" };
  const lastRun = { ...run, repositories: [{ repository: "near" }, { repository: "far", reason: "it is away" }] };
  const copies = tries === undefined ? {} : { copies: { tries, atMs: nowMs } };
  const memory = { accountedMs: nowMs, lastRun, repositories: { far: { reason: "it is away", ...copies } } };
  const running = new StoreMemories(path, clock, () => undefined);
  running.change(plan, () => memory);
  const due = (): number => (findCopyDue(plan, running.recall(plan))?.atMs ?? 0) - clock.nowMs();
  expect(due()).toBe(waitMs);
  clock.jump(-YEAR_MS);
  running.followClock(-YEAR_MS);
  expect(due()).toBe(waitMs);
});
