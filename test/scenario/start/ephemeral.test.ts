// Ephemeral volumes: each release of a service begins with an empty one and its seed jobs run again; a restart, a new value of a secret and
// an earlier release keep or find what they had; what no release needs is removed, and nothing else ever is.

import { afterEach, beforeEach, expect, test } from "vitest";

import { EphemeralKeeper } from "../../../agent/prune/ephemeral-keeper.ts";
import { buildStrictPolicy, type Policy } from "../../../shared/policy/policy.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { NODE, TestNode } from "../../builders/node/node.ts";

const ACTOR = { uid: 7, user: "ops" };
const ALLOWED: Policy = { ...buildStrictPolicy(), volumes: { allow_ephemeral: true, foreign: [] } };

let node: TestNode;
let keeper: EphemeralKeeper | undefined;
let removed: string[] = [];
let isAllowed = true;

function openNode(policy: Policy = ALLOWED): TestNode {
  const made = new TestNode({
    settings: { policy },
    openSink: () => ({ hear, close: async () => undefined, isBusy: false }) as never,
  });
  made.engine.images.set("app:3", {});
  made.engine.images.set("seed:1", { endsAfterMs: 1_000, exitCode: 0 });
  return made;
}

beforeEach(() => {
  [removed, isAllowed] = [[], true];
  node = openNode();
});

afterEach(async () => {
  keeper = undefined;
  await node.dispose();
});

function hear(event: AgentEvent): void {
  if (event.kind === "turn") keeper?.follow(event.turn);
}

/** The engine's side of it on the fake: a volume that a container has stays. */
function openKeeper(): EphemeralKeeper {
  const { engine } = node;
  return new EphemeralKeeper({
    node: NODE,
    clock: node.clock,
    volumes: {
      list: async () =>
        [...engine.volumes].flatMap(([name, labels]) =>
          labels["orca.ephemeral"] === undefined ? [] : [{ name, service: labels["orca.service"] ?? "" }],
        ),
      remove: async (name) => {
        const isUsed = [...engine.containers.values()].some(({ detail }) => detail.writes.includes(name));
        return !isUsed && engine.volumes.delete(name);
      },
    },
    isAllowed: () => isAllowed,
    isBusy: () => node.agent.isBusy,
    listReleases: (service, most) => node.agent.store.listReleases(service, most),
    findRelease: (service, fingerprint) => node.agent.store.findRelease(service, fingerprint),
    emit: (event) => {
      if (event.kind === "volume-removed") removed.push(event.volume);
    },
  });
}

function db(image: string, tables = ""): string {
  return buildManifest({
    image,
    top: 'volumes = [{ name = "data", target = "/data", ephemeral = true }]',
    tables: `[update]\nsettle = "5s"\nhealthy_within = "20s"\n${tables}`,
  });
}

/** A job that fills the data through its service. */
const SEED = 'image = "seed:1"\nschedule = "@once"\nrequires = ["db"]\n[resources]\nmemory = "64MiB"\n';

const MOUNTING = `image = "seed:1"\nschedule = "@once"\nvolumes = [{ name = "data", target = "/fill", ephemeral = true }]\n[resources]\nmemory = "64MiB"\n`;

function setMounted(image: string): void {
  node.source.set({ db: `requires = ["seed"]\n${db(image)}`, seed: MOUNTING });
}

async function release(image: string): Promise<void> {
  node.source.set({ db: db(image), seed: SEED });
  await node.clock.advance(1_000);
  await node.untilSettled(["db", "seed"]);
  await node.clock.advance(10_000);
}

/** Somebody asks for the release of that image again. */
async function rollBack(to: string): Promise<void> {
  const before = node.agent.store.listReleases("db", 10).find(({ image }) => image === to);
  const wanted = { fingerprint: before?.fingerprint ?? "", revision: before?.revision ?? "" };
  node.agent.request({ kind: "rollback", service: "db", release: wanted, actor: ACTOR });
  await node.clock.advance(60_000);
}

async function begin(): Promise<void> {
  node.source.set({ db: db("app:1"), seed: SEED });
  keeper = openKeeper();
  await node.start();
  await node.untilSettled(["db", "seed"]);
}

function mounted(): string {
  return node.engine.running("db")?.detail.writes.join() ?? "";
}

/** Containers that the seed job was started in, with the volume that was mounted in the service then. */
function countSeeds(): number {
  const started = node.events.filter((event) => event.kind === "step-done" && event.step.kind === "start-container");
  return started.filter((event) => event.kind === "step-done" && event.lane === "seed").length;
}

test("each release begins with an empty volume of its own, and the seed job runs again once it is healthy", async () => {
  await begin();
  const first = mounted();
  expect(first).toMatch(/^data\.e-[0-9a-f]{8}$/);
  expect(countSeeds()).toBe(1);
  expect(node.view("db").notes.join()).toContain("each release of it begins with an empty data");
  node.engine.images.set("app:2", { healthyAfterMs: 8_000 });
  await release("app:2");
  const second = mounted();
  expect(second).toMatch(/^data\.e-[0-9a-f]{8}$/);
  expect([second === first, countSeeds()]).toEqual([false, 2]);
  // Filled is the new one, and not what the release before had a moment before its end.
  const order = node.events.flatMap((event) =>
    event.kind === "step-done" && event.step.kind === "start-container" ? [event.lane] : [],
  );
  expect(order).toEqual(["db", "seed", "db", "seed"]);
  expect([...node.engine.volumes.keys()]).toEqual([first, second]);
});

test("the volume of the release before stays for a rollback, and goes with the next one", async () => {
  await begin();
  const first = mounted();
  await release("app:2");
  const second = mounted();
  await node.clock.advance(300_000);
  expect([removed, [...node.engine.volumes.keys()]]).toEqual([[], [first, second]]);
  await release("app:3");
  await node.clock.advance(300_000);
  expect([removed, [...node.engine.volumes.keys()]]).toEqual([[first], [second, mounted()]]);
  await rollBack("app:2");
  expect([node.engine.running("db")?.image, mounted()]).toEqual(["app:2", second]);
});

test("a release that fails goes back to the data of the one before, and nothing is filled twice", async () => {
  await begin();
  const first = mounted();
  node.engine.images.set("app:2", { healthyAfterMs: 3_600_000 });
  node.source.set({ db: db("app:2"), seed: SEED });
  await node.clock.advance(180_000);
  expect([node.view("db").state, mounted(), countSeeds()]).toEqual(["rolled-back", first, 1]);
});

test("a crash, a restart of the agent and what only the agent acts on empty nothing", async () => {
  await begin();
  const first = mounted();
  const container = node.engine.running("db");
  if (container !== undefined) node.engine.end(container, 1);
  await node.clock.advance(60_000);
  node.kill();
  await node.start();
  node.source.set({ db: db("app:1", "[slo]\navailability = 99.0\n"), seed: SEED });
  await node.clock.advance(300_000);
  expect([mounted(), countSeeds(), [...node.engine.volumes.keys()], removed]).toEqual([first, 1, [first], []]);
});

test("a job that mounts it has the volume of the release, and runs again with each", async () => {
  setMounted("app:1");
  await node.start();
  await node.untilSettled(["db"]);
  const first = mounted();
  expect(node.engine.of("seed")[0]?.detail.writes).toEqual([first]);
  setMounted("app:2");
  await node.clock.advance(1_000);
  await node.untilSettled(["db"]);
  expect(mounted()).not.toBe(first);
  expect(node.engine.of("seed")[0]?.detail.writes).toEqual([mounted()]);
});

test("a release that fails goes back to its data also where the job that fills it mounts it, by itself and by hand", async () => {
  setMounted("app:1");
  await node.start();
  await node.untilSettled(["db"]);
  const first = mounted();
  node.engine.images.set("app:2", { healthyAfterMs: 3_600_000 });
  setMounted("app:2");
  await node.clock.advance(300_000);
  expect([node.view("db").state, node.engine.running("db")?.image, mounted()]).toEqual(["rolled-back", "app:1", first]);

  setMounted("app:3");
  await node.clock.advance(1_000);
  await node.untilSettled(["db"]);
  expect(mounted()).not.toBe(first);
  await rollBack("app:1");
  expect([node.engine.running("db")?.image, mounted()]).toEqual(["app:1", first]);
});

test("what is no ephemeral volume stays, and where the policy allows none nothing is removed", async () => {
  await begin();
  node.engine.volumes.set("data", { "orca.node": NODE, "orca.service": "db" });
  node.engine.volumes.set("data.r2", { "orca.node": NODE, "orca.volume": "data" });
  isAllowed = false;
  await release("app:2");
  await release("app:3");
  await node.clock.advance(300_000);
  expect(removed).toEqual([]);
  isAllowed = true;
  await node.clock.advance(120_000);
  expect(removed).toHaveLength(1);
  expect([...node.engine.volumes.keys()]).toEqual(expect.arrayContaining(["data", "data.r2", mounted()]));
});

test("the host's policy refuses one unless it says otherwise, and no volume is made", async () => {
  await node.dispose();
  node = openNode(buildStrictPolicy());
  node.source.set({ db: db("app:1") });
  await node.start();
  await node.until("refused", ["db"]);
  expect(node.view("db").reason).toContain("ephemeral volumes are not allowed");
  expect([...node.engine.volumes.keys()]).toEqual([]);
});
