// Prints where the time of ./scripts/test went: a row for each lane, and its slowest files. Reads what vitest wrote as JSON for each.
// scripts/test calls it: `lane-times.ts DIRECTORY LANE…`; a lane that wrote nothing has not run.

import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

const SLOWEST = 5;

interface FileResult {
  name: string;
  startTime: number;
  endTime: number;
}

interface LaneResult {
  numTotalTests: number;
  startTime: number;
  testResults: readonly FileResult[];
}

function describeSeconds(ms: number): string {
  return (ms / 1_000).toFixed(1).padStart(8);
}

function describeLane(lane: string, { numTotalTests, startTime, testResults }: LaneResult): string[] {
  const endMs = testResults.reduce((last, { endTime }) => Math.max(last, endTime), startTime);
  const files = testResults
    .map(({ name, startTime: from, endTime: to }) => ({ name: relative(process.cwd(), name), tookMs: to - from }))
    .toSorted((left, right) => right.tookMs - left.tookMs);
  return [
    `${lane.padEnd(10)}${String(numTotalTests).padStart(6)}${describeSeconds(endMs - startTime)}`,
    ...files.slice(0, SLOWEST).map(({ name, tookMs }) => `${"".padEnd(16)}${describeSeconds(tookMs)}  ${name}`),
  ];
}

const [directory = "", ...lanes] = process.argv.slice(2);
const rows = lanes.flatMap((lane) => {
  const file = join(directory, `${lane}.json`);
  return existsSync(file) ? describeLane(lane, JSON.parse(readFileSync(file, "utf8")) as LaneResult) : [];
});
console.log([`${"lane".padEnd(10)}${"tests".padStart(6)}${"seconds".padStart(8)}`, ...rows].join("\n"));
