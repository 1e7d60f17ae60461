// Containers of ours that the engine holds on to in a way that no further start gets over: made anew, asked for again with a backoff, and
// said; never the release's fault, and never a spin.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { EngineError } from "../../../agent/docker/reader.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import type { FakeContainer } from "../../fakes/fake-container.ts";

let node: TestNode;
const UPDATE = '[update]\nhealthy_within = "1m"\nsettle = "5s"\n';

beforeEach(async () => {
  node = new TestNode();
  node.source.set({ app: buildManifest({ tables: UPDATE }) });
  await node.start();
  await node.untilSettled(["app"]);
  node.engine.calls.length = 0;
});

afterEach(() => node.dispose());

function only(): FakeContainer {
  const [container] = node.engine.of("app");
  if (container === undefined) throw new Error("there is no container");
  return container;
}

function count(call: string): number {
  return node.engine.calls.filter((entry) => entry.call === call).length;
}

const TASK = new EngineError("failed to create shim task: task 4b3a6cc7 already exists: unknown", 500);
const ENDPOINT = new EngineError("endpoint with name orca-vm1-app already exists in network orca", 403);

test.each([
  ["its task", TASK],
  ["its endpoint", ENDPOINT],
])(
  "an engine that was killed in the middle of a start holds on to %s: the container is made anew at once",
  async (_name, error) => {
    const stuck = only();
    node.engine.host.leftOver.set(stuck.id, { start: error });
    node.engine.end(stuck, 137);
    await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 10_000, "it runs again");
    expect(only().id).not.toBe(stuck.id);
    await node.untilSettled(["app"]);
  },
);

test("a new release whose container is stuck is made anew, and is not rolled back for it", async () => {
  node.engine.images.set("app:2", {});
  node.engine.latencyMs.startContainer = 500;
  node.source.set({ app: buildManifest({ image: "app:2", tables: UPDATE }) });
  const created = (): FakeContainer | undefined => node.engine.of("app").find((entry) => entry.image === "app:2");
  await node.clock.advanceUntil(() => created() !== undefined, 20_000, "the new container");
  node.engine.host.leftOver.set(created()?.id ?? "", { start: TASK });
  await node.untilSettled(["app"], 60_000);
  expect(node.engine.running("app")?.image).toBe("app:2");
});

test("what is stuck again and again is made anew with a growing wait, its reason is said, and it comes back with the engine", async () => {
  const stubborn = (): void => void node.engine.host.leftOver.set(only().id, { start: TASK });
  const createContainer = node.engine.writer.createContainer.bind(node.engine.writer);
  let broken = true;
  Object.assign(node.engine.writer, {
    createContainer: async (request: Parameters<typeof createContainer>[0]) => {
      const id = await createContainer(request);
      if (broken) node.engine.host.leftOver.set(id, { start: TASK });
      return id;
    },
  });
  stubborn();
  node.engine.end(only(), 137);
  await node.clock.advance(600_000);
  expect(node.view("app").reason).toContain("task 4b3a6cc7 already exists");
  expect(node.view("app").state).toBe("backoff");
  expect(count("startContainer")).toBeLessThan(12);
  expect(count("startContainer")).toBeGreaterThan(4);
  broken = false;
  await node.untilSettled(["app"], 700_000);
});

test("a removal that does not come to an end is asked for again, with a backoff, and what is gone is made anew", async () => {
  const old = only();
  node.engine.end(old, 137);
  old.status = "removing";
  node.engine.host.leftOver.set(old.id, {
    remove: new EngineError(`removal of container ${old.id} is already in progress`, 409),
  });
  await node.clock.advance(3_000);
  expect(node.view("app").reason).toBe("somebody removes its container; it is made anew when that is gone");
  expect(count("removeContainer")).toBe(0);
  await node.clock.advance(300_000);
  expect(node.view("app").reason).toContain("is already in progress");
  expect(count("removeContainer")).toBeGreaterThan(2);
  expect(count("removeContainer")).toBeLessThan(12);
  node.engine.host.leftOver.clear();
  node.engine.remove(old.id);
  await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 5_000, "it runs again");
});

test("a container that the engine calls dead and cannot remove is no spin", async () => {
  const old = only();
  node.engine.end(old, 137);
  old.status = "dead";
  node.engine.host.leftOver.set(old.id, { remove: new EngineError("device or resource busy", 500) });
  await node.clock.advance(600_000);
  expect(node.view("app")).toMatchObject({ state: "backoff" });
  expect(node.view("app").reason).toContain("device or resource busy");
  expect(count("removeContainer")).toBeLessThan(12);
  node.engine.host.leftOver.clear();
  await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 310_000, "it runs again");
});

test("a stop that fails is tried again after a while, and no spin", async () => {
  node.engine.writer.stopContainer = async (id) => {
    node.engine.calls.push({ call: "stopContainer", subject: id });
    throw new EngineError("tried to kill container, but did not receive an exit event", 500);
  };
  node.source.set({ app: buildManifest({ top: 'state = "stopped"', tables: UPDATE }) });
  await node.clock.advance(600_000);
  expect(node.view("app").reason).toContain("did not receive an exit event");
  expect(count("stopContainer")).toBeLessThan(12);
});

test("a restart policy that somebody gave it makes the engine restart it: that is ended, and the agent starts it", async () => {
  const container = only();
  container.status = "restarting";
  container.detail.restartPolicy = "always";
  node.engine.touch(container, "update", () => undefined);
  await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 30_000, "it runs");
  expect(container.detail.restartPolicy).toBe("no");
});

describe("a store that a dying engine cannot write any more is the engine's trouble", () => {
  const STORE = new EngineError(
    "failed to update store for object type *libnetwork.endpointCnt: open /var/lib/docker/network/files/local-kv.db: bad file descriptor",
    500,
  );

  test("of a start after a crash: the same container is started when the engine is well", async () => {
    const own = only();
    node.engine.host.leftOver.set(own.id, { start: STORE });
    node.engine.end(own, 1);
    await node.clock.advanceUntil(
      () => node.view("app").reason.includes("failed to update store"),
      20_000,
      "its reason",
    );
    await node.clock.advance(120_000);
    // Neither a spin nor the release's fault, and nothing is thrown away for it.
    expect(count("startContainer")).toBeLessThan(12);
    expect(count("removeContainer")).toBe(0);
    expect(node.view("app").nextMs).toBeGreaterThan(node.clock.nowMs());
    node.engine.host.leftOver.clear();
    await node.untilSettled(["app"], 400_000);
    expect(only().id).toBe(own.id);
  });

  test.each([
    ["its task", TASK],
    ["its endpoint", ENDPOINT],
  ])(
    "and the next engine holds on to %s: the container is made anew, and nothing is rolled back",
    async (_name, error) => {
      const own = only();
      node.engine.host.leftOver.set(own.id, { start: STORE });
      node.engine.end(own, 137);
      await node.clock.advanceUntil(
        () => node.view("app").reason.includes("failed to update store"),
        20_000,
        "its reason",
      );
      node.engine.goDown();
      await node.clock.advance(5_000);
      node.engine.host.leftOver.set(own.id, { start: error });
      node.engine.comeBack();
      await node.untilSettled(["app"], 60_000);
      expect(only().id).not.toBe(own.id);
      expect([count("removeContainer"), count("createContainer")]).toEqual([1, 1]);
      expect(node.view("app").state).toBe("healthy");
    },
  );

  test("of a new release: its time stands still, and it is not rolled back", async () => {
    node.engine.images.set("app:2", {});
    node.source.set({ app: buildManifest({ image: "app:2", tables: UPDATE }) });
    const made = (): FakeContainer | undefined => node.engine.of("app").find((entry) => entry.image === "app:2");
    node.engine.latencyMs.startContainer = 500;
    await node.clock.advanceUntil(() => made() !== undefined, 20_000, "the new container");
    node.engine.host.leftOver.set(made()?.id ?? "", { start: STORE });
    await node.clock.advance(300_000);
    expect(node.view("app").state).not.toBe("rolled-back");
    node.engine.host.leftOver.clear();
    await node.untilSettled(["app"], 400_000);
    expect(node.engine.running("app")?.image).toBe("app:2");
  });
});
