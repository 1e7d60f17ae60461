// The simulator is held to real members in namespaces: one scenario, run by both, with what work costs on a core measured in the
// same run. Thirty members in the slow lane (ORCA_SLOW=1); the exact ratios are `scripts/bench --only calibration`.

import { expect, test } from "vitest";

import { type Calibration, calibrate } from "../../scripts/benchmarks/calibration.ts";

const ROUNDS = { changes: 20, kills: 3, freezes: 3, heals: 3 };
const SLOW = process.env["ORCA_SLOW"] === "1";

/**
 * How far a median of few real trials may be from the simulation. On a quiet machine it is 20 %. Other work beside it is counted
 * and slows the simulation too, but not in the way a scheduler lets real processes wait for each other: what is work (changes,
 * kills) may differ threefold in either direction before this fails, what waits for timers may not.
 */
const BOUNDS: Record<keyof Calibration["real"], [least: number, most: number]> = {
  changeOne: [0.33, 3],
  changeLast: [0.33, 3],
  killed: [0.33, 3],
  frozen: [0.75, 1.33],
  healed: [0.6, 1.7],
};

test.each(SLOW ? [3, 10, 30] : [3, 10])("the simulation of %i members takes as long as real ones do", async (count) => {
  const { real, simulated, cpu } = await calibrate(count, ROUNDS);
  const ratios = Object.entries(BOUNDS).map(([name, [least, most]]) => {
    const part = name as keyof Calibration["real"];
    return { part, ratio: simulated[part] / real[part], least, most };
  });
  const shown = ratios.map(({ part, ratio }) => {
    return `${part} ${simulated[part].toFixed(1)} / ${real[part].toFixed(1)} ms = ${ratio.toFixed(2)}`;
  });
  const report = `${count} members, simulated / real: ${shown.join(", ")}; CPU ${JSON.stringify(cpu)}`;
  console.log(report);
  for (const { ratio, least, most } of ratios) {
    expect(ratio, report).toBeGreaterThan(least);
    expect(ratio, report).toBeLessThan(most);
  }
});
