// When a backup is due: by its schedule, once for whatever was missed, and by no clock that was wrong.

import * as fc from "fast-check";
import { expect, test } from "vitest";

import { findBackupDue } from "../../../agent/backup/core/backup-due.ts";

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 10, 20, 12);
const times = { key: "vm1/pg/db", nowMs: NOW, agentStartedMs: NOW - 100 * HOUR };

test("a period after the one before, with a jitter below a tenth that is the same for ever", () => {
  const due = findBackupDue("every 5h", { accountedMs: NOW - HOUR }, times);
  expect(due).toMatchObject({ dueMs: NOW + 4 * HOUR, trigger: "schedule" });
  expect(due.atMs - due.dueMs).toBeGreaterThanOrEqual(0);
  expect(due.atMs - due.dueMs).toBeLessThan(900_000);
  expect(findBackupDue("every 5h", { accountedMs: NOW - HOUR }, { ...times, nowMs: NOW + 1 })).toEqual(due);
});

test("whatever was missed is made up once, two minutes after the start at the earliest", () => {
  const started = { ...times, agentStartedMs: NOW - 1_000 };
  const due = findBackupDue("every 5h", { accountedMs: NOW - 16 * HOUR }, started);
  expect(due.trigger).toBe("catch-up");
  expect(due.atMs).toBeGreaterThanOrEqual(started.agentStartedMs + 120_000);
  // That run answers for all of them.
  expect(findBackupDue("every 5h", { accountedMs: due.atMs }, { ...started, nowMs: due.atMs }).dueMs).toBe(
    due.atMs + 5 * HOUR,
  );
});

test("a run that a clock a year ahead has made keeps none from the next", () => {
  const due = findBackupDue("every 5h", { accountedMs: NOW + 365 * 24 * HOUR }, times);
  expect(due.atMs).toBeLessThanOrEqual(NOW + 6 * HOUR);
});

test("never later than a period and its jitter from now, whatever is remembered", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 45 }), fc.integer({ min: 0, max: 400 }), (accountedMs, ago) => {
      const agentStartedMs = NOW - ago * HOUR;
      const { atMs } = findBackupDue("every 5h", { accountedMs }, { ...times, agentStartedMs });
      expect(atMs).toBeLessThanOrEqual(NOW + 5.5 * HOUR);
    }),
  );
});
