// The benchmark itself: each suite runs to its end, and what ends in the middle leaves nothing behind. No speed is asserted here.
// ORCA_SLOW=1 runs it.

import { spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { eventually } from "../contract/docker-port.ts";

const BENCH = fileURLToPath(new URL("../../scripts/bench", import.meta.url));
const SLOW = process.env["ORCA_SLOW"] === "1";
const SUITES = [
  "apply,noop,idle,whole",
  "crash,start,drift",
  "lint,merge,backup",
  "fleet,calibration,simulation",
  "cold",
];

interface Row {
  question: string;
  orca: string;
  beside: string;
}

test.skipIf(!SLOW).each(SUITES)("one round of %s runs to its end", (only) => {
  const { status, stdout, stderr } = spawnSync(BENCH, ["--smoke", "--json", "--only", only], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  const rows = JSON.parse(stdout) as Row[];
  expect(rows.length, stderr).toBeGreaterThanOrEqual(only.split(",").length);
  expect(rows.filter(({ orca }) => orca === "FAILED" || orca.includes("NaN"))).toEqual([]);
});

test.skipIf(!SLOW)("a benchmark that is ended leaves no process behind", async () => {
  const mark = `ORCA_BENCH_MARK=${process.pid}`;
  const env = { ...process.env, ORCA_BENCH_MARK: `${process.pid}` };
  const bench = spawn(BENCH, ["--smoke", "--only", "idle"], { stdio: "ignore", env });
  const ended = new Promise((resolve) => bench.once("exit", resolve));
  await eventually(() => listMarked(mark).some((command) => command.includes("orca.mjs")), 300_000);
  expect(listMarked(mark).join("\n")).toContain("dockerd");
  bench.kill("SIGTERM");
  await ended;
  await eventually(() => listMarked(mark).length === 0, 10_000);
});

/** The commands of all processes that were given this variable. */
function listMarked(mark: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(mark)) return [];
        return [readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}
