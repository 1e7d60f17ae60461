// Why a container ended and why it starts again: what the agent itself did is nobody's crash and no boot, what a person did is said of
// that person, and what nobody saw is judged by what the engine tells. With the memory lost, too.

import { rmSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ExitRecord } from "../../../shared/state/memory.ts";
import type { Cause } from "../../../shared/state/step.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

let node: TestNode;
const UPDATE = '[update]\nhealthy_within = "1m"\nsettle = "20s"\n';

beforeEach(() => {
  node = new TestNode();
  node.engine.images.set("task:1", { endsAfterMs: 5_000, exitCode: 0 });
  node.engine.images.set("task:2", { endsAfterMs: 5_000, exitCode: 0 });
});

afterEach(() => node.dispose());

function release(image: string): string {
  return buildManifest({ image, tables: UPDATE });
}

/** The causes of starts of a service, oldest first. */
function starts(service: string): Cause[] {
  return node.events.flatMap((event) =>
    event.kind === "operation-ended" &&
    event.outcome.operation.lane === service &&
    event.outcome.operation.steps.some(({ kind }) => kind === "start-container")
      ? [event.outcome.operation.cause]
      : [],
  );
}

function exits(service: string): ExitRecord[] {
  return node.events.flatMap((event) =>
    event.kind === "exited" && event.exit.service === service ? [event.exit] : [],
  );
}

async function bringUp(manifests: Record<string, string>): Promise<void> {
  node.source.set(manifests);
  await node.start();
  await node.clock.advance(60_000);
}

/** Ends the agent, takes its whole state away, and starts another one. */
async function loseState(): Promise<void> {
  await node.stop();
  for (const suffix of ["", "-wal", "-shm"]) rmSync(join(node.stateDir, `orca.db${suffix}`), { force: true });
  node.events.length = 0;
  await node.start();
  await node.clock.advance(5_000);
}

describe("what the agent itself has stopped", () => {
  test("a manifest that is moved away for ten seconds and back: in Git again, no boot", async () => {
    await bringUp({ app: release("app:1"), db: release("app:1") });
    node.source.set({ app: undefined });
    await node.clock.advance(10_000);
    expect(node.engine.running("app")).toBe(undefined);
    node.source.set({ app: release("app:1"), db: release("app:1") });
    await node.untilSettled(["app"]);
    expect(starts("app").at(-1)).toMatchObject({
      kind: "commit",
      detail: expect.stringMatching(/^it is in Git again/),
    });
    expect(exits("app")).toMatchObject([{ requested: "agent", engineStopped: false }]);
  });

  test("a rollback, and its line says once what happened", async () => {
    await bringUp({ app: release("app:1") });
    node.engine.images.set("bad:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
    node.source.set({ app: release("bad:1") });
    const shown: string[] = [];
    await node.clock.advanceUntil(
      () => {
        if (node.view("app").state === "rolled-back") shown.push(node.view("app").reason);
        return node.view("app").state === "rolled-back" && node.engine.running("app")?.image === "app:1";
      },
      200_000,
      "it went back",
    );
    expect(starts("app").at(-1)).toMatchObject({
      kind: "commit",
      detail: expect.stringMatching(/^it goes back to dir:/),
    });
    for (const reason of shown) expect(reason.match(/rolled back to/g)).toHaveLength(1);
    expect(exits("app").filter(({ engineStopped }) => engineStopped)).toEqual([]);
  });

  test("a revert before the new one has settled", async () => {
    await bringUp({ app: release("app:1") });
    node.source.set({ app: release("app:2") });
    await node.clock.advanceUntil(() => node.engine.running("app")?.image === "app:2", 20_000, "app:2");
    await node.clock.advance(2_000);
    node.source.set({ app: release("app:1") });
    await node.untilSettled(["app"]);
    expect(starts("app").at(-1)).toMatchObject({
      kind: "commit",
      detail: expect.stringMatching(/^it is wanted again/),
    });
    expect(exits("app").filter(({ engineStopped }) => engineStopped)).toEqual([]);
  });

  test("also by an agent that was killed right after", async () => {
    await bringUp({ app: release("app:1"), db: release("app:1") });
    node.source.set({ app: undefined });
    await node.clock.advanceUntil(() => node.engine.running("app") === undefined, 20_000, "the stop");
    node.kill();
    node.source.set({ app: release("app:1"), db: release("app:1") });
    await node.start();
    await node.untilSettled(["app"]);
    expect(exits("app")).toMatchObject([{ requested: "agent", engineStopped: false }]);
  });

  test("what it stopped and started again, and then crashes, is a crash", async () => {
    await bringUp({ app: release("app:1"), db: release("app:1") });
    node.source.set({ app: undefined });
    await node.clock.advance(10_000);
    node.engine.images.set("app:1", { endsAfterMs: 0, exitCode: 3 });
    node.source.set({ app: release("app:1"), db: release("app:1") });
    await node.clock.advance(30_000);
    expect(
      exits("app")
        .slice(1)
        .every(({ requested }) => requested === undefined),
    ).toBe(true);
    expect(starts("app").at(-1)).toMatchObject({ kind: "crash" });
    expect(starts("app").length).toBeLessThan(9);
  });
});

test("a container that ends before anybody saw it run is a crash with its backoff, and no boot", async () => {
  node.engine.images.set("quick:1", { endsAfterMs: 0, exitCode: 3 });
  await bringUp({ app: release("quick:1") });
  await node.clock.advance(600_000);
  expect(exits("app").filter(({ engineStopped }) => engineStopped)).toEqual([]);
  expect(starts("app").length).toBeLessThan(20);
});

test("an engine that restarts is a boot, with the memory and without", async () => {
  await bringUp({ app: release("app:1") });
  node.engine.goDown();
  await node.clock.advance(10_000);
  node.engine.comeBack();
  await node.untilSettled(["app"]);
  expect(exits("app")).toMatchObject([{ engineStopped: true }]);
  expect(starts("app").at(-1)).toMatchObject({ kind: "boot" });
  node.engine.goDown();
  await node.clock.advance(1_000);
  node.engine.comeBack();
  await loseState();
  expect(exits("app")).toMatchObject([{ engineStopped: true }]);
});

test("an engine that is told to end stops everything first: nobody's hand, nothing is started in it, and then it is a boot", async () => {
  await bringUp({ app: release("app:1"), db: release("app:1") });
  node.engine.goingDown = true;
  const calls = node.engine.calls.length;
  for (const name of ["app", "db"]) {
    const container = node.engine.running(name);
    if (container === undefined) throw new Error(`${name} does not run`);
    node.engine.end(container, 143, { byHand: "15" });
    await node.clock.advance(3_000);
  }
  expect(node.engine.calls).toHaveLength(calls);
  expect(node.view("app").reason).toContain("it is going down");
  node.engine.goDown();
  await node.clock.advance(5_000);
  node.engine.comeBack();
  await node.untilSettled(["app", "db"]);
  expect([...exits("app"), ...exits("db")].map(({ requested, engineStopped }) => [requested, engineStopped])).toEqual([
    [undefined, true],
    [undefined, true],
  ]);
  expect(starts("app").at(-1)).toMatchObject({ kind: "boot" });
});

test("docker stop by a person is said to be one", async () => {
  await bringUp({ app: release("app:1") });
  const container = node.engine.running("app");
  if (container !== undefined) node.engine.end(container, 143, { byHand: "15" });
  await node.clock.advance(5_000);
  expect(exits("app")).toMatchObject([{ requested: "by-hand", engineStopped: false }]);
  expect(starts("app").at(-1)).toMatchObject({ kind: "drift", detail: "it was stopped by hand" });
});

describe("docker rename", () => {
  test("by a person is told, and put right without a restart", async () => {
    await bringUp({ app: release("app:1") });
    const container = node.engine.running("app");
    if (container === undefined) throw new Error("app does not run");
    const { name } = container;
    node.engine.touch(container, "rename", (renamed) => void (renamed.name = "mine"));
    await node.clock.advance(2_000);
    expect(container).toMatchObject({ name, run: 1 });
    const causes = node.events.flatMap((event) => (event.kind === "step-done" ? [event] : []));
    expect(causes.at(-1)).toMatchObject({
      step: { kind: "rename-container" },
      cause: { kind: "drift", detail: "its container was renamed to mine by hand" },
    });
  });

  test("and its name given to another one: said, with what holds it, and it serves on", async () => {
    await bringUp({ app: release("app:1") });
    const container = node.engine.running("app");
    if (container === undefined) throw new Error("app does not run");
    const { name } = container;
    node.engine.touch(container, "rename", (renamed) => void (renamed.name = "mine"));
    node.engine.addForeign(name);
    await node.clock.advance(60_000);
    expect(node.view("app").state).toBe("healthy");
    expect(node.view("app").reason).toMatch(/its container was renamed to mine by hand: .*is already in use/);
    expect(container.run).toBe(1);
  });
});

describe("the state directory is lost", () => {
  const job = (image: string): string =>
    `image = "${image}"\nschedule = "@once"\n[resources]\nmemory = "64MiB"\n[env]\nA = "1"\n`;

  test("a @once job whose ended container is there has run, and what it gates starts at once", async () => {
    const app = buildManifest({ top: 'requires = ["task"]', tables: UPDATE });
    await bringUp({ task: job("task:1"), app });
    const [first] = node.engine.of("task");
    const running = node.engine.running("app");
    if (running === undefined) throw new Error("app does not run");
    node.engine.end(running, 1);
    await loseState();
    expect(node.engine.of("task").map(({ id, run }) => [id, run])).toEqual([[first?.id, 1]]);
    expect(node.view("task").state).toBe("completed");
    expect(node.engine.running("app")).toBeDefined();
  });

  test("the same after a reboot of the host meanwhile", async () => {
    await bringUp({ task: job("task:1") });
    node.engine.goDown();
    node.engine.comeBack();
    await loseState();
    expect(node.engine.of("task")[0]?.run).toBe(1);
    expect(node.view("task").state).toBe("completed");
  });

  test("a job that failed, or that had another spec, runs", async () => {
    node.engine.images.set("task:2", { endsAfterMs: 5_000, exitCode: 7 });
    await bringUp({ failed: job("task:2"), other: job("task:1") });
    node.source.set({ failed: job("task:2"), other: job("task:1").replace("A", "B") });
    await loseState();
    await node.clock.advance(60_000);
    expect(starts("failed").length).toBeGreaterThan(0);
    expect(starts("other")).toHaveLength(1);
  });
});

describe("caps that are changed in place", () => {
  const capped = (memory: string): string => buildManifest({ memory, tables: UPDATE });

  /** What was said of each change of caps, oldest first. */
  function capCauses(): object[] {
    return node.events.flatMap((event) =>
      event.kind === "step-done" && event.step.kind === "update-caps"
        ? [{ kind: event.cause.kind, uid: event.cause.uid, code: event.cause.why.code, revision: event.cause.revision }]
        : [],
    );
  }

  async function commit(memory: string): Promise<string> {
    node.source.set({ app: capped(memory) });
    await node.clock.advance(40_000);
    return node.view("app").desiredRevision ?? "";
  }

  test("a commit's are the commit's, a hand's are drift, a rollback's are the person's; and each shows the revision that runs", async () => {
    await bringUp({ app: capped("64MiB") });
    const first = node.view("app").revision ?? "";
    const second = await commit("128MiB");
    expect(node.view("app").revision).toBe(second);
    const third = await commit("256MiB");
    expect(new Set([first, second, third]).size).toBe(3);
    const container = node.engine.running("app");
    if (container === undefined) throw new Error("app does not run");
    expect(container.run).toBe(1);
    const caps = { ...container.detail.caps, memoryBytes: 2 ** 30 };
    node.engine.touch(container, "update", ({ detail }) => (detail.caps = caps));
    await node.clock.advance(2_000);
    const kept = node.agent.store.listReleases("app", 5).find(({ revision }) => revision === second);
    if (kept === undefined) throw new Error("it is not kept");
    node.agent.request({ kind: "rollback", service: "app", release: kept, actor: { uid: 1000, user: "ada" } });
    await node.until("rolled-back", ["app"]);
    await node.clock.advance(2_000);
    expect(capCauses()).toEqual([
      { kind: "config", code: "new-caps", revision: second, uid: undefined },
      { kind: "config", code: "new-caps", revision: third, uid: undefined },
      { kind: "drift", code: "caps-differ", revision: undefined, uid: undefined },
      { kind: "operator", code: "release-asked", revision: second, uid: 1000 },
    ]);
    // The container was made at the first one and kept ever since.
    expect(node.engine.running("app")?.run).toBe(1);
    expect(node.view("app").revision).toBe(second);
    expect(node.view("app").reason).toContain(`rolled back to ${second}`);
  });
});

test("the network and the hosts file of a new node are no drift", async () => {
  await bringUp({ app: release("app:1") });
  const causes = node.events.flatMap((event) =>
    event.kind === "step-done" && ["ensure-network", "write-hosts"].includes(event.step.kind) ? [event.cause.kind] : [],
  );
  expect(new Set(causes)).toEqual(new Set(["first-start"]));
});
