// Simulated fleets in every trouble at once, by seed: some fixed ones, those that have failed once, and some of today's date. A
// seed that fails is in the message and is kept in test/fixtures/gossip-seeds.txt. ORCA_SLOW=1 runs many more.

import { appendFileSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { runChaos } from "../../builders/gossip/gossip-chaos.ts";
import { SLOW } from "../../../scripts/lab/gossip/gossip-checks.ts";

const KEPT_FILE = fileURLToPath(new URL("../../fixtures/gossip-seeds.txt", import.meta.url));
const FIXED = SLOW ? 400 : 8;
const OF_TODAY = SLOW ? 40 : 4;

const kept = readFileSync(KEPT_FILE, "utf8")
  .split("\n")
  .filter((line) => /^\d+$/.test(line))
  .map(Number);
const today = Number(new Date().toISOString().slice(0, 10).replaceAll("-", "")) * 100;
const seeds = [
  ...new Set([
    ...Array.from({ length: FIXED }, (_, index) => index + 1),
    ...kept,
    ...Array.from({ length: OF_TODAY }, (_, index) => today + index),
  ]),
];

test.each(seeds)("every trouble in any order ends in agreement, and no lie is believed (seed %i)", (seed) => {
  try {
    runChaos(seed);
  } catch (error) {
    if (!kept.includes(seed)) appendFileSync(KEPT_FILE, `${seed}\n`);
    throw error;
  }
  expect(seed).toBeGreaterThan(0);
});
