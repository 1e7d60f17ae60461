// What a year of a policy keeps, by the function that decides in earnest.

import { expect, test } from "vitest";

import { simulateYear } from "../../../agent/backup/core/simulate-retention.ts";
import { printYear } from "../../../agent/cli/backup/keep-command.ts";
import type { StoreStatus } from "../../../shared/state/backup.ts";

const START = Date.UTC(2026, 0, 1);
const DAY = 86_400_000;

test("a day's backups of the last days, then one of each day and week", () => {
  const { kept, made, most, endMs } = simulateYear("every 6h", { days: 2, daily: 7, weekly: 4, monthly: 0 }, START);
  expect(made).toBe(4 * 365);
  const ages = kept.map(({ startedMs }) => Math.floor((endMs - startedMs) / DAY));
  expect(ages.filter((age) => age < 2)).toHaveLength(8);
  expect(ages.filter((age) => age >= 2 && age < 7).length).toBeLessThanOrEqual(6 + 4);
  expect(Math.max(...ages)).toBeLessThanOrEqual(28);
  expect(kept.length).toBeLessThan(25);
  expect(most).toBeLessThan(35);
  for (const { reasons } of kept) expect(reasons.length).toBeGreaterThan(0);
});

test("a longer policy keeps no less", () => {
  const short = simulateYear("every 1d", { days: 7, daily: 7, weekly: 0, monthly: 0 }, START);
  const long = simulateYear("every 1d", { days: 7, daily: 14, weekly: 4, monthly: 12 }, START);
  expect(long.kept.length).toBeGreaterThan(short.kept.length);
  expect(long.kept.at(-1)?.startedMs).toBeLessThan(START + 60 * DAY);
});

test("a policy that keeps nothing removes nothing", () => {
  const { kept, made } = simulateYear("every 1d", { days: 0, daily: 0, weekly: 0, monthly: 0 }, START);
  expect(kept).toHaveLength(made);
});

test("it is printed by age, with the size of the newest backup", () => {
  const store = { service: "pg", store: "db", schedule: "every 1d", backups: [{ storedBytes: 2 ** 20 }] };
  const year = simulateYear("every 1d", { days: 14, daily: 14, weekly: 4, monthly: 0 }, START);
  const text = printYear(store as unknown as StoreStatus, year);
  expect(text).toContain("pg/db: every 1d, a year of it: 365 backups made, ");
  expect(text).toMatch(/up to 14 days +7/);
  expect(text).toMatch(
    /the oldest is \d+ days old; at most \d+ lay there at once, \d+ MiB at the size of the newest backup/,
  );
});
