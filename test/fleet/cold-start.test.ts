// A whole platform comes back after every host lost power at once: starts follow the graph, nothing crash-loops, the proxy opens
// last, and it takes hardly longer than the longest chain of declared times.

import { afterAll, beforeAll, expect, test } from "vitest";

import { buildColdFleet, type ColdFleet } from "../builders/cold-fleet.ts";
import { FleetLab } from "../builders/fleet-lab.ts";
import { IMAGE } from "../builders/real-node.ts";
import { LABEL } from "../../shared/identity.ts";
import type { FleetDocument } from "../../shared/fleet-document.ts";

// Shorter than real services take; the overhead of order weighs the more.
const SCALE = Number(process.env["ORCA_COLD_SCALE"] ?? "0.35");

let cold: ColdFleet;
let lab: FleetLab;

beforeAll(async () => {
  cold = await buildColdFleet("breakpilot", "prod", SCALE);
  lab = new FleetLab({ nodes: cold.nodes, images: [IMAGE], manifests: cold.manifests });
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
  // Where the time went: until the engine is asked for the start, and beyond the declared time until it is healthy.
  for (const [node, { proxy, engine }] of lab.hosts) {
    const names = new Map(
      (await engine.client.reader.listContainers()).map((row) => [row.id, row.labels[LABEL.service]]),
    );
    for (const { path, atMs } of proxy.calls.filter((call) => call.path.endsWith("/start"))) {
      const name = `${node}/${names.get(path.split("/").at(-2) ?? "")}`;
      const planned = cold.plan.services.find((service) => service.name === name);
      const open = Math.max(0, ...(planned?.waitsFor ?? []).map((one) => since.get(one) ?? 0));
      const asked = atMs + clockMs - from;
      console.log(
        `${name}: open ${open}, asked +${Math.round(asked - open)}, healthy +${Math.round((since.get(name) ?? 0) - asked - (planned?.takesMs ?? 0))}`,
      );
    }
  }
  const totalMs = last?.[1] ?? 0;
  const edges = cold.plan.criticalPath.length;
  console.log(
    `cold start of ${since.size} services: ${totalMs} ms; critical path of declared times ${cold.plan.criticalMs} ms over ${edges} starts; ratio ${(totalMs / cold.plan.criticalMs).toFixed(3)}`,
  );
  // What each start of the chain costs besides its declared time is the engine's own, on two cores for three engines.
  expect(totalMs).toBeLessThan(cold.plan.totalMs * 1.1 + edges * 1_500);
});
