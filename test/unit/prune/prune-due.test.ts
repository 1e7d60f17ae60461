// When a prune is due: weekly by one key's jitter, once for all that were missed, and early on a full disk.

import * as fc from "fast-check";
import { expect, test } from "vitest";

import { findPruneDue, type PruneTimes } from "../../../agent/prune/core/prune-due.ts";

const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2026, 10, 1);
const ROOMY = { free: 0.5, inodesFree: 0.5 };

/** Plays an agent that is up in some of the hours; answers the hours in which it pruned. */
function play(isUp: (hour: number) => boolean, hours: number): { hour: number; trigger: string }[] {
  let times: PruneTimes = { accountedMs: START_MS, earlyMs: undefined };
  let startedMs = START_MS;
  const runs: { hour: number; trigger: string }[] = [];
  for (let hour = 0; hour < hours; hour += 1) {
    const nowMs = START_MS + hour * HOUR_MS;
    if (!isUp(hour)) continue;
    if (hour > 0 && !isUp(hour - 1)) startedMs = nowMs;
    const trigger = findPruneDue(times, ROOMY, { node: "n", nowMs, startedMs });
    if (trigger === undefined) continue;
    runs.push({ hour, trigger });
    times = { accountedMs: nowMs, earlyMs: undefined };
  }
  return runs;
}

test("it comes weekly, give or take the jitter", () => {
  const runs = play(() => true, 24 * 7 * 10);
  expect(runs.length).toBeGreaterThanOrEqual(9);
  for (const [at, { hour, trigger }] of runs.entries()) {
    const before = runs[at - 1]?.hour ?? 0;
    expect(hour - before).toBeGreaterThanOrEqual(168);
    expect(hour - before).toBeLessThanOrEqual(168 + 7);
    expect(trigger).toBe("schedule");
  }
});

test("three weeks without an agent are made up once, not at its start but soon after", () => {
  const runs = play((hour) => hour < 100 || hour >= 100 + 24 * 21, 24 * 7 * 5);
  expect(runs[0]).toEqual({ hour: 100 + 24 * 21 + 1, trigger: "catch-up" });
  expect(runs.filter(({ trigger }) => trigger === "catch-up")).toHaveLength(1);
});

test("a disk below 10 % is pruned early, and when that did not help no sooner than six hours later", () => {
  const at = (earlyMs: number | undefined, disk: typeof ROOMY): string | undefined =>
    findPruneDue({ accountedMs: START_MS, earlyMs }, disk, {
      node: "n",
      nowMs: START_MS + HOUR_MS,
      startedMs: START_MS,
    });
  expect(at(undefined, ROOMY)).toBeUndefined();
  expect(at(undefined, { free: 0.15, inodesFree: 0.5 })).toBeUndefined();
  expect(at(undefined, { free: 0.09, inodesFree: 0.5 })).toBe("low-disk");
  expect(at(undefined, { free: 0.5, inodesFree: 0.09 })).toBe("low-disk");
  expect(at(START_MS, { free: 0.05, inodesFree: 0.5 })).toBeUndefined();
  expect(at(START_MS - 6 * HOUR_MS, { free: 0.05, inodesFree: 0.5 })).toBe("low-disk");
});

test("a clock that was ahead when the last one was answered puts none off for ever", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10_000 }), (aheadHours) => {
      const times = { accountedMs: START_MS + aheadHours * HOUR_MS, earlyMs: START_MS + aheadHours * HOUR_MS };
      const due = { node: "n", nowMs: START_MS, startedMs: START_MS };
      expect(findPruneDue(times, ROOMY, due)).toBeUndefined();
      expect(
        findPruneDue({ ...times, accountedMs: START_MS }, ROOMY, { ...due, nowMs: START_MS + 200 * HOUR_MS }),
      ).toBe("schedule");
    }),
  );
});
