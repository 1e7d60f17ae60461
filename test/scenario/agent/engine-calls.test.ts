// What the agent asks the engine for while it starts services: each call is work of the engine, and of the agent, that the start of the
// next one waits for. Counts of calls, never times.

import { afterEach, beforeEach, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

const NAMES = Array.from({ length: 12 }, (_, index) => `s${index + 10}`);

let node: TestNode;

beforeEach(async () => {
  node = new TestNode();
  node.source.set({ app: buildManifest({}) });
  await node.start();
  await node.untilSettled(["app"]);
  node.engine.reads.clear();
});

afterEach(() => node.dispose());

function reads(call: string): number {
  return node.engine.reads.get(call) ?? 0;
}

/** When the run of app began, as the last turn saw it. */
function seenStart(): number | undefined {
  const turn = node.events.findLast((event) => event.kind === "turn");
  const engine = turn?.kind === "turn" ? turn.turn.observed.engine : undefined;
  return engine?.reachable === true ? engine.containers.find(({ service }) => service === "app")?.startedMs : undefined;
}

test("a container that is made and starts is inspected when it is there and when it runs, and the events of that ask for nothing more", async () => {
  node.engine.latencyMs.createContainer = 100;
  node.engine.latencyMs.startContainer = 500;
  node.engine.eventsAfterMs = 2;
  node.source.set(Object.fromEntries(["app", ...NAMES].map((name) => [name, buildManifest({})])));
  await node.until("healthy", NAMES, 60_000);
  expect(reads("inspectContainer")).toBeLessThanOrEqual(2 * NAMES.length);
  await node.untilSettled(NAMES);
});

test("a run that ends and one that begins anew in one moment are looked at, though the list says `running` before and after", async () => {
  const container = node.engine.running("app");
  if (container === undefined) throw new Error("app does not run");
  const before = seenStart();
  node.engine.end(container, 1);
  await node.clock.advance(1);
  await node.engine.writer.startContainer(container.id as never);
  await node.clock.advance(1_000);
  expect(seenStart()).toBeGreaterThan(before ?? Number.POSITIVE_INFINITY);
});

test("networks are listed once a second at most while services start, and at once where an event tells of one", async () => {
  node.engine.latencyMs.startContainer = 500;
  node.source.set(Object.fromEntries(["app", ...NAMES].map((name) => [name, buildManifest({})])));
  const tookMs = await node.until("healthy", NAMES, 60_000);
  expect(reads("listNetworks")).toBeLessThanOrEqual(2 + Math.ceil(tookMs / 1_000));
  expect(reads("listContainers")).toBeGreaterThan(reads("listNetworks"));
  await node.untilSettled(NAMES);
});

test("a stream of events that breaks makes the next turn list the networks", async () => {
  await node.clock.advance(500);
  const before = reads("listNetworks");
  node.engine.breakEvents();
  await node.clock.advance(20);
  expect(reads("listNetworks")).toBeGreaterThan(before);
});

test("services with a slot are made and started at once, those without are made beside them, a few at a time", async () => {
  node.engine.latencyMs.createContainer = 100;
  node.engine.latencyMs.startContainer = 500;
  node.engine.calls.length = 0;
  node.source.set(Object.fromEntries(["app", ...NAMES].map((name) => [name, buildManifest({})])));
  await node.clock.advance(115);
  const created = node.engine.calls.filter(({ call }) => call === "createContainer").length;
  expect(created).toBeGreaterThanOrEqual(4);
  expect(created).toBeLessThanOrEqual(8);
  // Three rounds of four, each with its probes and a turn.
  expect(await node.until("healthy", NAMES, 60_000)).toBeLessThan(100 + 3 * 500);
});
