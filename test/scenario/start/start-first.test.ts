// start-first: the old container gets the traffic until the new release has settled, and ends only when it has none left.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { NODE, TestNode } from "../../builders/node/node.ts";
import type { FakeContainer } from "../../fakes/fake-container.ts";
import type { FakeEngine } from "../../fakes/fake-engine.ts";

let node: TestNode;
const ROOT = { uid: 0, user: "root" };
const FRONT = "app.front";

beforeEach(() => {
  node = new TestNode({ settings: { frontImage: FRONT_IMAGE } });
  node.engine.images.set(FRONT_IMAGE, {});
});

afterEach(() => node.dispose());

function release(from: string, parts: { top?: string; tables?: string; order?: string; memory?: string } = {}): string {
  const { order = "start-first", tables = "", top = "", memory = "64MiB" } = parts;
  const update = `[update]\norder = "${order}"\nhealthy_within = "1m"\nsettle = "20s"\ndrain = "15s"\n`;
  const health = 'tcp = { port = 80 }\nstart_period = "70s"';
  return buildManifest({
    image: from,
    health,
    top: `ports = ["8080:80"]\n${top}`,
    tables: `${update}${tables}`,
    memory,
  });
}

async function begin(manifest = release("app:1")): Promise<FakeContainer> {
  node.source.set({ app: manifest, db: buildManifest() });
  await node.start();
  await node.untilSettled(["app", FRONT, "db"]);
  return served();
}

/** The container that gets the traffic. */
function served(): FakeContainer {
  const address = node.fronts.serving(FRONT);
  const found = node.engine.of("app").find((entry) => [...entry.networks.values()].includes(address ?? "none"));
  if (found === undefined) throw new Error(`nobody gets the traffic (${address ?? "nobody was named"})`);
  return found;
}

function running(): string[] {
  return node.engine
    .of("app")
    .filter((entry) => entry.status === "running")
    .map((entry) => entry.image);
}

test("the front has the ports and the name, the service has neither", async () => {
  const app = await begin();
  const [front] = node.engine.of(FRONT);
  expect(front?.request?.spec).toMatchObject({
    ports: ["127.0.0.1:8080:80"],
    aliases: ["app"],
    user: "65532:65532",
  });
  expect(front?.request?.binds.some((bind) => bind.target === "/run/orca-front" && !bind.readOnly)).toBe(true);
  expect(app.request?.spec.ports).toBe(undefined);
  expect(app.labels["orca.front"]).toBe(FRONT);
  expect(node.view(FRONT)).toMatchObject({ state: "healthy", memoryCapBytes: 32 * 2 ** 20 });
});

test("the new container is proved beside the old one, gets the traffic when it has settled, and then the old one ends", async () => {
  const before = await begin();
  node.fronts.connections.set([...before.networks.values()][0] ?? "", 3);
  node.source.set({ app: release("app:2") });
  await node.clock.advanceUntil(() => running().length === 2, 10_000, "both run");
  await node.clock.advance(15_000);
  expect(served().id).toBe(before.id);
  expect(node.view("app")).toMatchObject({ state: "healthy", settled: false });
  await node.untilSettled(["app"]);
  await node.clock.advance(1_000);
  expect(served().image).toBe("app:2");
  // Its three connections have fifteen seconds.
  expect(running()).toContain("app:1");
  await node.clock.advance(16_000);
  expect(node.engine.of("app").map((entry) => entry.image)).toEqual(["app:2"]);
  const calls = node.engine.calls.length;
  await node.clock.advance(600_000);
  expect(node.engine.calls.slice(calls)).toEqual([]);
});

test("without open connections the old one ends at once", async () => {
  await begin();
  node.source.set({ app: release("app:2") });
  await node.clock.advance(1_000);
  await node.untilSettled(["app"]);
  await node.clock.advance(2_000);
  expect(running()).toEqual(["app:2"]);
});

const BAD: Record<string, (engine: FakeEngine) => void> = {
  "its image is not in the registry": () => undefined,
  "it exits at once": (engine) => engine.images.set("bad:1", { endsAfterMs: 10, exitCode: 3 }),
  "it exits after 11 s": (engine) => engine.images.set("bad:1", { endsAfterMs: 11_000, exitCode: 3 }),
  "it never gets healthy": (engine) => engine.images.set("bad:1", { healthyAfterMs: Number.POSITIVE_INFINITY }),
};

describe.each(Object.entries(BAD))("a bad release: %s", (_name, prepare) => {
  test("the old one serves throughout, status says rolled back, the bad one goes", async () => {
    prepare(node.engine);
    const good = await begin();
    const { startedMs } = good.detail;
    node.fronts.switches.length = 0;
    node.source.set({ app: release("bad:1") });
    await node.until("rolled-back", ["app"], 200_000);
    await node.clock.advance(60_000);
    expect(node.fronts.switches).toEqual([]);
    expect([served().id, served().detail.startedMs]).toEqual([good.id, startedMs]);
    expect(running()).toEqual(["app:1"]);
  });
});

test("healthy and then sick before it has settled: it never got a request", async () => {
  const good = await begin();
  node.fronts.switches.length = 0;
  node.source.set({ app: release("app:2") });
  await node.clock.advanceUntil(
    () => node.view("app").reason.startsWith("healthy for"),
    30_000,
    "the new one is healthy",
  );
  const bad = node.engine.of("app").find((entry) => entry.image === "app:2");
  node.sick.add(bad?.id ?? "");
  await node.until("rolled-back", ["app"], 200_000);
  expect(node.fronts.switches).toEqual([]);
  expect(served().id).toBe(good.id);
});

test("new content that restarts is a new container too, and no restart of the one that serves", async () => {
  const files = '[[files]]\nsource = "files/a.conf"\ntarget = "/etc/a.conf"\n';
  node.source.setFile("files/a.conf", "one");
  const before = await begin(release("app:1", { tables: files }));
  node.source.setFile("files/a.conf", "two");
  await node.clock.advanceUntil(() => running().length === 2, 30_000, "both run");
  expect(served().id).toBe(before.id);
  await node.untilSettled(["app"]);
  await node.clock.advance(2_000);
  expect(served().id).not.toBe(before.id);
});

test("a crash of the one that serves: nobody gets its address meanwhile, and its next run gets the traffic when healthy", async () => {
  const app = await begin();
  node.fronts.switches.length = 0;
  node.engine.end(app, 1);
  await node.clock.advance(100);
  await node.until("healthy", ["app"]);
  await node.clock.advance(1_000);
  expect(node.fronts.switches[0]).toBe(undefined);
  expect(served().id).toBe(app.id);
});

test("the front crashes: it is started again and told anew", async () => {
  const app = await begin();
  const [front] = node.engine.of(FRONT);
  node.engine.end(front as FakeContainer, 139);
  await node.clock.advance(20_000);
  expect(served().id).toBe(app.id);
});

test("stopped in Git and the engine restarts at once: the front, started again, sends its traffic to nobody", async () => {
  await begin();
  const [front] = node.engine.of(FRONT);
  const run = node.fronts.find(FRONT)?.run;
  node.source.set({ app: release("app:1", { top: 'state = "stopped"' }) });
  node.engine.goDown();
  await node.clock.advance(3_000);
  node.engine.comeBack();
  await node.clock.advance(30_000);
  expect([running(), front?.status]).toEqual([[], "running"]);
  expect(node.fronts.find(FRONT)).toEqual({ run: expect.not.stringMatching(run ?? "none"), address: undefined });
});

test("a front that does not answer: told again after a while, and nothing ends meanwhile", async () => {
  const before = await begin();
  node.fronts.mute.add(FRONT);
  node.source.set({ app: release("app:2") });
  await node.clock.advance(120_000);
  expect(running().toSorted()).toEqual(["app:1", "app:2"]);
  expect(served().id).toBe(before.id);
  expect(node.notes).toContainEqual(
    expect.stringMatching(
      /^app: its front does not say who gets its traffic, .*: ask app\.front: connect ENOENT; asked again in 1s$/,
    ),
  );
  node.fronts.mute.clear();
  await node.clock.advance(300_000);
  expect(served().image).toBe("app:2");
  expect(running()).toEqual(["app:2"]);
});

test("a dependent waits until the front sends the traffic", async () => {
  node.fronts.mute.add(FRONT);
  node.source.set({ app: release("app:1"), db: buildManifest({ top: 'requires = ["app"]' }) });
  await node.start();
  await node.clock.advance(60_000);
  expect(node.view("db")).toMatchObject({ state: "waiting" });
  expect(node.view("db").reason).toContain("its front does not send it traffic yet");
  node.fronts.mute.clear();
  await node.clock.advance(300_000);
  expect(node.view("db").state).toBe("healthy");
});

test("the old one is wanted again while its connections end: it stays, and gets the traffic back", async () => {
  const before = await begin();
  node.fronts.connections.set([...before.networks.values()][0] ?? "", 3);
  node.source.set({ app: release("app:2") });
  await node.clock.advance(1_000);
  await node.untilSettled(["app"]);
  await node.clock.advance(1_000);
  node.source.set({ app: release("app:1") });
  await node.clock.advance(60_000);
  expect(served().id).toBe(before.id);
  expect(running()).toEqual(["app:1"]);
});

test("the one that has just taken over crashes: the old one, still there, takes the traffic back meanwhile", async () => {
  const before = await begin();
  node.fronts.connections.set([...before.networks.values()][0] ?? "", 3);
  node.source.set({ app: release("app:2") });
  await node.clock.advance(1_000);
  await node.untilSettled(["app"]);
  await node.clock.advance(1_000);
  const now = served();
  expect(now.image).toBe("app:2");
  node.engine.latencyMs.startContainer = 5_000;
  node.engine.end(now, 1);
  await node.clock.advance(2_000);
  expect(served().id).toBe(before.id);
  await node.clock.advance(120_000);
  expect(served().id).toBe(now.id);
  expect(running()).toEqual(["app:2"]);
});

test("the old one crashes while a release that never gets healthy is tried: it is started again, with a backoff", async () => {
  node.engine.images.set("bad:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
  const good = await begin();
  node.source.set({ app: release("bad:1") });
  await node.clock.advanceUntil(() => running().length === 2, 30_000, "both run");
  node.engine.end(good, 1);
  await node.clock.advance(10_000);
  expect([good.status, served().id]).toEqual(["running", good.id]);
  expect(node.view("app").state).not.toBe("rolled-back");
  for (let crash = 0; crash < 3; crash += 1) {
    node.engine.end(good, 1);
    await node.clock.advance(6_000);
  }
  const starts = node.engine.calls.filter(({ call, subject }) => call === "startContainer" && subject === good.id);
  expect(starts.length).toBeLessThanOrEqual(5);
  await node.until("rolled-back", ["app"], 200_000);
  await node.clock.advance(60_000);
  expect(served().id).toBe(good.id);
  expect(running()).toEqual(["app:1"]);
});

describe("between the two orders", () => {
  test("to start-first: the front is made first, then the ports change hands", async () => {
    node.source.set({ app: release("app:1", { order: "stop-first" }) });
    await node.start();
    await node.untilSettled(["app"]);
    node.source.set({ app: release("app:1") });
    await node.clock.advance(1_000);
    await node.untilSettled(["app", FRONT]);
    await node.clock.advance(1_000);
    expect(running()).toEqual(["app:1"]);
    expect(served().image).toBe("app:1");
    const calls = node.engine.calls.map(({ call, subject }) => `${call} ${subject}`);
    const made = calls.findIndex((call) => call.startsWith(`createContainer orca-${NODE}-${FRONT}`));
    const stopped = calls.findIndex((call) => call.startsWith("stopContainer"));
    expect(made).toBeGreaterThan(0);
    expect(made).toBeLessThan(stopped);
  });

  test("to stop-first: the front goes with the last container behind it", async () => {
    await begin();
    node.source.set({ app: release("app:2", { order: "stop-first" }) });
    await node.clock.advance(1_000);
    await node.untilSettled(["app"]);
    expect(running()).toEqual(["app:2"]);
    expect(node.engine.of(FRONT).every((entry) => entry.status !== "running")).toBe(true);
    await node.clock.advance(3_700_000);
    expect(node.engine.of(FRONT)).toEqual([]);
  });

  test("a bad stop-first release gives way to the good one with its front", async () => {
    node.engine.images.set("bad:1", { endsAfterMs: 10, exitCode: 3 });
    await begin();
    node.source.set({ app: release("bad:1", { order: "stop-first" }) });
    await node.until("rolled-back", ["app"], 200_000);
    await node.clock.advance(60_000);
    expect(served().image).toBe("app:1");
    expect(running()).toEqual(["app:1"]);
  });
});

test("two second copies that do not fit at once: one after the other", async () => {
  // 2 × 120 and 2 fronts of 32 run: of 448 there is room for one more copy of 120.
  const fleet = `[nodes.${NODE}]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "512MiB"\nreserve = "64MiB"\n`;
  const parts = { memory: "120MiB" };
  const web = (image: string): string => release(image, parts).replace("8080:80", "8081:80");
  node.source.setFleet(fleet);
  node.source.set({ app: release("app:1", parts), web: web("app:1") });
  await node.start();
  await node.untilSettled(["app", "web"]);
  node.source.set({ app: release("app:2", parts), web: web("app:2") });
  await node.clock.advance(10_000);
  expect([...node.engine.containers.values()].filter((entry) => entry.status === "running")).toHaveLength(5);
  expect(node.view("web")).toMatchObject({ state: "waiting" });
  expect(node.view("web").reason).toContain("waiting for memory: its second copy needs 120 MiB");
  await node.clock.advance(120_000);
  expect([running(), node.engine.running("web")?.image]).toEqual([["app:2"], "app:2"]);
});

test("a start-first service whose second copy could never fit is held", async () => {
  const fleet = `[nodes.${NODE}]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "512MiB"\nreserve = "64MiB"\n`;
  node.source.setFleet(fleet);
  await begin(release("app:1", { memory: "64MiB" }));
  node.source.set({ app: release("app:2", { memory: "200MiB" }) });
  await node.until("held", ["app"]);
  expect(node.view("app").reason).toContain("32 MiB for fronts and 200 MiB for the largest second copy");
  expect(served().image).toBe("app:1");
});

test("removed from Git: the service and its front are stopped, kept, and go", async () => {
  await begin();
  node.source.set({ app: undefined });
  await node.clock.advance(60_000);
  expect(running()).toEqual([]);
  expect(node.engine.of(FRONT).every((entry) => entry.status !== "running")).toBe(true);
  await node.clock.advance(3_700_000);
  expect([...node.engine.of("app"), ...node.engine.of(FRONT)]).toEqual([]);
});

test("stopped and started by a person: the traffic follows", async () => {
  const app = await begin();
  node.agent.request({ kind: "stop", service: "app", actor: ROOT });
  await node.until("stopped", ["app"]);
  await node.clock.advance(1_000);
  expect(node.fronts.serving(FRONT)).toBe(undefined);
  node.agent.request({ kind: "start", service: "app", ignoreRequires: false, actor: ROOT });
  await node.until("healthy", ["app"]);
  await node.clock.advance(1_000);
  expect(served().id).toBe(app.id);
});

test("kill -9 before any call of an update: the same end, and the traffic was never nobody's", async () => {
  await begin();
  for (let call = 1; call <= 9; call += 1) {
    const next = call % 2 === 0 ? "app:1" : "app:2";
    node.fronts.switches.length = 0;
    node.engine.dieBeforeCall = call;
    node.source.set({ app: release(next) });
    await node.clock.advanceUntil(
      () => node.engine.dead || (running().length === 1 && running()[0] === next && node.view("app").settled),
      200_000,
    );
    node.kill();
    await node.start();
    await node.clock.advance(1_000);
    await node.untilSettled(["app", FRONT]);
    await node.clock.advance(30_000);
    expect([served().image, running()]).toEqual([next, [next]]);
    expect(node.fronts.switches).not.toContain(undefined);
  }
});

test("after a reboot of the host the front is told again", async () => {
  const app = await begin();
  node.kill();
  node.engine.goDown();
  node.engine.comeBack();
  node.bootId = "boot-2";
  await node.start();
  await node.untilSettled(["app", FRONT]);
  await node.clock.advance(1_000);
  expect(served().id).toBe(app.id);
  expect(served().status).toBe("running");
});

test("another [health] of what serves: it keeps the traffic until the new check has answered", async () => {
  const app = await begin();
  node.unanswered.add(app.id);
  node.source.set({ app: release("app:1").replace("port = 80 }", "port = 81 }"), db: buildManifest() });
  await node.clock.advance(5_000);
  expect(node.view("app").state).toBe("starting");
  for (let second = 0; second < 60; second += 1) {
    await node.clock.advance(1_000);
    expect(served().id).toBe(app.id);
  }
  node.unanswered.clear();
  await node.untilSettled(["app"]);
  expect(served().id).toBe(app.id);
});
