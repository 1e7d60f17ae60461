// How stores stand with slo.rpo: for each repository, from the dump's start, also where nothing was ever run; and how that is told.

import * as fc from "fast-check";
import { expect, test } from "vitest";

import { findNewestGood, listStandings } from "../../../agent/backup/core/store-standing.ts";
import { type BackupRecord, listBad } from "../../../agent/backup/core/backup-record.ts";
import { listBackupConditions } from "../../../agent/report/notify/backup-conditions.ts";
import { EMPTY_ALERTS, judgeAlerts } from "../../../agent/report/notify/alert-judge.ts";
import { buildSlo as buildWhole } from "../../../agent/report/status/slo-builder.ts";
import { printSlo } from "../../../agent/report/text/slo-text.ts";
import { isBroken, type StoreStanding } from "../../../shared/state/promise.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 10, 30, 12);
const LOCAL = { kind: "local", name: "local", path: undefined } as const;
const AWAY = { kind: "directory", name: "away", path: "/mnt/away" } as const;
const PLAN = buildStorePlan({ rpoMs: 6 * HOUR, repositories: [LOCAL, AWAY] });

function buildSlo(standings: StoreStanding[], node: string, nowMs: number): ReturnType<typeof buildWhole> {
  return buildWhole({ standings, services: [] }, node, nowMs);
}

function stand(memory: Parameters<typeof listStandings>[1], trouble?: string): StoreStanding[] {
  return listStandings(PLAN, memory, { trouble, nowMs: NOW });
}

test("each repository stands for itself: a copy that is missing breaks the promise although the first has one", () => {
  const slo = buildSlo(
    stand({ accountedMs: NOW, seenMs: NOW - 90 * HOUR, goodMs: { local: NOW - 2 * HOUR } }),
    "vm1",
    NOW,
  );
  expect(slo.held).toBe(false);
  expect(slo.rpo.map(({ repository, state, ageSeconds }) => [repository, state, ageSeconds])).toEqual([
    ["local", "held", 7_200],
    ["away", "broken", 324_000],
  ]);
  expect(slo.rpo[1]?.reason).toBe("away has no good backup of db, which is there for 3d 18h; slo.rpo promises 6h");
});

test("a store of which nothing was ever run is broken once it is there for longer than the promise", () => {
  expect(stand({ accountedMs: NOW - 5 * HOUR }).map((entry) => isBroken(entry, NOW))).toEqual([false, false]);
  expect(stand({ accountedMs: NOW - 7 * HOUR }).map((entry) => isBroken(entry, NOW))).toEqual([true, true]);
});

test("one that this version cannot back up is broken, and says why", () => {
  const slo = buildSlo(
    stand({ accountedMs: NOW, goodMs: { local: NOW, away: NOW } }, "engine x is not run"),
    "vm1",
    NOW,
  );
  expect(slo.rpo.map(({ state, reason }) => [state, reason])).toEqual([
    ["broken", "db: engine x is not run"],
    ["broken", "db: engine x is not run"],
  ]);
});

test("where nothing is promised nothing is broken, and nothing is said of other promises", () => {
  const standings = listStandings(
    buildStorePlan({ rpoMs: undefined }),
    { accountedMs: 0 },
    { trouble: undefined, nowMs: NOW },
  );
  const slo = buildSlo(standings, "vm1", NOW);
  expect(slo).toMatchObject({ held: true, rpo: [{ state: "not-promised", promisedSeconds: null }] });
  expect(printSlo(slo, 100).split("\n")).toHaveLength(2);
  expect(printSlo(buildSlo([], "vm1", NOW), 100)).toBe("no service of this node has a backup in its manifest");
});

test("the table names the store, the repository, what is promised and how old the newest is", () => {
  const text = printSlo(buildSlo(stand({ accountedMs: NOW, goodMs: { local: NOW - 2 * HOUR } }), "vm1", NOW), 100);
  expect(text.split("\n").slice(0, 3)).toEqual([
    expect.stringMatching(/^STORE +REPOSITORY +RPO +AGE +PROVED +STATE/),
    expect.stringMatching(/^pg\/db +local +6h +2h +no +held/),
    expect.stringMatching(/^pg\/db +away +6h +none in 0ms +no +held/),
  ]);
});

test("the age is monotone: no later moment mends a promise by itself, and a newer backup never breaks one", () => {
  const moment = fc.integer({ min: 0, max: 100 }).map((hours) => NOW - hours * HOUR);
  fc.assert(
    fc.property(moment, moment, fc.integer({ min: 0, max: 100 }), (seenMs, goodMs, laterHours) => {
      const [standing] = stand({ accountedMs: seenMs, seenMs, goodMs: { local: goodMs, away: goodMs } });
      if (standing === undefined) throw new Error("there is one");
      const later = NOW + laterHours * HOUR;
      if (isBroken(standing, NOW)) expect(isBroken(standing, later)).toBe(true);
      if (!isBroken(standing, NOW)) expect(isBroken({ ...standing, newestMs: NOW }, NOW)).toBe(false);
    }),
  );
});

test("a run that made none, a bad proof and a broken promise are told once each, again after the repeat, and when they are over", () => {
  const limits = { min: "info", repeatMs: 6 * HOUR } as const;
  const bad = stand({
    accountedMs: NOW,
    goodMs: { local: NOW - 7 * HOUR, away: NOW },
    lastRun: { trigger: "schedule", startedMs: NOW, endedMs: NOW, reason: "it ended with exit code 1" },
    lastVerify: { backup: "pg_dump_1", endedMs: NOW, verdict: "bad", detail: "restore data: cut" },
  });
  const first = judgeAlerts(EMPTY_ALERTS, listBackupConditions(bad, NOW), limits, NOW);
  expect(first.alerts.map(({ subject, state, severity }) => [subject, state, severity])).toEqual([
    ["@proof:pg/db", "backup-bad", "critical"],
    ["@rpo:pg/db@local", "rpo-broken", "critical"],
    ["@backup:pg/db", "backup-failed", "warning"],
  ]);
  const again = judgeAlerts(first.memory, listBackupConditions(bad, NOW + HOUR), limits, NOW + HOUR);
  expect(again.alerts).toEqual([]);
  const repeated = judgeAlerts(again.memory, listBackupConditions(bad, NOW + 6.5 * HOUR), limits, NOW + 6.5 * HOUR);
  expect(repeated.alerts.map(({ subject }) => subject)).toContain("@rpo:pg/db@local");
  const good = stand({ accountedMs: NOW, goodMs: { local: NOW + 7 * HOUR, away: NOW + 7 * HOUR } });
  const over = judgeAlerts(repeated.memory, listBackupConditions(good, NOW + 7 * HOUR), limits, NOW + 7 * HOUR);
  expect(over.alerts.map(({ resolved }) => resolved)).toEqual([true, true, true, true].slice(0, over.alerts.length));
  expect(over.alerts.length).toBeGreaterThanOrEqual(3);
});

test("a backup of a clock that was ahead keeps no promise", () => {
  const record = { verifications: [] } as unknown as BackupRecord;
  const build = (startedMs: number): BackupRecord => ({ ...record, startedMs });
  expect(findNewestGood([build(NOW + 400 * 24 * HOUR), build(NOW - HOUR)], { bad: [], nowMs: NOW })).toBe(NOW - HOUR);
  expect(findNewestGood([build(NOW + 400 * 24 * HOUR)], { bad: [], nowMs: NOW })).toBe(undefined);
});

test("what a restore has found bad is bad in every repository, and damage of one copy in that one alone", () => {
  const copyOf = (name: string, verifications: unknown[], startedMs = NOW - HOUR): BackupRecord =>
    ({ name, startedMs, verifications }) as unknown as BackupRecord;
  const empty = { atMs: 1, verdict: "bad", detail: "the schema public has no table" };
  const cut = { atMs: 1, verdict: "bad", detail: "10 of 20 bytes", about: "copy" };
  const good = { atMs: 2, verdict: "good", detail: "restored" };
  expect(listBad([], [copyOf("b2", [empty]), copyOf("b1", [cut]), copyOf("b0", [])])).toEqual(["b2"]);
  // Another repository says nothing of it; a later verdict anywhere does.
  expect(listBad(["b2"], [copyOf("b2", [])])).toEqual(["b2"]);
  expect(listBad(["b2"], [copyOf("b2", [empty]), copyOf("b2", [good])])).toEqual([]);
  const away = [copyOf("b2", []), copyOf("b1", [], NOW - 9 * HOUR)];
  expect(findNewestGood(away, { bad: ["b2"], nowMs: NOW })).toBe(NOW - 9 * HOUR);
});

test("what is proved is said of the repository that it was proved from", () => {
  const repositories = { local: { proof: { verdict: "good" as const } } };
  const slo = buildSlo(stand({ accountedMs: NOW, repositories }), "vm1", NOW);
  expect(slo.rpo.map(({ repository, verdict }) => [repository, verdict])).toEqual([
    ["local", "good"],
    ["away", null],
  ]);
});
