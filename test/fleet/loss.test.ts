// The simulator's streams are held to the kernel's: small messages both ways over the agents' own transport, through a wire that
// loses 30 % of all packets, and the same simulated. With the kernel's waits as they are, and with thin streams not doubling them.

import { expect, test } from "vitest";

import { measureLoss } from "../builders/gossip/loss-lab.ts";
import { simulateLoss } from "../builders/gossip/loss-model.ts";

const TRIAL = { loss: 0.3, everyMs: 1_000 };
const REAL = { ...TRIAL, streams: 150, forMs: 60_000 };
const SIMULATED = { ...TRIAL, streams: 600, forMs: 60_000 };

/**
 * How far apart they may be: most of a second in the middle is a handful of timeouts, and the last per cent are few waits of seconds
 * each, which hold up all that comes behind them.
 */
const BOUNDS = [
  [0.8, 0.6, 1.6],
  [0.9, 0.6, 1.6],
  [0.95, 0.5, 2],
  [0.99, 0.33, 3],
] as const;

test("messages through a lossy wire take as long as simulated, with and without doubled waits of thin streams", async () => {
  const trials = await Promise.all([false, true].map((isLinear) => measureLoss({ ...REAL, isLinear })));
  const [doubled = [], linear = []] = trials.map(({ delaysMs }) => delaysMs);
  for (const [index, real] of [doubled, linear].entries()) {
    const simulated = simulateLoss({ ...SIMULATED, isLinear: index === 1 }, 1);
    const rows = BOUNDS.map(([share, least, most]) => ({
      share,
      least,
      most,
      real: at(real, share),
      simulated: at(simulated, share),
    }));
    const shown = rows.map(({ share, ...ms }) => `${share}: ${ms.simulated.toFixed(0)} / ${ms.real.toFixed(0)} ms`);
    const report = `${index === 1 ? "linear" : "doubled"}, ${real.length} messages, simulated / real: ${shown.join(", ")}`;
    console.log(report);
    expect(real.length, report).toBeGreaterThan(0.9 * 2 * REAL.streams * (REAL.forMs / REAL.everyMs));
    // Most come at once, in both.
    expect(at(real, 0.5), report).toBeLessThan(100);
    expect(at(simulated, 0.5), report).toBeLessThan(100);
    for (const { real: realMs, simulated: simulatedMs, least, most } of rows) {
      expect(simulatedMs / realMs, report).toBeGreaterThan(least);
      expect(simulatedMs / realMs, report).toBeLessThan(most);
    }
  }
  // What the kernel's option is worth.
  expect(at(linear, 0.99)).toBeLessThan(at(doubled, 0.99) / 2);
});

function at(sortedMs: readonly number[], share: number): number {
  return sortedMs[Math.min(sortedMs.length - 1, Math.floor(sortedMs.length * share))] ?? Number.NaN;
}
