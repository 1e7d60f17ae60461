// A container has ended, and the engine still takes it apart: until that is over it lists it as running and answers no inspection.
// The end is shown at once by what its event says; what is remembered and told of it waits for the inspection, and is right.

import { afterEach, beforeEach, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import type { FakeContainer } from "../../fakes/fake-container.ts";

let node: TestNode;

beforeEach(async () => {
  node = new TestNode();
  node.source.set({ app: buildManifest({}), other: buildManifest({}) });
  await node.start();
  await node.untilSettled(["app", "other"]);
  node.engine.calls.length = 0;
  node.engine.tearDownMs = 400;
});

afterEach(() => node.dispose());

function running(service: string): FakeContainer {
  const container = node.engine.running(service);
  if (container === undefined) throw new Error(`${service} does not run`);
  return container;
}

function exits(): unknown[] {
  return node.events.flatMap((event) => (event.kind === "exited" ? [event.exit] : []));
}

test("a crash is shown before the engine answers an inspection, with its exit code; it is recorded once, after that", async () => {
  node.engine.end(running("app"), 3);
  await node.clock.advance(50);
  expect(node.view("app")).toMatchObject({ state: "backoff", reason: expect.stringContaining("exit code 3") });
  expect(exits()).toEqual([]);
  await node.clock.advance(500);
  expect(exits()).toEqual([expect.objectContaining({ service: "app", exitCode: 3, oom: false })]);
  expect(node.view("app")?.restarts).toBe(1);
  await node.clock.advance(5_000);
  expect(exits()).toHaveLength(1);
  expect(node.view("app")).toMatchObject({ state: "healthy", restarts: 1 });
  expect(node.engine.calls.filter(({ call }) => call === "startContainer")).toHaveLength(1);
});

test("what the kernel has killed for memory is recorded as that, also where the engine says so last", async () => {
  node.engine.end(running("app"), 137, { oom: true });
  await node.clock.advance(50);
  expect(node.view("app")?.state).toBe("backoff");
  await node.clock.advance(1_000);
  expect(exits()).toEqual([expect.objectContaining({ exitCode: 137, oom: true })]);
});

test("the engine's last word counts where the event said something else", async () => {
  const container = running("app");
  node.engine.end(container, 0);
  container.detail.exitCode = 9;
  container.detail.oomKilled = true;
  await node.clock.advance(1_000);
  expect(exits()).toEqual([expect.objectContaining({ exitCode: 9, oom: true })]);
});

test("no turn waits for the engine meanwhile: another service is seen to at once", async () => {
  node.engine.tearDownMs = 20_000;
  node.engine.end(running("app"), 1);
  await node.clock.advance(50);
  node.engine.tearDownMs = 0;
  node.engine.end(running("other"), 1);
  await node.clock.advance(3_000);
  expect(node.view("other")?.state).toBe("healthy");
  expect(node.view("app")).toMatchObject({ state: "backoff", reason: expect.stringContaining("still takes its") });
  await node.clock.advance(30_000);
  expect(node.view("app")).toMatchObject({ state: "healthy", restarts: 1 });
});

test("an agent that ends in between records the end once, and right", async () => {
  node.engine.end(running("app"), 4);
  await node.clock.advance(50);
  expect(node.view("app")?.state).toBe("backoff");
  await node.stop();
  await node.clock.advance(500);
  await node.start();
  await node.clock.advance(5_000);
  expect(exits()).toEqual([expect.objectContaining({ service: "app", exitCode: 4 })]);
  expect(node.view("app")).toMatchObject({ state: "healthy", restarts: 1 });
});

test("a container that somebody ends by hand is shown as stopped, and stays so", async () => {
  node.engine.end(running("app"), 143, { byHand: "15" });
  await node.clock.advance(50);
  const shown = node.view("app");
  await node.clock.advance(1_000);
  expect(exits()).toEqual([expect.objectContaining({ requested: "by-hand", exitCode: 143 })]);
  expect(shown?.state).toBe(node.view("app")?.state === "healthy" ? "backoff" : node.view("app")?.state);
});
