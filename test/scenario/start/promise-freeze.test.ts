// slo.freeze on a whole agent: a change waits while a promise is broken, what runs is healed, and an emergency passes.

import { afterEach, beforeEach, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

const tables = (slo: string): string => `[update]\nsettle = "1s"\n[slo]\n${slo}`;
const manifest = (image: string, slo = "availability = 99.9\nfreeze = true"): string =>
  buildManifest({ image, tables: tables(slo) });

let node: TestNode;
beforeEach(async () => {
  node = new TestNode();
  node.source.set({ web: manifest("app:1"), free: buildManifest({ tables: tables("availability = 99.9") }) });
  await node.start();
  node.agent.learnPromises({});
  await node.untilSettled(["web", "free"]);
});
afterEach(() => node.dispose());

const imageOf = (service: string): string | undefined => node.engine.running(service)?.image;

test("a change waits until the promise holds again; healing goes on, also over a restart of the agent", async () => {
  node.agent.learnPromises({ web: "availability", free: "availability" });
  node.source.set({
    web: manifest("app:2"),
    free: buildManifest({ image: "app:2", tables: tables("availability = 99.9") }),
  });
  await node.until("held", ["web"]);
  await node.untilSettled(["free"]);
  expect([imageOf("web"), imageOf("free")]).toEqual(["app:1", "app:2"]);
  expect(node.view("web")).toMatchObject({
    fact: { code: "objection", objected: { code: "promise-broken", service: "web", promise: "availability" } },
  });
  expect(node.view("web").reason).toMatch(/^slo\.availability is broken .*Orca-Emergency/);
  const container = node.engine.running("web");
  if (container !== undefined) node.engine.end(container, 1);
  await node.clock.advance(10_000);
  expect([imageOf("web"), node.view("web").state]).toEqual(["app:1", "held"]);
  await node.stop();
  await node.start();
  // Before anybody has looked, nothing is let in.
  await node.clock.advance(10_000);
  expect([imageOf("web"), node.view("web").fact]).toMatchObject(["app:1", { objected: { promise: "unknown" } }]);
  node.agent.learnPromises({ web: "rpo" });
  await node.clock.advance(10_000);
  expect(imageOf("web")).toBe("app:1");
  node.agent.learnPromises({});
  await node.clock.advanceUntil(() => imageOf("web") === "app:2", 60_000);
  await node.untilSettled(["web"]);
});

test("no change lifts its own hold, and one that needs no other container does not wait", async () => {
  node.agent.learnPromises({ web: "rpo" });
  node.source.set({ web: manifest("app:2", "availability = 99.9") });
  await node.until("held", ["web"]);
  node.source.set({ web: manifest("app:1", "availability = 99") });
  await node.untilSettled(["web"]);
  expect(imageOf("web")).toBe("app:1");
});

test("a rollout that has begun goes on when the promise breaks under it", async () => {
  node.source.set({ web: manifest("app:2") });
  await node.clock.advanceUntil(() => imageOf("web") === "app:2", 60_000);
  node.agent.learnPromises({ web: "availability" });
  await node.clock.advance(60_000);
  expect([imageOf("web"), node.view("web")]).toMatchObject(["app:2", { state: "healthy", settled: true }]);
});

test("a commit that says that it is an emergency passes", async () => {
  node.agent.learnPromises({ web: "availability" });
  node.source.trailers = [["Orca-Emergency", "the disk burns"]];
  node.source.set({ web: manifest("app:2") });
  await node.clock.advanceUntil(() => imageOf("web") === "app:2", 60_000);
  await node.untilSettled(["web"]);
});
