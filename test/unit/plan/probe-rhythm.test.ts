// When the next probe of something that runs comes: gathered with others, up to a tenth of its interval early, never late.

import * as fc from "fast-check";
import { expect, test } from "vitest";

import { gatherProbe } from "../../../agent/health/thresholds.ts";
import type { HealthCheck } from "../../../shared/manifest/manifest.ts";

function buildCheck(interval: number, kind: Partial<HealthCheck> = { tcp: { port: 80 } }): HealthCheck {
  return { interval, timeout: 5_000, retries: 3, start_period: 0, ...kind };
}

test.each([
  [10_000, 12_345, 10_000],
  [10_000, 10_000, 10_000],
  [30_000, 19_999, 15_000],
  [5_000, 12_990, 12_000],
  [2_500, 12_345, 12_000],
  [7_300, 12_345, 12_345],
  [1_000, 12_345, 12_000],
])("an interval of %i ms: due at %i, made at %i", (interval, dueMs, madeMs) => {
  expect(gatherProbe(dueMs, buildCheck(interval))).toBe(madeMs);
});

test("commands in the container are spread: they are work for the engine", () => {
  expect(gatherProbe(12_345, buildCheck(10_000, { exec: ["pg_isready"] }))).toBe(12_345);
});

/** What is lost where fractions of a millisecond are added to large numbers. */
const ROUNDING_MS = 1e-3;

test("half of the interval early at most, never late; probes that take a moment keep their interval", () => {
  const moments = fc.record({
    interval: fc.integer({ min: 1, max: 600 }).map((tenths) => tenths * 100),
    dueMs: fc.double({ min: 0, max: 1e9, noNaN: true }),
    tookMs: fc.double({ min: 0, max: 200, noNaN: true }),
  });
  fc.assert(
    fc.property(moments, ({ interval, dueMs, tookMs }) => {
      const check = buildCheck(interval);
      const madeMs = gatherProbe(dueMs, check);
      expect(madeMs).toBeLessThanOrEqual(dueMs);
      expect(dueMs - madeMs).toBeLessThanOrEqual(interval / 2 + ROUNDING_MS);
      const nextMs = gatherProbe(madeMs + tookMs + interval, check);
      expect(nextMs - madeMs).toBeGreaterThanOrEqual(interval - ROUNDING_MS);
    }),
  );
});
