// Retention never removes what a restore may need, whatever the history, the policy and the clock.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { type BackupRecord, isComplete, isVerified } from "../../../agent/backup/core/backup-record.ts";
import { EXPIRE_AFTER_MS, planRetention, type RetentionPolicy } from "../../../agent/backup/core/retention.ts";

const NOW = Date.UTC(2026, 10, 20, 12);
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const FACTS = { nowMs: NOW, lastRunGood: true, clockDoubtful: false, expected: undefined };
const POLICY: RetentionPolicy = { days: 14, daily: 14, weekly: 4, monthly: 0 };

function build(name: string, startedMs: number, more: Partial<BackupRecord> = {}): BackupRecord {
  const bytes = { bytes: 10, sha256: "0".repeat(64) };
  return {
    version: 1,
    node: "vm1",
    service: "pg",
    store: "db",
    engine: "postgres",
    name,
    files: [{ file: `${name}.dump`, kind: "database", content: "app", plain: bytes, stored: bytes }],
    trigger: "schedule",
    startedMs,
    endedMs: startedMs + 1,
    image: "postgres:15",
    recipients: [],
    restoreWith: [],
    verifications: [],
    ...more,
  };
}

const verified = (atMs: number): Partial<BackupRecord> => ({
  verifications: [{ atMs, verdict: "good", detail: "" }],
});

const record = fc
  .record({
    agoHours: fc.integer({ min: 0, max: 24 * 400 }),
    verdicts: fc.array(fc.constantFrom("good", "bad", "unknown"), { maxLength: 3 }),
    quarantined: fc.boolean(),
    pinned: fc.integer({ min: -5, max: 5 }),
    expiring: fc.option(fc.integer({ min: 0, max: 72 })),
  })
  .map(({ agoHours, verdicts, quarantined, pinned, expiring }) => ({
    startedMs: NOW - agoHours * HOUR,
    verifications: verdicts.map((verdict) => ({ atMs: NOW, verdict, detail: "" })),
    ...(quarantined && agoHours % 7 === 0 ? { quarantined: "smaller than usual" } : {}),
    ...(pinned > 3 ? { pinnedUntilMs: NOW + pinned * DAY } : {}),
    ...(expiring !== null && agoHours % 5 === 0 ? { expiringMs: NOW - expiring * HOUR } : {}),
  }));
const history = fc
  .array(record, { maxLength: 60 })
  .map((list) => list.map(({ startedMs, ...more }, at) => build(`b${at}`, startedMs, more as Partial<BackupRecord>)));
const policy = fc.record({
  days: fc.integer({ min: 0, max: 40 }),
  daily: fc.integer({ min: 0, max: 40 }),
  weekly: fc.integer({ min: 0, max: 12 }),
  monthly: fc.integer({ min: 0, max: 12 }),
});
const runs = process.env["ORCA_SLOW"] === "1" ? 100_000 : 3_000;

function mark(records: readonly BackupRecord[], files: readonly string[], atMs: number): BackupRecord[] {
  return records.map((entry) => (files.includes(entry.name) ? { ...entry, expiringMs: atMs } : entry));
}

describe(`over ${runs} generated histories`, () => {
  test("the newest verified, the newest complete and three verified ones stay; pinned and set-aside ones too", () => {
    fc.assert(
      fc.property(history, policy, (records, wanted) => {
        const plan = planRetention(records, wanted, FACTS);
        if (plan.kind === "stand-still") return;
        const gone = new Set([...plan.expire, ...plan.remove]);
        const unmarked = records.map(({ expiringMs: _mark, ...entry }) => entry);
        const newest = unmarked.toSorted((one, other) => other.startedMs - one.startedMs);
        const whole = newest.filter(isComplete);
        const good = whole.filter(isVerified);
        const floorMs = good.at(2)?.startedMs ?? -Infinity;
        for (const entry of good) if (entry.startedMs > floorMs) expect(gone.has(entry.name)).toBe(false);
        const stays = (entry: BackupRecord | undefined): boolean =>
          entry === undefined || newest.some(({ name, startedMs }) => startedMs === entry.startedMs && !gone.has(name));
        expect(stays(good[0])).toBe(true);
        expect(stays(whole[0])).toBe(true);
        for (const entry of records) {
          if ((entry.pinnedUntilMs ?? 0) > NOW) expect(gone.has(entry.name)).toBe(false);
          if (entry.quarantined !== undefined) expect(plan.expire).not.toContain(entry.name);
          if (plan.remove.includes(entry.name))
            expect(NOW - (entry.expiringMs ?? NOW)).toBeGreaterThanOrEqual(EXPIRE_AFTER_MS);
        }
        expect(plan.expire.length).toBeLessThanOrEqual(Math.max(3, records.length / 4));
      }),
      { numRuns: runs },
    );
  });

  test("the order of a listing changes nothing", () => {
    fc.assert(
      fc.property(history, policy, (records, wanted) => {
        const [plan, other] = [records, records.toReversed()].map((list) => planRetention(list, wanted, FACTS));
        expect(other).toEqual(plan);
      }),
      { numRuns: Math.min(runs, 2_000) },
    );
  });

  test("carried out until nothing more goes, it ends, and what a larger policy keeps contains what a smaller one keeps", () => {
    fc.assert(
      fc.property(history, policy, policy, (records, one, other) => {
        const settle = (wanted: RetentionPolicy): Set<string> => {
          let rest = records.filter(({ expiringMs }) => expiringMs === undefined);
          for (let turn = 0; turn < 100; turn += 1) {
            const plan = planRetention(rest, wanted, FACTS);
            if (plan.kind === "stand-still" || plan.expire.length === 0) return new Set(rest.map(({ name }) => name));
            rest = rest.filter(({ name }) => !plan.expire.includes(name));
          }
          throw new Error("it does not come to an end");
        };
        const larger = {
          days: Math.max(one.days, other.days),
          daily: Math.max(one.daily, other.daily),
          weekly: Math.max(one.weekly, other.weekly),
          monthly: Math.max(one.monthly, other.monthly),
        };
        const [small, large] = [settle(one), settle(larger)];
        expect(
          [...small].filter((file) => !large.has(file)).length === 0 ||
            one.days + one.daily + one.weekly + one.monthly === 0,
        ).toBe(true);
      }),
      { numRuns: Math.min(runs, 2_000) },
    );
  });
});

describe("stands still", () => {
  const records = [build("a", NOW - DAY, verified(NOW)), build("b", NOW - 40 * DAY)];
  test.each([
    ["after a failed run", { lastRunGood: false }, "failed"],
    ["by a doubtful clock", { clockDoubtful: true }, "clock"],
    ["before a short listing", { expected: 3 }, "2 of 3"],
    ["with a clock a year back", { nowMs: NOW - 365 * DAY }, "dated in the future"],
  ])("%s", (_name, facts, word) => {
    const plan = planRetention(records, POLICY, { ...FACTS, ...facts });
    expect(plan).toMatchObject({ kind: "stand-still", why: expect.stringContaining(word) as string });
  });

  test("with a policy that keeps nothing", () => {
    const nothing = { days: 0, daily: 0, weekly: 0, monthly: 0 };
    expect(planRetention(records, nothing, FACTS)).toMatchObject({ kind: "stand-still" });
  });
});

test("a node that was off for a month comes back to all that it had", () => {
  const records = Array.from({ length: 10 }, (_, at) => build(`b${at}`, NOW - (30 + at) * DAY, verified(NOW)));
  expect(planRetention(records, { days: 7, daily: 0, weekly: 0, monthly: 0 }, FACTS)).toMatchObject({
    expire: ["b9", "b8", "b7"],
  });
});

test("what is marked goes a day later, and not where it is wanted again", () => {
  const old = build("old", NOW - 40 * DAY, verified(NOW));
  const newer = [1, 2, 3, 4].map((at) => build(`n${at}`, NOW - at * DAY, verified(NOW)));
  const marked = mark([old, ...newer], ["old"], NOW - EXPIRE_AFTER_MS);
  const narrow = { ...POLICY, daily: 2, weekly: 0 };
  expect(planRetention(marked, narrow, FACTS)).toMatchObject({ remove: ["old"], unmark: [] });
  expect(planRetention(marked, narrow, { ...FACTS, nowMs: NOW - 1 })).toMatchObject({ remove: [], unmark: [] });
  expect(planRetention(marked, POLICY, FACTS)).toMatchObject({ remove: [], unmark: ["old"] });
});
