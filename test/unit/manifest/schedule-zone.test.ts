// What a cron costs: it is read without the runtime's calendar data, which would stay resident, and looked for once.

import { Cron } from "croner";
import { expect, test, vi } from "vitest";

import { findNextDue, parseSchedule } from "../../../shared/manifest/schedule.ts";

test("no schedule asks the runtime for a time zone, and each is in UTC on a host that is not", () => {
  vi.stubEnv("TZ", "Europe/Berlin");
  const format = vi.spyOn(Intl, "DateTimeFormat").mockImplementation(() => {
    throw new Error("a time zone was looked up");
  });
  try {
    expect(parseSchedule("30 2 * * *")).toEqual({ kind: "cron", pattern: "30 2 * * *" });
    // The night in which Berlin has no half past two, and the one in which it has two.
    for (const day of ["2026-03-29", "2026-10-25"]) {
      const due = findNextDue("30 2 * * *", Date.parse(`${day}T00:00:00Z`));
      expect(new Date(due).toISOString()).toBe(`${day}T02:30:00.000Z`);
    }
    expect(new Date(findNextDue("*/20 * 29 2 *", Date.UTC(2026, 0, 1))).toISOString()).toBe("2028-02-29T00:00:00.000Z");
  } finally {
    format.mockRestore();
    vi.unstubAllEnvs();
  }
});

test("the same question of a cron is looked for once; another moment and another cron are others", () => {
  const search = vi.spyOn(Cron.prototype, "nextRun");
  const afterMs = Date.UTC(2026, 5, 1);
  const ask = (): string[] =>
    ["0 3 1 1 *", "0 3 2 1 *"].flatMap((text) =>
      [afterMs, afterMs + 366 * 86_400_000].map((moment) => new Date(findNextDue(text, moment)).toISOString()),
    );
  const first = ask();
  expect(first.map((time) => time.slice(0, 10))).toEqual(["2027-01-01", "2028-01-01", "2027-01-02", "2028-01-02"]);
  search.mockClear();
  expect(ask()).toEqual(first);
  expect(search).not.toHaveBeenCalled();
  // More crons than anybody has: what was found before is forgotten, and found again.
  for (let index = 0; index < 250; index += 1) findNextDue("0 4 * * *", afterMs + index);
  expect(ask()).toEqual(first);
  expect(search).toHaveBeenCalled();
});
