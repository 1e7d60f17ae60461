// What the agents say of a cold start themselves, each of them, against what was measured from outside. For the fleet test.

import { expect } from "vitest";

import type { ColdStartDocument, ColdStartReport } from "../../../shared/state/cold-start.ts";
import type { FleetDocument } from "../../../shared/document/fleet-document.ts";
import type { ColdFleet } from "../../../scripts/lab/cold/cold-fleet.ts";
import type { ColdStartOutcome } from "../../../scripts/lab/cold/cold-measure.ts";
import type { FleetLab } from "../../../scripts/lab/engine/fleet-lab.ts";

/** The status dates a state by the turn that saw it, the report by the probe: on a busy machine a turn may come late. */
const TURN_MS = 500;

/** Every agent has the report, and it is what was seen. */
export async function expectReports(lab: FleetLab, cold: ColdFleet, outcome: ColdStartOutcome): Promise<void> {
  const nodes = [...lab.hosts.keys()];
  const read = async (node: string): Promise<ColdStartReport | undefined> =>
    (await lab.read<ColdStartDocument>(node, "/v1/cold-start"))?.reports[0];
  const isOver = async (): Promise<boolean> =>
    (await Promise.all(nodes.map(read))).every((report) => typeof report?.ended === "string");
  await lab.until(isOver, 60_000, "the agents' reports");
  for (const node of nodes) {
    const report = await read(node);
    if (report === undefined) throw new Error(`${node} has no report`);
    expect(report).toMatchObject({ scope: "realm", missing: [] });
    expect(report.nodes.map((one) => one.node)).toEqual(nodes.toSorted());
    expect(report.services.map(({ name }) => name).toSorted()).toEqual([...outcome.since.keys()].toSorted());
    expect(report.path.at(-1)?.name).toBe(outcome.order.at(-1));
    expectTimes(report, outcome);
    await expectStartTimes(lab, cold, node);
    expectPath(report, cold);
  }
}

function expectTimes(report: ColdStartReport, { since, totalMs, firstMs }: ColdStartOutcome): void {
  // The measuring begins before the agents' processes do; a report begins with its agents, before the first start is asked for.
  const beforeMs = totalMs - (report.totalSeconds ?? 0) * 1_000;
  expect(beforeMs).toBeGreaterThan(-100);
  expect(beforeMs).toBeLessThan(firstMs + TURN_MS);
  for (const { name, healthy } of report.services) {
    const offMs = (since.get(name) ?? 0) - beforeMs - (healthy ?? 0) * 1_000;
    expect([name, Math.abs(offMs) < TURN_MS ? 0 : offMs]).toEqual([name, 0]);
  }
}

/** Each step of the path is an edge, and took what its stand-in declares. */
function expectPath(report: ColdStartReport, cold: ColdFleet): void {
  for (const [index, { name, readySeconds }] of report.path.entries()) {
    const service = cold.plan.services.find((one) => one.name === name);
    expect(readySeconds * 1_000).toBeGreaterThan((service?.takesMs ?? Infinity) - 50);
    const before = report.path[index - 1]?.name;
    expect(service?.waitsFor ?? []).toEqual(before === undefined ? [] : expect.arrayContaining([before]));
  }
}

/** What `orca fleet plan` takes from a live fleet: what each start took, as its own node measured it. */
async function expectStartTimes(lab: FleetLab, cold: ColdFleet, node: string): Promise<void> {
  const fleet = await lab.read<FleetDocument>(node, "/v1/fleet");
  const took = new Map(
    fleet?.nodes.flatMap((one) => one.services.map(({ name, startSeconds }) => [`${one.node}/${name}`, startSeconds])),
  );
  for (const { name, takesMs } of cold.plan.services) {
    const tookMs = (took.get(name) ?? 0) * 1_000;
    expect([name, tookMs > takesMs - 100 && tookMs < takesMs + 2_000 ? "as declared" : tookMs]).toEqual([
      name,
      "as declared",
    ]);
  }
}
