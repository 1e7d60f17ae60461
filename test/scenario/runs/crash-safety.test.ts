// kill -9 between any two steps, a lost or damaged state, an engine or a host that restarts: always the same end.

import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { NODE, TestNode, troubleOf } from "../../builders/node/node.ts";

const TEN = Object.fromEntries(
  Array.from({ length: 10 }, (_, index) => [
    `s${index}`,
    buildManifest({
      top: index === 0 ? "" : `requires = ["s${Math.floor((index - 1) / 2)}"]`,
      tables: '[[volumes]]\nname = "v' + String(index) + '"\ntarget = "/data"\n[update]\nsettle = "1s"',
    }).replace("[resources]", 'backup = { none = "test data" }\n[resources]'),
  ]),
);

/** What there is once everything has come to rest, without ids and times. */
function describeEnd(node: TestNode): unknown {
  const containers = [...node.engine.containers.values()].map(({ name, status, detail }) => ({
    name,
    status,
    caps: detail.caps,
  }));
  return {
    containers: containers.toSorted((left, right) => (left.name < right.name ? -1 : 1)),
    volumes: Object.fromEntries(node.engine.volumes),
    networks: [...node.engine.networks.keys()].toSorted(),
  };
}

async function bringUp(node: TestNode): Promise<void> {
  node.source.set(TEN);
  await node.start();
  await node.untilSettled(Object.keys(TEN));
}

test("an agent that is ended in the middle of an apply leaves nothing running in itself", async () => {
  for (let afterMs = 0; afterMs < 600; afterMs += 20) {
    const node = new TestNode();
    node.engine.latencyMs.startContainer = 100;
    node.source.set(TEN);
    await node.start();
    await node.clock.advance(afterMs);
    // Which throws where the agent has left a timer.
    await node.stop();
    const before = { calls: node.engine.calls.length, events: node.events.length };
    await node.clock.advance(600_000);
    const after = { calls: node.engine.calls.length, events: node.events.length };
    expect(after, `ended after ${afterMs} ms`).toEqual(before);
    await node.dispose();
  }
});

describe("kill -9 of the agent during an apply of ten services", () => {
  test("before any call that changes something: the same end state, nothing twice", async () => {
    const reference = new TestNode();
    await bringUp(reference);
    const wanted = describeEnd(reference);
    const calls = reference.engine.calls.length;
    await reference.dispose();
    expect(calls).toBe(31);
    for (let boundary = 1; boundary <= calls; boundary += 1) {
      const node = new TestNode();
      node.source.set(TEN);
      node.engine.dieBeforeCall = boundary;
      await node.start();
      await node.clock.advanceUntil(() => node.engine.dead, 60_000, `call ${boundary}`);
      node.kill();
      await node.start();
      await node.untilSettled(Object.keys(TEN));
      expect(describeEnd(node), `killed before call ${boundary}`).toEqual(wanted);
      const creations = node.engine.calls
        .filter(({ call }) => call === "createContainer")
        .map(({ subject }) => subject);
      expect(new Set(creations).size, `killed before call ${boundary}`).toBe(creations.length);
      await node.dispose();
    }
  });
});

describe("a lost state", () => {
  const losses: [name: string, lose: (stateDir: string) => void][] = [
    ["deleted", (stateDir) => rmSync(stateDir, { recursive: true })],
    ["overwritten with noise", (stateDir) => writeFileSync(join(stateDir, "orca.db"), Buffer.alloc(8_192, 0x5a))],
    [
      "cut to nothing",
      (stateDir) =>
        readdirSync(stateDir).forEach((name) => name.startsWith("orca.db") && writeFileSync(join(stateDir, name), "")),
    ],
  ];

  test.each(losses)("%s under running containers: they are adopted, nothing is touched", async (_name, lose) => {
    const node = new TestNode();
    await bringUp(node);
    await node.stop();
    const before = node.engine.calls.length;
    lose(node.stateDir);
    await node.start();
    await node.untilSettled(Object.keys(TEN));
    expect(node.engine.calls.slice(before)).toEqual([]);
    await node.dispose();
  });

  test("and a repository that is empty now: the brake holds, since the containers themselves are counted", async () => {
    const node = new TestNode();
    await bringUp(node);
    await node.stop();
    rmSync(node.stateDir, { recursive: true });
    const before = node.engine.calls.length;
    node.source.set(Object.fromEntries(Object.keys(TEN).map((name) => [name, undefined])));
    await node.start();
    await node.clock.advance(120_000);
    expect(node.engine.calls.slice(before)).toEqual([]);
    expect(troubleOf(node)).toMatch(/would remove 10 of 10 services/);
    await node.dispose();
  });
});

describe("the engine restarts", () => {
  test("only the starts that are needed, in order, without backoff", async () => {
    const node = new TestNode();
    await bringUp(node);
    const before = node.engine.calls.length;
    node.engine.goDown();
    await node.clock.advance(20_000);
    expect(node.view("s0").state).toBe("unknown");
    node.engine.comeBack();
    await node.untilSettled(Object.keys(TEN), 60_000);
    const calls = node.engine.calls.slice(before);
    expect(new Set(calls.map(({ call }) => call))).toEqual(new Set(["startContainer"]));
    expect(calls).toHaveLength(10);
    const order = calls.map(({ subject }) => node.engine.find(subject)?.request?.service ?? "");
    for (let index = 1; index < 10; index += 1) {
      expect(order.indexOf(`s${Math.floor((index - 1) / 2)}`)).toBeLessThan(order.indexOf(`s${index}`));
    }
    expect(node.view("s9").restarts).toBe(0);
    await node.dispose();
  });

  test("with the agent down too, as in a power loss: the same", async () => {
    const node = new TestNode();
    await bringUp(node);
    const before = node.engine.calls.length;
    node.kill();
    node.engine.goDown();
    await node.clock.advance(600_000);
    node.engine.comeBack();
    node.bootId = "boot-2";
    await node.start();
    await node.untilSettled(Object.keys(TEN), 60_000);
    expect(node.engine.calls.slice(before).map(({ call }) => call)).toEqual(
      Array.from({ length: 10 }, () => "startContainer"),
    );
    await node.dispose();
  });
});

describe("a disk that takes nothing more", () => {
  test("the agent goes on healing and says that its state is not saved", async () => {
    const node = new TestNode();
    node.source.set({ app: buildManifest() });
    await node.start();
    await node.untilSettled(["app"]);
    node.agent.store.save = () => {
      throw new Error("database or disk is full");
    };
    const container = node.engine.running("app");
    if (container === undefined) throw new Error("it does not run");
    node.engine.end(container, 1);
    await node.clock.advance(5_000);
    expect(node.engine.running("app")).toBeDefined();
    expect(
      node.events.some((event) => event.kind === "state-not-saved" && event.message.includes("disk is full")),
    ).toBe(true);
    await node.dispose();
  });
});

test("the node's own label is on everything that was made", async () => {
  const node = new TestNode();
  await bringUp(node);
  for (const container of node.engine.containers.values()) expect(container.labels["orca.node"]).toBe(NODE);
  for (const labels of node.engine.volumes.values()) expect(labels["orca.node"]).toBe(NODE);
  expect(node.engine.networks.get(`orca-${NODE}`)?.labels["orca.node"]).toBe(NODE);
  await node.dispose();
});
