// What must be so on a server before a slot is made there, when a log is over, how a store stands with it, and what a window keeps.

import { describe, expect, it } from "vitest";

import { listBasesBefore, planWalExpiry } from "../../../agent/backup/wal/core/choose-base.ts";
import {
  addMark,
  findBaseDue,
  findCaughtUp,
  findLogEnd,
  isUnderWay,
  judgeStanding,
  type KnownLog,
  type WalMark,
} from "../../../agent/backup/wal/core/judge-log.ts";
import { parseLook, refuseServer, type WalLook } from "../../../agent/backup/wal/core/wal-look.ts";
import type { BackupRecord } from "../../../agent/backup/core/backup-record.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";
import { isBroken } from "../../../shared/state/promise.ts";

const LINE = "7714211355254398989\t00000001\t0/3000028\t16777216\t256MB\treplica\t\tphysical\tt\t0/3000000\treserved";

function look(own: Partial<WalLook> = {}): WalLook {
  const parsed = parseLook(LINE);
  if (parsed === undefined) throw new Error("the line is none");
  return { ...parsed, ...own };
}

describe("a look at a server", () => {
  it("reads the line", () => {
    expect(look()).toEqual({
      systemId: "7714211355254398989",
      timeline: 1,
      flushed: 0x3000028n,
      segmentBytes: 16_777_216,
      keepSize: "256MB",
      walLevel: "replica",
      synchronous: "",
      slot: { isPhysical: true, isActive: true, received: 0x3000000n, isLost: false },
    });
    expect(parseLook("ERROR: no")).toBeUndefined();
    expect(parseLook(LINE.replace("physical\tt\t0/3000000\treserved", "\tf\t\t"))?.slot).toBeUndefined();
  });

  it.each<[Partial<WalLook>, string]>([
    [{ keepSize: undefined }, "older than PostgreSQL 13"],
    [{ keepSize: "-1" }, 'command = ["postgres", "-c", "max_slot_wal_keep_size=4GB"]'],
    [{ walLevel: "minimal" }, "wal_level=replica"],
    [{ synchronous: "*" }, "commits would wait for it"],
    [{ synchronous: "ANY 1 (standby, orca_receiver)" }, "commits would wait for it"],
    [{ synchronous: 'FIRST 2 ("ORCA_RECEIVER")' }, "commits would wait for it"],
    [{ slot: { isPhysical: false, isActive: false, received: undefined, isLost: false } }, "logical"],
  ])("refuses %j", (own, words) => expect(refuseServer(look(own), "orca")).toContain(words));

  it.each(["", "standby", "2 (a, b)", "orca_receiver2"])("takes synchronous_standby_names = %j", (synchronous) =>
    expect(refuseServer(look({ synchronous }), "orca")).toBeUndefined(),
  );
});

const BASE = { startedMs: 1_000, start: "0/2000000", stop: "0/2000100", repositories: ["local"] };
const LOG: KnownLog = {
  systemId: "7714211355254398989",
  timeline: 1,
  slot: "orca",
  shipped: { local: "0/3000000" },
  caughtUpMs: { local: 5_000 },
  base: BASE,
};

describe("a log", () => {
  it.each<[string, Partial<WalLook>]>([
    ["made anew", { systemId: "1" }],
    ["restored", { timeline: 2 }],
    ["no slot", { slot: undefined }],
    ["max_slot_wal_keep_size", { slot: { isPhysical: true, isActive: false, received: undefined, isLost: true } }],
    ["older data", { flushed: 1n }],
  ])("is over: %s", (words, own) => expect(findLogEnd(LOG, look(own), "orca")).toContain(words));

  it("goes on otherwise, and is over with another slot", () => {
    expect(findLogEnd(LOG, look(), "orca")).toBeUndefined();
    expect(findLogEnd(LOG, look(), "other")).toContain("other");
  });

  it("breaks no promise by itself while its first base is under way, and does after a loss or a failure", () => {
    const underWay = (log: KnownLog | undefined): boolean => isUnderWay(log, "local");
    expect(underWay(undefined)).toBe(true);
    expect(underWay({ ...LOG, base: undefined })).toBe(true);
    expect(underWay({ ...LOG, shipped: { local: "0/2000000" } })).toBe(true);
    expect(underWay(LOG)).toBe(false);
    expect(underWay({ ...LOG, base: undefined, lost: { why: "W", atMs: 1 } })).toBe(false);
    expect(underWay({ ...LOG, base: undefined, baseReason: "R" })).toBe(false);
    const standing = { newestMs: undefined, seenMs: 1_000, rpoMs: 60_000, trouble: "the log has no base yet" };
    expect([isBroken(standing, 1_300), isBroken({ ...standing, begins: true }, 1_300)]).toEqual([true, false]);
    expect(isBroken({ ...standing, begins: true }, 61_001)).toBe(true);
  });

  it("holds a promise only where its base is whole", () => {
    expect(judgeStanding(LOG, "local")).toEqual({ goodMs: 5_000 });
    const trouble = (log: KnownLog | undefined, name = "local"): unknown => judgeStanding(log, name);
    expect(trouble(undefined)).toEqual({ trouble: "the log has no base yet" });
    expect(trouble(LOG, "s3")).toEqual({ trouble: "the base of the log is not in it" });
    expect(trouble({ ...LOG, shipped: { local: "0/2000000" } })).toEqual({
      trouble: "the log of its base is not whole yet",
    });
    expect(trouble({ ...LOG, gaps: { local: { from: "0/2500000", to: "0/2600000" } } })).toEqual({
      trouble: "the log from 0/2500000 to 0/2600000 is missing in it",
    });
    // What is missing before the base is not needed.
    expect(trouble({ ...LOG, gaps: { local: { from: "0/1000000", to: "0/1100000" } } })).toEqual({ goodMs: 5_000 });
    const lost = { why: "W", atMs: 1 };
    expect(trouble({ ...LOG, base: undefined, lost })).toEqual({
      trouble: "the log has no base yet (the one before was lost: W)",
    });
  });

  it("gets a base at once, by its schedule, after a gap, and not in a loop", () => {
    const plan = buildStorePlan({ wal: { base: "every 7d", shipMs: 1_000, slot: "orca", windowMs: 1 } });
    const due = (own: Partial<KnownLog>): number => findBaseDue({ ...LOG, ...own }, plan, 10_000);
    expect(due({ base: undefined })).toBe(10_000);
    expect(due({ base: undefined, baseTriedMs: 9_000 })).toBe(309_000);
    expect(due({})).toBe(1_000 + 7 * 86_400_000);
    expect(due({ gaps: { local: { from: "0/2500000", to: "0/2600000" } } })).toBe(10_000);
    expect(due({ base: { ...BASE, repositories: [] }, baseTriedMs: 2_000 })).toBe(302_000);
  });

  it("of an idle server is as new as the last look", () => {
    let marks: WalMark[] = [];
    for (let at = 0; at < 200; at += 1) marks = addMark(marks, { atMs: at, flushed: 7n });
    expect(findCaughtUp(marks, 7n)).toBe(199);
    expect(findCaughtUp(marks, 6n)).toBeUndefined();
    expect(marks.length).toBeLessThan(100);
  });
});

const DAY = 86_400_000;

function base(day: number, own: Partial<BackupRecord> = {}): BackupRecord {
  const start = `0/${(day * 2 ** 24).toString(16).toUpperCase()}`;
  const wal = { systemId: "1", timeline: 1, segmentBytes: 2 ** 24, start, stop: start };
  const size = { bytes: 1, sha256: "0".repeat(64) };
  return {
    version: 1,
    node: "n",
    service: "pg",
    store: "db",
    engine: "postgres-base",
    name: `base${day}`,
    files: [{ file: `base${day}.tar.gz`, kind: "base", content: "base", plain: size, stored: size, facts: { wal } }],
    trigger: "schedule",
    startedMs: day * DAY,
    endedMs: day * DAY + 1,
    image: "i",
    recipients: [],
    restoreWith: [],
    verifications: [],
    ...own,
  };
}

describe("bases", () => {
  const log = { systemId: "1", timeline: 1 };
  const plan = (complete: string[], own: Partial<BackupRecord> = {}): ReturnType<typeof planWalExpiry> =>
    planWalExpiry([base(1, own), base(8), base(15), base(22)], {
      complete: new Set(complete),
      windowMs: 10 * DAY,
      nowMs: 25 * DAY + 2,
      ...log,
    });

  it("older than the newest complete one before the window go, with their log", () => {
    expect(plan(["base1", "base8", "base15", "base22"])).toEqual({
      bases: ["base8", "base1"],
      before: 15n * 2n ** 24n,
    });
    expect(plan(["base1", "base8", "base22"])).toEqual({ bases: ["base1"], before: 8n * 2n ** 24n });
  });

  it("all stay while none before the window is complete; a pinned one keeps the log", () => {
    expect(plan(["base22"])).toEqual({ bases: [], before: undefined });
    expect(plan(["base15"], { pinnedUntilMs: 90 * DAY })).toEqual({ bases: ["base8"], before: undefined });
  });

  it("serve a moment that is not before their end, the newest first", () => {
    const found = listBasesBefore([base(1), base(8), base(15, { quarantined: "x" }), base(22)], 20 * DAY);
    expect(found.map(({ name }) => name)).toEqual(["base8", "base1"]);
  });
});
