// Generations of a volume: which one is in force stands in the memory and on the container; a switch makes a new container, an earlier
// release keeps the data of today, and where nobody knows which is in force the service is held.

import { rmSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { NODE, TestNode } from "../../builders/node/node.ts";

let node: TestNode;

beforeEach(() => {
  node = new TestNode();
});

afterEach(() => node.dispose());

const VOLUMES = 'backup = { none = "a test" }\nvolumes = [{ name = "data", target = "/data" }]';
const ACTOR = { uid: 7, user: "ops" };

function manifest(image = "app:1"): string {
  return buildManifest({ image, top: VOLUMES, tables: '[update]\nsettle = "5s"\nhealthy_within = "20s"\n' });
}

function makeGeneration(name: string, base = "data"): void {
  node.engine.volumes.set(name, { "orca.node": NODE, "orca.volume": base });
}

function mounted(): string[] {
  return node.engine.running("app")?.detail.writes.toSorted() ?? [];
}

async function begin(): Promise<void> {
  node.source.set({ app: manifest() });
  await node.start();
  await node.untilSettled(["app"]);
}

async function use(generation: string): Promise<void> {
  node.agent.request({ kind: "use-volume", service: "app", volume: "data", generation, actor: ACTOR });
  await node.clock.advance(1_000);
  await node.untilSettled(["app"]);
  await node.clock.advance(5_000);
}

/** Its container ends, and nobody asked for it. */
function endRun(exitCode: number): string {
  const container = node.engine.running("app");
  if (container === undefined) throw new Error("nothing runs");
  node.engine.end(container, exitCode);
  return container.id;
}

/** The state is gone: what is remembered, and nothing of the engine. */
function loseStore(): void {
  node.kill();
  for (const end of ["", "-wal", "-shm"]) rmSync(join(node.stateDir, `orca.db${end}`), { force: true });
}

test("the volume that is chosen is mounted by a new container, with its cause, and nothing is done twice", async () => {
  await begin();
  expect(mounted()).toEqual(["data"]);
  makeGeneration("data.r2");
  await use("data.r2");
  expect(mounted()).toEqual(["data.r2"]);
  expect(node.engine.of("app")).toHaveLength(1);
  const started = node.events.filter((event) => event.kind === "step-done" && event.step.kind === "create-container");
  expect(started.at(-1)).toMatchObject({
    cause: { kind: "operator", detail: "it gets its data from data.r2", uid: 7 },
  });
  const calls = node.engine.calls.length;
  await node.clock.advance(600_000);
  node.kill();
  await node.start();
  await node.clock.advance(600_000);
  expect(node.engine.calls.slice(calls)).toEqual([]);
  expect([...node.engine.volumes.keys()]).toEqual(["data", "data.r2"]);
});

test("a new image, and a rollback to an older one, keep the volume that is in force", async () => {
  await begin();
  makeGeneration("data.r2");
  await use("data.r2");
  node.source.set({ app: manifest("app:2") });
  await node.clock.advance(1_000);
  await node.untilSettled(["app"]);
  expect([node.engine.running("app")?.image, mounted()]).toEqual(["app:2", ["data.r2"]]);
  const before = node.agent.store.listReleases("app", 10).find(({ image }) => image === "app:1");
  node.agent.request({
    kind: "rollback",
    service: "app",
    release: { fingerprint: before?.fingerprint ?? "", revision: before?.revision ?? "" },
    actor: ACTOR,
  });
  await node.clock.advance(30_000);
  expect([node.engine.running("app")?.image, mounted()]).toEqual(["app:1", ["data.r2"]]);
});

test("a release that fails goes back to the one before, and to no other data", async () => {
  await begin();
  makeGeneration("data.r2");
  await use("data.r2");
  node.engine.images.set("app:2", { endsAfterMs: 100 });
  node.source.set({ app: manifest("app:2") });
  await node.clock.advance(120_000);
  expect(node.view("app").state).toBe("rolled-back");
  expect([node.engine.running("app")?.image, mounted()]).toEqual(["app:1", ["data.r2"]]);
});

test("under another name of the service the volume in force stays the same", async () => {
  await begin();
  makeGeneration("data.r2");
  await use("data.r2");
  node.source.set({
    app: undefined,
    web: buildManifest({ image: "app:1", top: `moved_from = "${NODE}/app"\n${VOLUMES}` }),
  });
  await node.untilSettled(["web"]);
  expect(node.engine.running("web")?.detail.writes).toEqual(["data.r2"]);
});

test("with the store lost, a container that runs says which one is in force", async () => {
  await begin();
  makeGeneration("data.r2");
  await use("data.r2");
  const { id } = node.engine.running("app") ?? {};
  loseStore();
  await node.start();
  await node.clock.advance(60_000);
  expect([node.engine.running("app")?.id, node.view("app").state]).toEqual([id, "healthy"]);
  // It is remembered from then on, also when nothing runs.
  node.engine.remove(id ?? "");
  await node.clock.advance(60_000);
  expect(mounted()).toEqual(["data.r2"]);
});

test("with the store lost and nothing running, a service with several is held until a person chooses", async () => {
  await begin();
  makeGeneration("data.r2");
  await use("data.r2");
  loseStore();
  node.engine.remove(node.engine.running("app")?.id ?? "");
  await node.start();
  await node.until("held", ["app"]);
  await node.clock.advance(120_000);
  expect(node.engine.running("app")).toBe(undefined);
  expect(node.view("app").fact).toMatchObject({
    code: "generation-unknown",
    volume: "data",
    there: ["data", "data.r2"],
  });
  expect(node.view("app").reason).toBe(
    "there are several volumes with its data (data, data.r2), and nobody knows which was in force: " +
      "orca backup restore app --use data.r2 begins with that one",
  );
  await use("data");
  expect(mounted()).toEqual(["data"]);
});

test("a stopped container of the first volume is no word on which is in force", async () => {
  await begin();
  makeGeneration("data.r2");
  endRun(0);
  loseStore();
  await node.start();
  await node.until("held", ["app"]);
  expect(node.engine.running("app")).toBe(undefined);
  await use("data.r2");
  expect(mounted()).toEqual(["data.r2"]);
});

test("the only one there is in force, and none is made beside it", async () => {
  makeGeneration("data.r3");
  await begin();
  expect(mounted()).toEqual(["data.r3"]);
  expect([...node.engine.volumes.keys()]).toEqual(["data.r3"]);
});

test("where the one in force was removed by hand, no empty one takes its place", async () => {
  await begin();
  makeGeneration("data.r2");
  await use("data.r2");
  node.engine.remove(node.engine.running("app")?.id ?? "");
  node.engine.volumes.delete("data.r2");
  await node.until("held", ["app"]);
  await node.clock.advance(60_000);
  expect(node.view("app").reason).toContain("its data was in the volume data.r2, which is gone");
  expect([...node.engine.volumes.keys()]).toEqual(["data"]);
});

test("a restart while another one is being filled is none that waits: the memory names the one in force", async () => {
  await begin();
  await use("data");
  makeGeneration("data.r2");
  const id = endRun(1);
  await node.clock.advance(30_000);
  expect([node.engine.running("app")?.id, mounted()]).toEqual([id, ["data"]]);
});
