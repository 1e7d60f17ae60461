// A whole platform comes back after every host lost power at once: starts follow the graph, nothing crash-loops, the proxy opens
// last, and it takes hardly longer than the longest chain of declared times.

import { afterAll, beforeAll, expect, test } from "vitest";

import { buildColdFleet, type ColdFleet } from "../../scripts/lab/cold/cold-fleet.ts";
import { measureColdStart, openColdLab } from "../../scripts/lab/cold/cold-measure.ts";
import { expectReports } from "../builders/fleet/cold-reports.ts";
import type { FleetLab } from "../../scripts/lab/engine/fleet-lab.ts";

// Shorter than real services take; the overhead of order weighs the more.
const SCALE = Number(process.env["ORCA_COLD_SCALE"] ?? "0.35");

let cold: ColdFleet;
let lab: FleetLab;

beforeAll(async () => {
  cold = await buildColdFleet("breakpilot", "prod", SCALE);
  lab = await openColdLab(cold);
});

afterAll(() => lab.destroy());

test("cold start after total power loss", { timeout: 600_000 }, async () => {
  const outcome = await measureColdStart(lab, cold);
  const { since, order, totalMs, firstMs, declaredMs, floorMs } = outcome;
  // Nothing crash-looped, and nothing started without what it requires.
  expect(outcome.restarts).toBe(0);
  expect(outcome.notes).toEqual([]);
  // One start for each service, and not one call more that changes anything.
  expect(outcome.starts).toBe(cold.plan.services.length);
  expect(order.at(-1)).toBe("vm-edge/orca-proxy");
  for (const { name, waitsFor, takesMs } of cold.plan.services)
    for (const one of waitsFor) expect(since.get(name)).toBeGreaterThan((since.get(one) ?? 0) + takesMs - 50);
  const ratio = (totalMs - firstMs) / floorMs;
  const times = [totalMs, firstMs, declaredMs, floorMs].map((ms) => `${Math.round(ms)} ms`);
  outcome.lines.push(
    `${since.size} services: ${times[0]}, of it ${times[1]} until the agents asked for the first start;`,
    `declared times alone ${times[2]}, with the engine's own ${times[3]}: ratio ${ratio.toFixed(3)}`,
  );
  console.log(outcome.lines.join("\n"));
  await expectReports(lab, cold, outcome);
  // The bar is 1.10, and is measured by scripts/bench on a quiet machine.
  expect(ratio).toBeLessThan(1.25);
});
