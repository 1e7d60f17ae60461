// An agent that starts, after an update, a stop or a kill, changes nothing that serves: not the fronts' traffic, not a container
// because of its first probe, not a file, and nothing of what status shows.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import type { FakeContainer } from "../../fakes/fake-container.ts";

let node: TestNode;
const FRONT = "app.front";
const ALL = ["app", FRONT, "db"];

beforeEach(() => {
  node = new TestNode({ settings: { frontImage: FRONT_IMAGE } });
  node.engine.images.set(FRONT_IMAGE, {});
  node.source.setFile("files/a.conf", "one");
});

afterEach(() => node.dispose());

const FILES = '[[files]]\nsource = "files/a.conf"\ntarget = "/etc/a.conf"\non_change = { exec = ["/reload"] }\n';

function release(image: string): string {
  const tables = '[update]\norder = "start-first"\nsettle = "20s"\ndrain = "15s"\n';
  const health = 'tcp = { port = 80 }\ninterval = "5s"\nretries = 3';
  return buildManifest({ image, health, top: 'ports = ["8080:80"]', tables });
}

async function begin(): Promise<FakeContainer> {
  const health = 'tcp = { port = 80 }\ninterval = "5s"\nretries = 3';
  node.source.set({ app: release("app:1"), db: buildManifest({ health, tables: FILES }) });
  await node.start();
  await node.untilSettled(ALL);
  await node.clock.advance(60_000);
  return served();
}

/** The container that gets the traffic. */
function served(): FakeContainer {
  const address = node.fronts.serving(FRONT);
  const found = node.engine.of("app").find((entry) => [...entry.networks.values()].includes(address ?? "none"));
  if (found === undefined) throw new Error(`nobody gets the traffic (${address ?? "nobody was named"})`);
  return found;
}

const ENDS: Record<string, () => Promise<void>> = {
  killed: async () => node.kill(),
  stopped: () => node.stop(),
};

/** Ends the agent and starts the next one; what was seen before is forgotten. */
async function restart(end: keyof typeof ENDS = "killed"): Promise<void> {
  await ENDS[end]?.();
  await node.clock.advance(2_000);
  node.fronts.switches.length = 0;
  node.engine.calls.length = 0;
  node.events.length = 0;
  await node.start();
}

/** What status has shown of a service, turn by turn, each state once in a row. */
function shown(service: string): string[] {
  const states = node.events.flatMap((event) =>
    event.kind === "turn" ? event.turn.services.filter(({ name }) => name === service) : [],
  );
  const words = states.map(({ state, settled }) => (settled ? `${state} and settled` : state));
  return words.filter((word, index) => word !== words[index - 1]);
}

describe.each(Object.keys(ENDS))("the agent was %s", (end) => {
  test("a front keeps what it serves although nothing behind it was probed yet", async () => {
    const app = await begin();
    node.unanswered.add(app.id);
    await restart(end);
    await node.clock.advance(60_000);
    expect(node.fronts.switches).toEqual([]);
    expect(served().id).toBe(app.id);
    node.unanswered.clear();
    await node.clock.advance(60_000);
    expect(node.fronts.switches).toEqual([]);
  });

  test("nothing is done, said or shown anew", async () => {
    await begin();
    const before = node.turn.services.map(({ name, state, sinceMs, settled }) => [name, state, sinceMs, settled]);
    await restart(end);
    await node.clock.advance(120_000);
    expect(ALL.map(shown)).toEqual(ALL.map(() => ["healthy and settled"]));
    expect(node.turn.services.map(({ name, state, sinceMs, settled }) => [name, state, sinceMs, settled])).toEqual(
      before,
    );
    expect(node.engine.calls).toEqual([]);
    expect(node.fronts.switches).toEqual([]);
    expect(node.events.filter(({ kind }) => kind !== "turn")).toEqual([]);
  });
});

test("a new release is proved beside the old one while the agent starts: who serves is not asked to give way", async () => {
  const before = await begin();
  node.source.set({ app: release("app:2") });
  await node.clock.advanceUntil(
    () => node.view("app").reason.startsWith("healthy for"),
    30_000,
    "the new one is healthy",
  );
  node.unanswered.add(before.id);
  await restart();
  await node.clock.advance(10_000);
  expect(node.fronts.switches).toEqual([]);
  await node.untilSettled(["app"]);
  await node.clock.advance(1_000);
  expect(served().image).toBe("app:2");
});

test("who serves turns out to be sick after the agent's start: then it gives way to what is proved", async () => {
  const before = await begin();
  node.source.set({ app: release("app:2") });
  await node.clock.advanceUntil(
    () => node.view("app").reason.startsWith("healthy for"),
    30_000,
    "the new one is healthy",
  );
  node.sick.add(before.id);
  await restart();
  await node.clock.advance(10_000);
  expect(served().id).toBe(before.id);
  await node.clock.advance(6_000);
  expect(served().image).toBe("app:2");
});

test("the settled one and an older one run while the agent starts: the older one gets nothing", async () => {
  const before = await begin();
  node.fronts.connections.set([...before.networks.values()][0] ?? "", 3);
  node.source.set({ app: release("app:2") });
  await node.clock.advance(1_000);
  await node.untilSettled(["app"]);
  await node.clock.advance(1_000);
  const now = served();
  expect([now.image, before.status]).toEqual(["app:2", "running"]);
  node.unanswered.add(now.id);
  await restart();
  await node.clock.advance(8_000);
  expect(node.fronts.switches).toEqual([]);
  expect(served().id).toBe(now.id);
});

test("a front that does not answer the new agent keeps what it serves, and status says so", async () => {
  const app = await begin();
  node.fronts.mute.add(FRONT);
  await restart();
  await node.clock.advance(30_000);
  expect(node.notes).toContainEqual(
    "app: its front does not say who gets its traffic, which stays as it is: ask app.front: connect ENOENT; asked again in 1s",
  );
  node.fronts.mute.clear();
  await node.clock.advance(5_000);
  expect(node.notes).toEqual([]);
  expect([node.fronts.switches, served().id]).toEqual([[], app.id]);
});

test("a front that was told half of something by the agent before is told the whole", async () => {
  const app = await begin();
  const whole = node.fronts.find(FRONT);
  if (whole === undefined) throw new Error("the front was told nothing");
  node.kill();
  node.fronts.set(FRONT, { ...whole, uneven: true });
  await node.start();
  await node.clock.advance(5_000);
  expect(node.fronts.find(FRONT)).toEqual(whole);
  expect(served().id).toBe(app.id);
});

test("who was served is gone when the next agent starts: the front is told so", async () => {
  const app = await begin();
  node.kill();
  node.engine.end(app, 1);
  node.engine.latencyMs.startContainer = 5_000;
  node.fronts.switches.length = 0;
  await node.start();
  await node.clock.advance(60_000);
  expect(node.fronts.switches[0]).toBe(undefined);
  expect(node.fronts.switches).toHaveLength(2);
  expect(served().id).toBe(app.id);
});

test("one failed probe after the agent's start ends no container that ran: it has as many as ever", async () => {
  await begin();
  const [db] = node.engine.of("db");
  node.sick.add(db?.id ?? "");
  await restart();
  await node.clock.advance(9_000);
  expect(node.engine.calls).toEqual([]);
  expect(shown("db")).toEqual(["healthy and settled"]);
  node.sick.clear();
  await node.clock.advance(60_000);
  expect(node.engine.calls).toEqual([]);
  node.sick.add(db?.id ?? "");
  await restart();
  await node.clock.advance(16_000);
  expect(node.engine.calls.map(({ call }) => call)).toContain("stopContainer");
});

test("a start waits for what the new agent has seen healthy itself", async () => {
  await begin();
  const [db] = node.engine.of("db");
  node.unanswered.add(db?.id ?? "");
  await restart();
  node.source.set({ late: buildManifest({ top: 'requires = ["db"]' }) });
  await node.clock.advance(20_000);
  expect(node.view("late")).toMatchObject({ state: "waiting", waitingFor: ["db"] });
  node.unanswered.clear();
  await node.until("healthy", ["late"]);
});
