// Several real agents on real engines in network namespaces: a start that waits for another node,
// says for whom and why, and hears nothing of another realm. What else may happen is in troubles.test.ts.

import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { FleetLab } from "../../scripts/lab/engine/fleet-lab.ts";
import { buildHttpd, IMAGE } from "../../scripts/lab/engine/real-node.ts";

/** Healthy some seconds after it was started, as a database is. */
const slow = (seconds: number): string =>
  buildHttpd({
    command: `["/bin/sh", "-c", "sleep ${seconds}; exec /bin/httpd -f -p 8080 -h /etc"]`,
    health: SLOW_HEALTH,
  });
const SLOW_HEALTH = 'http = { port = 8080, path = "/passwd" }\nstart_period = "60s"\ninterval = "1s"';

const lab = new FleetLab({
  nodes: { "vm-data": "prod", "vm-web": "prod", stage: "stage" },
  images: [IMAGE],
  manifests: {
    "vm-data": { db: slow(6) },
    "vm-web": { web: buildHttpd({ top: 'requires = ["vm-data/db"]' }) },
    stage: { app: buildHttpd({}) },
  },
});

beforeAll(() => lab.create());
afterAll(() => lab.destroy());

test("a start waits for the other node, says for whom and why, and comes at the moment the other is healthy", async () => {
  lab.start(["vm-web"]);
  await lab.until(async () => (await lab.state("vm-web", "web")) === "waiting", 30_000, "waiting");
  await sleep(3_000);
  expect((await lab.read("vm-web"))?.services[0]).toMatchObject({
    waitingFor: ["vm-data/db"],
    reason: "waiting for vm-data/db (vm-data was not reached yet)",
  });
  lab.start(["vm-data", "stage"]);
  await lab.until(async () => (await lab.state("vm-data", "db")) === "starting", 30_000, "the other's start");
  await sleep(1_000);
  expect((await lab.read("vm-web"))?.services[0]?.reason).toMatch(/^waiting for vm-data\/db \(it is starting/);
  await lab.until(async () => (await lab.state("vm-web", "web")) === "healthy", 60_000, "the start");
  const since = async (node: string): Promise<number> => Date.parse((await lab.read(node))?.services[0]?.since ?? "");
  // By the other node's word, and not by the next resync (30 s).
  expect((await since("vm-web")) - (await since("vm-data"))).toBeLessThan(15_000);
});

test("stage and prod neither hear of each other nor touch each other", async () => {
  await lab.until(async () => (await lab.state("stage", "app")) === "healthy", 30_000, "stage");
  expect(lab.of("vm-web").agent?.output).not.toMatch(/stage.*alive/);
  expect(lab.of("stage").agent?.output).not.toMatch(/vm-web|vm-data/);
});
