// A whole platform comes back after every host lost power at once: starts follow the graph, nothing crash-loops, the proxy opens
// last, and it takes hardly longer than the longest chain of declared times.

import { afterAll, beforeAll, expect, test } from "vitest";

import { buildColdFleet, type ColdFleet } from "../builders/cold-fleet.ts";
import { FleetLab } from "../builders/fleet-lab.ts";
import { IMAGE } from "../builders/real-node.ts";
import { planColdStart } from "../../agent/desired/cold-start.ts";
import { LABEL } from "../../shared/identity.ts";
import type { FleetDocument } from "../../shared/fleet-document.ts";

// Shorter than real services take; the overhead of order weighs the more.
const SCALE = Number(process.env["ORCA_COLD_SCALE"] ?? "0.35");

let cold: ColdFleet;
let lab: FleetLab;

beforeAll(async () => {
  cold = await buildColdFleet("breakpilot", "prod", SCALE);
  const unread = "cold starts are measured against what the services themselves take";
  lab = new FleetLab({ nodes: cold.nodes, images: [IMAGE], manifests: cold.manifests, unread });
  await lab.create();
});

afterAll(() => lab.destroy());

async function isAllHealthy(): Promise<boolean> {
  const [first = ""] = lab.hosts.keys();
  return (await lab.read<FleetDocument>(first, "/v1/fleet"))?.healthy === true;
}

test("cold start after total power loss", { timeout: 600_000 }, async () => {
  lab.start();
  await lab.until(isAllHealthy, 240_000, "the first start of everything");
  await Promise.all([...lab.hosts.keys()].map((node) => lab.reboot(node)));
  for (const { proxy } of lab.hosts.values()) proxy.reset();
  const report: string[] = [];
  const from = Date.now();
  const clockMs = from - performance.now();
  lab.start();
  await lab.until(isAllHealthy, 240_000, "the cold start");
  const statuses = await Promise.all([...lab.hosts.keys()].map((node) => lab.read(node)));
  const since = new Map<string, number>();
  for (const status of statuses) {
    if (status === undefined) throw new Error(await lab.describe());
    for (const { name, restarts, notes, since: at } of status.services) {
      since.set(`${status.node}/${name}`, Date.parse(at) - from);
      // Nothing crash-looped, and nothing started without what it requires.
      expect([name, restarts, notes]).toEqual([name, 0, []]);
    }
  }
  // One start for each service, and not one call more that changes anything.
  const starts = [...lab.hosts.values()].flatMap(({ proxy }) =>
    proxy.calls.filter(({ path }) => path.endsWith("/start")),
  );
  expect(starts).toHaveLength(cold.plan.services.length);
  const [last] = [...since].toSorted((left, right) => right[1] - left[1]);
  expect(last?.[0]).toBe("vm-edge/orca-proxy");
  for (const { name, waitsFor, takesMs } of cold.plan.services)
    for (const one of waitsFor) expect(since.get(name)).toBeGreaterThan((since.get(one) ?? 0) + takesMs - 50);
  // Where the time went: until the engine was asked, until it had started the process, and beyond the declared time until healthy.
  const asked = new Map<string, number>();
  const known = new Map<string, number>();
  for (const [node, { proxy, engine }] of lab.hosts) {
    for (const row of await engine.client.reader.listContainers()) {
      const name = `${node}/${row.labels[LABEL.service]}`;
      const call = proxy.calls.find(({ path }) => path.endsWith(`${row.id}/start`));
      const startedMs = (await engine.client.reader.inspectContainer(row.id))?.startedMs;
      const planned = cold.plan.services.find((service) => service.name === name);
      if (call === undefined || startedMs === undefined || planned === undefined)
        throw new Error(`${name} did not start`);
      const askedMs = call.atMs + clockMs - from;
      const engineMs = startedMs - from - askedMs;
      asked.set(name, askedMs);
      known.set(name, planned.takesMs + engineMs);
      const openMs = Math.max(0, ...planned.waitsFor.map((one) => since.get(one) ?? 0));
      const lateMs = (since.get(name) ?? 0) - askedMs - engineMs - planned.takesMs;
      report.push(
        `${name}: asked ${show(askedMs - openMs)} after all it requires, engine ${show(engineMs)}, healthy ${show(lateMs)} late`,
      );
    }
  }
  const firstMs = Math.min(...asked.values());
  const totalMs = last?.[1] ?? 0;
  // The floor: the longest chain of declared times and of what the engine itself took for each start.
  const floor = planColdStart(cold.services, { known, defaultMs: 0, slots: 1_000, slotMs: 1 }).criticalMs;
  report.push(
    `cold start of ${since.size} services: ${show(totalMs)}, of it ${show(firstMs)} until the agents asked for the first start;`,
    `declared times alone ${show(cold.plan.criticalMs)}, with the engine's own ${show(floor)}: ratio ${((totalMs - firstMs) / floor).toFixed(3)}`,
  );
  console.log(report.join("\n"));
  expect((totalMs - firstMs) / floor).toBeLessThan(1.1);
});

function show(ms: number): string {
  return `${Math.round(ms)} ms`;
}
