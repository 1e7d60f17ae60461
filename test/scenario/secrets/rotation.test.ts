// A secret that changes: the services that use it take it one at a time, what others require first, each only when the one
// before has settled; one that fails with it goes back to the old value and stops the line.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { listCauses } from "../../builders/node/delivered.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { type NodeChoices, TestNode } from "../../builders/node/node.ts";
import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import { FakeSecrets } from "../../fakes/fake-secrets.ts";

const PATH = "/prod/shared/PASSWORD";

function manifestOf(kind: "file" | "env" | "signal", top = ""): string {
  const tables = {
    file: `[secrets.files]\npassword = "${PATH}"`,
    env: `[secrets.env]\nPASSWORD = "${PATH}"`,
    signal: `[secrets]\non_rotate = { signal = "SIGHUP" }\n[secrets.files]\npassword = "${PATH}"`,
  }[kind];
  return buildManifest({ top, tables: `[update]\nsettle = "5s"\nhealthy_within = "30s"\n${tables}` });
}

/** What runs of a service, with the value that lies beside each. */
function listRunning(node: TestNode, service: string): { id: string; value: string }[] {
  return node.engine.of(service).flatMap(({ id, status, request }) => {
    const bind = request?.binds.find(({ target }) => target === "/run/secrets");
    if (status !== "running" || bind === undefined) return [];
    return [{ id, value: readFileSync(join(bind.source, "password"), "utf8") }];
  });
}

const nodes: TestNode[] = [];

afterEach(async () => {
  for (const node of nodes.splice(0)) await node.dispose();
});

async function bringUp(
  manifests: Record<string, string>,
  choices: NodeChoices = {},
): Promise<{ node: TestNode; secrets: FakeSecrets }> {
  const secrets = new FakeSecrets();
  secrets.values.set(PATH, "old value");
  const node = new TestNode({ ...choices, secrets });
  nodes.push(node);
  node.source.set(manifests);
  await node.start();
  await node.untilSettled(Object.keys(manifests));
  return { node, secrets };
}

function readDelivered(node: TestNode, service: string): string[] {
  const root = join(node.runDir, "secrets", service);
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((file) => file.name === "password");
  return files.map((file) => readFileSync(join(file.parentPath, file.name), "utf8"));
}

function valueIn(node: TestNode, service: string): string | undefined {
  return node.engine.running(service)?.request?.extraEnv["PASSWORD"];
}

/** When containers of services were started, in order. */
function listStarts(node: TestNode): { service: string; atMs: number }[] {
  return node.events.flatMap((event) =>
    event.kind === "step-done" && event.step.kind === "start-container"
      ? [{ service: event.lane, atMs: event.atMs }]
      : [],
  );
}

test("five services take it one after the other, in the order of what they require, each after the one before has settled", async () => {
  const { node, secrets } = await bringUp({
    a: manifestOf("env", 'requires = ["c"]'),
    b: manifestOf("file", 'requires = ["a"]'),
    c: manifestOf("file"),
    // Requires c through a service that does not use the secret.
    d: manifestOf("file", 'requires = ["plain"]'),
    plain: buildManifest({ top: 'requires = ["b"]', tables: '[update]\nsettle = "5s"' }),
  });
  const before = listStarts(node).length;
  secrets.set({ [PATH]: "new value" });
  await node.clock.advance(120_000);
  const starts = listStarts(node).slice(before);
  expect(starts.map((start) => start.service)).toEqual(["c", "a", "b", "d"]);
  for (const [index, start] of starts.entries())
    if (index > 0) {
      const gapMs = start.atMs - (starts[index - 1]?.atMs ?? 0);
      expect(gapMs).toBeGreaterThanOrEqual(5_000);
      // And not at the next look at everything, half a minute later.
      expect(gapMs).toBeLessThan(7_000);
    }
  expect(valueIn(node, "a")).toBe("new value");
  for (const service of ["b", "c", "d"]) expect(readDelivered(node, service)).toEqual(["new value"]);
});

test("a service that fails with the new value goes back to the old one, and the next one keeps the old one", async () => {
  const { node, secrets } = await bringUp({ a: manifestOf("env"), b: manifestOf("env", 'requires = ["a"]') });
  node.engine.rejects = (request) => request.extraEnv["PASSWORD"] === "bad value";
  secrets.set({ [PATH]: "bad value" });
  await node.until("rolled-back", ["a"]);
  await node.clock.advance(120_000);
  expect(node.view("a").state).toBe("rolled-back");
  expect(valueIn(node, "a")).toBe("old value");
  expect(valueIn(node, "b")).toBe("old value");
  expect(node.view("b")).toMatchObject({ state: "healthy", settled: true });
  // The same after a restart of the agent: nothing is tried again by itself.
  const calls = node.engine.calls.length;
  await node.stop();
  await node.start();
  await node.clock.advance(60_000);
  expect(node.engine.calls.length).toBe(calls);
  // A value that works lets the line move on.
  secrets.set({ [PATH]: "good value" });
  await node.clock.advance(60_000);
  expect([valueIn(node, "a"), valueIn(node, "b")]).toEqual(["good value", "good value"]);
  expect(node.view("a")).toMatchObject({ state: "healthy", settled: true });
});

test("a file: the old value is put back in place where the service is unhealthy with the new one", async () => {
  const { node, secrets } = await bringUp({ a: manifestOf("signal") });
  const container = node.engine.running("a")?.id ?? "";
  secrets.set({ [PATH]: "bad value" });
  await node.clock.advance(1_000);
  expect(readDelivered(node, "a")).toEqual(["bad value"]);
  expect(node.engine.calls.at(-1)).toEqual({ call: "signalContainer", subject: `${container} SIGHUP` });
  node.sick.add(container);
  await node.clock.advanceUntil(() => readDelivered(node, "a")[0] === "old value", 120_000, "the old value is back");
  node.sick.delete(container);
  await node.until("rolled-back", ["a"]);
});

test("a signal, where the manifest asks for one: the container stays, and sees the new file", async () => {
  const { node, secrets } = await bringUp({ a: manifestOf("signal") });
  const container = node.engine.running("a")?.id;
  const before = node.engine.calls.length;
  secrets.set({ [PATH]: "new value" });
  await node.clock.advance(60_000);
  expect(node.engine.running("a")?.id).toBe(container);
  expect(node.engine.calls.slice(before).map(({ call }) => call)).toEqual(["signalContainer"]);
  expect(readDelivered(node, "a")).toEqual(["new value"]);
  expect(node.view("a")).toMatchObject({ state: "healthy", settled: true });
});

test("the cause of each is the new value, by its path; a commit that comes with it is a commit", async () => {
  const { node, secrets } = await bringUp({
    env: manifestOf("env"),
    file: manifestOf("file"),
    signal: manifestOf("signal"),
  });
  const since = node.events.length;
  secrets.set({ [PATH]: "new value" });
  await node.clock.advance(120_000);
  const cause = `rotation: ${PATH} has a new value`;
  expect(listCauses(node, "env", since)).toEqual([
    cause,
    `${cause}: it has settled with that, and the agent removes the container before it`,
  ]);
  expect(listCauses(node, "file", since)).toEqual([cause]);
  expect(listCauses(node, "signal", since)).toEqual([cause]);
  secrets.set({ [PATH]: "newest value" });
  node.source.set({ env: manifestOf("env", 'command = ["serve"]') });
  const later = node.events.length;
  await node.clock.advance(120_000);
  expect(listCauses(node, "env", later)[0]).toMatch(/^commit: new spec from /);
  expect(valueIn(node, "env")).toBe("newest value");
});

test("a value that changes while one service has not settled: every service ends with the newest", async () => {
  const { node, secrets } = await bringUp({ a: manifestOf("env"), b: manifestOf("env", 'requires = ["a"]') });
  secrets.set({ [PATH]: "second value" });
  await node.clock.advance(2_000);
  secrets.set({ [PATH]: "third value" });
  await node.clock.advance(120_000);
  expect([valueIn(node, "a"), valueIn(node, "b")]).toEqual(["third value", "third value"]);
});

test("kill -9 in the middle: the line goes on where it was", async () => {
  const { node, secrets } = await bringUp({ a: manifestOf("env"), b: manifestOf("env", 'requires = ["a"]') });
  secrets.set({ [PATH]: "new value" });
  await node.clock.advance(2_000);
  node.kill();
  await node.start();
  await node.clock.advance(120_000);
  expect([valueIn(node, "a"), valueIn(node, "b")]).toEqual(["new value", "new value"]);
  expect(node.engine.of("a").length).toBe(1);
});

describe("start-first with a secret in a file", () => {
  const FRONT = "a.front";
  const fronted = buildManifest({
    top: 'ports = ["8080:80"]',
    tables: `[update]\norder = "start-first"\nsettle = "5s"\nhealthy_within = "30s"\ndrain = "2s"\n[secrets.files]\npassword = "${PATH}"`,
  });

  async function begin(): Promise<{ node: TestNode; secrets: FakeSecrets; before: string }> {
    const secrets = new FakeSecrets();
    secrets.values.set(PATH, "old value");
    const node = new TestNode({ settings: { frontImage: FRONT_IMAGE }, secrets });
    nodes.push(node);
    node.engine.images.set(FRONT_IMAGE, {});
    node.source.set({ a: fronted, b: manifestOf("file") });
    await node.start();
    await node.untilSettled(["a", FRONT, "b"]);
    return { node, secrets, before: node.engine.running("a")?.id ?? "" };
  }

  test("a new value comes with a container beside the old one, which has its own, and nobody is without traffic", async () => {
    const { node, secrets, before } = await begin();
    node.fronts.switches.length = 0;
    const since = node.events.length;
    secrets.set({ [PATH]: "new value" });
    await node.clock.advanceUntil(() => listRunning(node, "a").length === 2, 5_000, "both run");
    expect(listRunning(node, "a")).toEqual(
      expect.arrayContaining([
        { id: before, value: "old value" },
        { id: expect.anything(), value: "new value" },
      ]),
    );
    // The other that takes it waits until this one has settled.
    expect(readDelivered(node, "b")).toEqual(["old value"]);
    await node.untilSettled(["a"]);
    await node.clock.advance(5_000);
    expect(listRunning(node, "a").map(({ value }) => value)).toEqual(["new value"]);
    expect(readDelivered(node, "a")).toEqual(["new value"]);
    expect(node.fronts.switches).toHaveLength(1);
    expect(node.fronts.switches).not.toContain(undefined);
    expect(listCauses(node, "a", since)).toEqual([`rotation: ${PATH} has a new value`]);
    await node.clock.advance(60_000);
    expect(readDelivered(node, "b")).toEqual(["new value"]);
    // Nothing else is planned, also by an agent that starts anew.
    const calls = node.engine.calls.length;
    await node.stop();
    await node.start();
    await node.clock.advance(60_000);
    expect(node.engine.calls.slice(calls)).toEqual([]);
  });

  test("one that fails with it never got a request, and the old one goes on with its own value", async () => {
    const { node, secrets, before } = await begin();
    const run = node.engine.running("a")?.detail.startedMs;
    const { writer } = node.engine;
    const start = writer.startContainer.bind(writer);
    writer.startContainer = async (id) => {
      await start(id);
      if (listRunning(node, "a").some((entry) => entry.id === id && entry.value === "bad value")) node.sick.add(id);
    };
    node.fronts.switches.length = 0;
    secrets.set({ [PATH]: "bad value" });
    await node.until("rolled-back", ["a"]);
    await node.clock.advance(60_000);
    expect(listRunning(node, "a")).toEqual([{ id: before, value: "old value" }]);
    expect([node.engine.find(before)?.detail.startedMs, node.fronts.switches]).toEqual([run, []]);
    expect(readDelivered(node, "b")).toEqual(["old value"]);
  });
});
