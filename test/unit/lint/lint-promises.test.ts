// Promises against what they rest on, and the longest gap of a schedule.

import { assert, constant, constantFrom, integer, oneof, property, tuple } from "fast-check";
import { describe, expect, it } from "vitest";

import { allowForRun, findLongestGapMs } from "../../../agent/desired/checks/schedule-gap.ts";
import { parseSchedule } from "../../../shared/manifest/schedule.ts";
import { type Content, lintFiles, lintShort, service } from "../../builders/git/repository.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

function repository(services: Record<string, string>): Record<string, Content> {
  return Object.fromEntries(Object.entries(services).map(([name, text]) => [`manifests/vm-a/${name}.toml`, text]));
}

const slo = (rest: string): string => `[slo]\n${rest}`;

describe("availability", () => {
  it("is at most that of what is required", async () => {
    const files = {
      app: service('requires = ["db"]', slo("availability = 99.9")),
      web: service('requires = ["db"]', slo("availability = 99.5")),
      db: service("", slo("availability = 99.5")),
    };
    const problems = await lintFiles(repository(files));
    const errors = problems.filter(({ severity }) => severity === "error");
    expect(errors.map(({ code, line, column, key, message }) => [code, line, column, key, message])).toEqual([
      [
        "promise-availability",
        6,
        1,
        "slo.availability",
        "it promises 99.9 %, and vm-a/db, which it requires, promises 99.5 %",
      ],
    ]);
  });

  it("follows through services that promise nothing, and not through wants, jobs and requirements it can do without", async () => {
    const files = {
      far: service('requires = ["middle"]', slo("availability = 99.9")),
      middle: service('requires = ["db"]'),
      soft: service(
        'requires = [{ on = "db", expires = "5m", then = "start" }]\nwants = ["db"]',
        slo("availability = 99.9"),
      ),
      job: service('schedule = "@once"', slo("availability = 1")),
      jobbed: service('requires = ["job"]', slo("availability = 99.9")),
      db: service("", slo("availability = 99.5")),
    };
    expect(await lintShort(repository(files))).toEqual(["error promise-availability vm-a/far:6:1 slo.availability"]);
  });

  it("ends in cycles and in long chains", async () => {
    const chain = Object.fromEntries(
      Array.from({ length: 500 }, (_value, index) => [
        `s${index}`,
        service(`requires = ["s${index + 1}"]`).replace("64MiB", "6MiB"),
      ]),
    );
    const files = {
      ...chain,
      s500: service('requires = ["s501"]', slo("availability = 90")),
      s501: service('requires = ["s500"]'),
      top: service('requires = ["s0"]', slo("availability = 99")),
    };
    expect(await lintShort(repository(files))).toEqual([
      "error cycle vm-a/s501:1:13 requires[0]",
      "error memory-budget fleet:4:1 nodes.vm-a.memory",
      "error promise-availability vm-a/top:6:1 slo.availability",
    ]);
  });
});

describe("RTO", () => {
  it("is at least that of what is required, or what is waited for at most", async () => {
    const db = service("", slo('rto = "10m"'));
    const files = {
      db,
      good: service('requires = ["db"]', slo('rto = "10m"')),
      hard: service('requires = ["db"]', slo('rto = "9m"')),
      failing: service('requires = [{ on = "db", expires = "1m" }]', slo('rto = "5m"')),
      soft: service('requires = [{ on = "db", expires = "5m", then = "start" }]', slo('rto = "5m"')),
      softer: service('requires = [{ on = "db", expires = "5m", then = "start" }]', slo('rto = "4m"')),
      wanting: service('wants = ["db"]', slo('rto = "1m"')),
      "wanting-long": service('wants = ["db"]\nwants_timeout = "2m"', slo('rto = "90s"')),
    };
    const problems = await lintFiles(repository(files));
    const errors = problems.filter(({ severity }) => severity === "error");
    expect(errors.map(({ file, line, key, message }) => [file.slice(20), line, key, message])).toEqual([
      ["failing.toml", 6, "slo.rto", "it promises to be back in 5m, and may wait 10m for vm-a/db"],
      ["hard.toml", 6, "slo.rto", "it promises to be back in 9m, and may wait 10m for vm-a/db"],
      ["softer.toml", 6, "slo.rto", "it promises to be back in 4m, and may wait 5m for vm-a/db"],
      ["wanting-long.toml", 7, "slo.rto", "it promises to be back in 90s, and may wait 2m for vm-a/db"],
    ]);
  });
});

describe("RPO", () => {
  const volume = '[[volumes]]\nname = "data"\ntarget = "/data"';
  const backup = (schedule: string, engine = "files"): string =>
    `[[backups]]\nname = "${engine}"\nengine = "${engine}"\nschedule = "${schedule}"`;
  const kept = (rpo: string, ...backups: string[]): string =>
    service("", [slo(`rpo = "${rpo}"`), volume, ...backups].join("\n"));

  it.each([
    ["every 5h", "6h"],
    ["0 */5 * * *", "6h"],
    ["every 22h", "24h"],
    ["0 3 * * *", "26h"],
    ["0 3 * * 0", "170h"],
    ["every 1m", "16m"],
    ["0 0-23 * * *", "2h"],
  ])("of %s holds %s", async (schedule, rpo) => {
    expect(await lintShort(repository({ db: kept(rpo, backup(schedule)) }))).toEqual([]);
  });

  it.each([
    ["every 5h", "5h"],
    ["every 5h", "5h"],
    ["every 6h", "6h"],
    ["0 3 * * *", "24h"],
    ["0 3 * * 1-5", "48h"],
    ["0 8-18 * * *", "12h"],
    ["every 1m", "15m"],
    ["0 0 1 * *", "31d"],
    ["0 0 29 2 *", "366d"],
  ])("of %s does not hold %s", async (schedule, rpo) => {
    expect(await lintShort(repository({ db: kept(rpo, backup(schedule)) }))).toEqual([
      "error backup-rpo vm-a/db:12:1 backups[0].schedule",
    ]);
  });

  it("counts the best of several backups with one engine, and each engine", async () => {
    const files = {
      two: kept("6h", backup("0 3 * * *"), backup("every 5h")),
      mixed: kept("6h", backup("every 5h"), backup("0 3 * * *", "postgres")),
    };
    expect(await lintShort(repository(files))).toEqual(["error backup-rpo vm-a/mixed:16:1 backups[1].schedule"]);
  });

  it("says what to promise instead", async () => {
    const problems = await lintFiles(repository({ db: kept("6h", backup("every 6h")) }));
    const error = problems.find(({ severity }) => severity === "error");
    expect(error?.message).toBe(
      "it cannot hold the rpo of 6h: up to 6h lie between two runs, and 36m are allowed for a run and its jitter",
    );
    expect(error?.hint).toBe("run it more often, or promise an rpo of 396m");
  });

  it("of kept data needs a backup, its own or that of who has the same volume", async () => {
    const none = 'backup = { none = "another backs it up" }';
    const bare = service(none, `${slo('rpo = "6h"')}\n${volume}`);
    expect(await lintShort(repository({ bare }))).toEqual(["error promise-rpo vm-a/bare:6:1 slo.rpo"]);
    expect(await lintShort(repository({ bare, keeper: kept("6h", backup("every 5h")) }))).toEqual([]);
    expect(await lintShort(repository({ bare, keeper: kept("26h", backup("0 3 * * *")) }))).toEqual([
      "error promise-rpo vm-a/bare:6:1 slo.rpo",
    ]);
  });

  it("of a service that keeps nothing rests on what it requires: a warning", async () => {
    const files = {
      db: kept("6h", backup("every 5h")),
      good: service('requires = ["db"]', slo('rpo = "6h"')),
      strong: service('requires = ["db"]', slo('rpo = "1h"')),
      alone: service("", slo('rpo = "1h"')),
    };
    expect(await lintShort(repository(files))).toEqual([
      "warning promise-rpo vm-a/alone:5:1 slo.rpo",
      "warning promise-rpo vm-a/strong:6:1 slo.rpo",
    ]);
  });
});

describe("the longest gap of a schedule", () => {
  const gap = (text: string): number => findLongestGapMs(parseSchedule(text));

  it.each([
    ["every 90m", 1.5 * HOUR],
    ["* * * * *", 60_000],
    ["*/7 * * * *", 7 * 60_000],
    ["0 9-17 * * *", 16 * HOUR],
    ["0 3 * * *", DAY],
    ["30 3 * * 1-5", 3 * DAY],
    ["0 9,17 * * 1-5", 2 * DAY + 16 * HOUR],
    ["0 0 1 * *", 31 * DAY],
    ["0 0 L * *", 31 * DAY],
    ["0 0 1 1 *", 365 * DAY],
    ["0 12 29 2 *", 1154 * DAY],
  ])("%s: %d ms", (text, expectedMs) => {
    expect(gap(text)).toBe(expectedMs);
  });

  it("is what counting every run of a year gives", () => {
    const field = (least: number, most: number) =>
      tuple(constantFrom("*", "n", "/", "-"), integer({ min: least, max: most }), integer({ min: 1, max: most })).map(
        ([kind, at, step]) =>
          kind === "*" ? "*" : kind === "n" ? `${at}` : kind === "/" ? `*/${step}` : `${at}-${Math.max(at, step)}`,
      );
    const day = oneof(
      tuple(field(1, 28), field(1, 12), constant("*")),
      tuple(constant("*"), field(1, 12), field(0, 6)),
    );
    const cron = tuple(field(0, 59), field(0, 23), day).map(([minute, hour, rest]) =>
      [minute, hour, ...rest].join(" "),
    );
    assert(
      property(cron, (text) => {
        expect(gap(text)).toBe(countGap(text));
      }),
      { numRuns: 80 },
    );
  });

  it("allows a tenth for the run, at least 15 minutes and at most two hours", () => {
    expect([HOUR, 5 * HOUR, 20 * HOUR, 7 * DAY].map(allowForRun)).toEqual([900_000, HOUR / 2, 2 * HOUR, 2 * HOUR]);
  });
});

/** Looks at every minute of the sample's year, and on to the first run after it. Knows nothing of croner. */
function countGap(text: string): number {
  const [minute, hour, date, month, weekday] = text.split(" ").map(listField);
  const start = Date.UTC(2025, 0, 1);
  let longest = 0;
  let last: number | undefined;
  for (let day = start; last === undefined || last < start + 366 * DAY; day += DAY) {
    const at = new Date(day);
    if (!date?.(at.getUTCDate(), 1) || !month?.(at.getUTCMonth() + 1, 1) || !weekday?.(at.getUTCDay(), 0)) continue;
    for (let ofDay = 0; ofDay < 1_440; ofDay += 1) {
      if (!hour?.(Math.floor(ofDay / 60), 0) || !minute?.(ofDay % 60, 0)) continue;
      const run = day + ofDay * 60_000;
      longest = Math.max(longest, last === undefined || last >= start + 366 * DAY ? 0 : run - last);
      last = run;
    }
  }
  return longest;
}

function listField(field: string): (value: number, least: number) => boolean {
  if (field === "*") return () => true;
  if (field.startsWith("*/")) return (value, least) => (value - least) % Number(field.slice(2)) === 0;
  const [from, to] = field.split("-").map(Number);
  return (value) => value >= (from ?? 0) && value <= (to ?? from ?? 0);
}
