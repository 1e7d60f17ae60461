// A fleet of real agents in trouble: a node that never comes, one that comes late, and an engine that restarts.

import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { FleetDocument } from "../../shared/fleet-document.ts";
import { FleetLab } from "../builders/fleet-lab.ts";
import { buildHttpd, IMAGE } from "../builders/real-node.ts";

const lab = new FleetLab({
  nodes: { "vm-control": "prod", "vm-data": "prod", "vm-edge": "prod" },
  images: [IMAGE],
  manifests: {
    "vm-control": { portal: buildHttpd({}) },
    "vm-data": { db: buildHttpd({}), app: buildHttpd({ top: 'requires = ["db"]' }) },
    "vm-edge": {
      gate: buildHttpd({ top: 'requires = ["vm-data/app"]' }),
      proxy: buildHttpd({
        top: 'requires = [{ on = "vm-control/portal", expires = "20s", then = "start" }, { on = "vm-data/app", expires = "5m", then = "start" }]',
      }),
    },
  },
});

beforeAll(() => lab.create());
afterAll(() => lab.destroy());

test("a node that never comes: the proxy opens late, loud and degraded, and every node says who is missing", async () => {
  lab.start(["vm-edge", "vm-data"]);
  const tookMs = await lab.until(async () => (await lab.state("vm-edge", "proxy")) === "healthy", 90_000, "the proxy");
  expect(tookMs).toBeGreaterThan(19_000);
  const proxy = (await lab.read("vm-edge"))?.services.find(({ name }) => name === "proxy");
  expect(proxy?.notes).toEqual(["started without vm-control/portal"]);
  for (const node of ["vm-edge", "vm-data"]) {
    const fleet = await lab.read<FleetDocument>(node, "/v1/fleet");
    expect(fleet?.nodes.map(({ node: name, reachability }) => [name, reachability])).toEqual([
      ["vm-control", "unknown"],
      ["vm-data", node === "vm-data" ? "self" : "alive"],
      ["vm-edge", node === "vm-edge" ? "self" : "alive"],
    ]);
    expect(fleet?.healthy).toBe(false);
  }
});

test("it comes late after all: it is known at once, and nothing that runs is touched", async () => {
  lab.of("vm-edge").proxy.reset();
  lab.of("vm-data").proxy.reset();
  lab.start(["vm-control"]);
  const isHealthy = async (): Promise<boolean> =>
    (await lab.read<FleetDocument>("vm-edge", "/v1/fleet"))?.healthy === true;
  await lab.until(isHealthy, 60_000, "the whole fleet");
  expect(lab.of("vm-edge").proxy.calls).toEqual([]);
  expect(lab.of("vm-data").proxy.calls).toEqual([]);
});

test("an engine that restarts on one node: its services come back in order, the others' are not touched", async () => {
  lab.of("vm-edge").proxy.reset();
  lab.of("vm-control").proxy.reset();
  const { engine, proxy } = lab.of("vm-data");
  await engine.end("SIGTERM");
  proxy.reset();
  await engine.start();
  await lab.until(async () => (await lab.state("vm-data", "app")) === "healthy", 90_000, "the way back");
  await sleep(2_000);
  const starts = proxy.calls.filter(({ path }) => path.endsWith("/start"));
  expect(starts).toHaveLength(2);
  expect(lab.of("vm-edge").proxy.calls).toEqual([]);
  expect(lab.of("vm-control").proxy.calls).toEqual([]);
});
