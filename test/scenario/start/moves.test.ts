// Services that get another name or another node: no data is begun anew by accident, and none is written to by two.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { LivePeers } from "../../../agent/gossip/live-peers.ts";
import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { NODE, TestNode } from "../../builders/node/node.ts";
import { FakeGossip } from "../../fakes/fake-gossip.ts";

let node: TestNode;
const ROOT = { uid: 0, user: "root" };
const VOLUME = 'backup = { none = "a test" }\n';
const TABLE = '[[volumes]]\nname = "data"\ntarget = "/data"\n[update]\nsettle = "5s"\n';

beforeEach(() => {
  node = new TestNode({ settings: { frontImage: FRONT_IMAGE }, peers: { kind: "known", services: {} } });
  node.engine.images.set(FRONT_IMAGE, {});
});

afterEach(() => node.dispose());

function database(parts: { image?: string; top?: string; tables?: string } = {}): string {
  const { image = "app:1", top = "", tables = "" } = parts;
  return buildManifest({ image, top: `${VOLUME}${top}`, tables: `${TABLE}${tables}` });
}

function isRunning(service: string): boolean {
  return node.engine.running(service) !== undefined;
}

/** Never two that write to one volume, at any instant. */
function watchPairs(first: string, second: string): { together: number } {
  const seen = { together: 0 };
  const start = node.engine.writer.startContainer.bind(node.engine.writer);
  Object.assign(node.engine.writer, {
    startContainer: async (id: Parameters<typeof start>[0]) => {
      await start(id);
      if (isRunning(first) && isRunning(second)) seen.together += 1;
    },
  });
  return seen;
}

describe("another name on the same node", () => {
  beforeEach(async () => {
    node.source.set({ old: database(), web: buildManifest() });
    await node.start();
    await node.untilSettled(["old", "web"]);
  });

  test("the new one gets the volumes; the old one serves while the new image is pulled, and ends before the new one starts", async () => {
    const seen = watchPairs("old", "new");
    node.engine.latencyMs.pullImage = 20_000;
    node.engine.registry.set("app:9", {});
    node.source.set({ old: undefined, new: database({ image: "app:9", top: 'moved_from = "old"' }) });
    await node.clock.advance(15_000);
    expect([isRunning("old"), isRunning("new")]).toEqual([true, false]);
    expect(node.view("old")).toMatchObject({ state: "removing" });
    expect(node.view("old").reason).toContain("it is now new and serves until that one is ready to start");
    await node.untilSettled(["new"]);
    expect([isRunning("old"), isRunning("new"), seen.together]).toEqual([false, true, 0]);
    expect(node.engine.running("new")?.request?.spec.volumes).toEqual([{ name: "data", target: "/data" }]);
    await node.clock.advance(3_700_000);
    expect(node.engine.of("old")).toEqual([]);
    expect(node.engine.volumes.has("data")).toBe(true);
  });

  test("an image that is not to be had: the old one goes on serving", async () => {
    node.source.set({ old: undefined, new: database({ image: "nowhere:1", top: 'moved_from = "old"' }) });
    await node.clock.advance(600_000);
    expect([isRunning("old"), isRunning("new")]).toEqual([true, false]);
  });

  test("the new one waits at its gate: the old one goes on serving", async () => {
    node.source.set({ old: undefined, new: database({ top: 'moved_from = "old"\nrequires = ["tcp://10.0.0.9:1"]' }) });
    await node.clock.advance(600_000);
    expect([isRunning("old"), isRunning("new")]).toEqual([true, false]);
    node.endpoints.add("tcp://10.0.0.9:1");
    await node.untilSettled(["new"]);
    expect(isRunning("old")).toBe(false);
  });

  test("the name taken back: the old one runs again, alone", async () => {
    const seen = watchPairs("old", "new");
    node.source.set({ old: undefined, new: database({ top: 'moved_from = "old"' }) });
    await node.clock.advance(1_000);
    await node.untilSettled(["new"]);
    node.source.set({ new: undefined, old: database({ top: 'moved_from = "new"' }) });
    await node.clock.advance(1_000);
    await node.untilSettled(["old"]);
    expect([isRunning("old"), isRunning("new"), seen.together]).toEqual([true, false, 0]);
  });

  test("kill -9 before any call: the same end, never two at once", async () => {
    const seen = watchPairs("old", "new");
    for (let call = 1; call <= 5; call += 1) {
      const [from, to] = call % 2 === 1 ? (["old", "new"] as const) : (["new", "old"] as const);
      node.engine.dieBeforeCall = call;
      node.source.set({ [from]: undefined, [to]: database({ top: `moved_from = "${from}"` }) });
      await node.clock.advance(20_000);
      node.kill();
      await node.start();
      await node.clock.advance(1_000);
      await node.untilSettled([to]);
      expect([isRunning(from), isRunning(to), seen.together]).toEqual([false, true, 0]);
    }
  });

  test("many names at once are no removals: the brake does not hold them", async () => {
    const names = ["a", "b", "c", "d"];
    node.source.set(Object.fromEntries(names.map((name) => [name, buildManifest()])));
    await node.untilSettled(names);
    const moved = names.map((name) => [`${name}2`, buildManifest({ top: `moved_from = "${name}"` })] as const);
    const gone = names.map((name) => [name, undefined] as const);
    node.source.set(Object.fromEntries([...moved, ...gone]));
    await node.clock.advance(1_000);
    await node.untilSettled(names.map((name) => `${name}2`));
    expect(names.filter(isRunning)).toEqual([]);
  });
});

test("a start-first service gets another name: its front's ports go to the new front", async () => {
  const web = (top: string): string =>
    buildManifest({ top: `ports = ["8080:80"]\n${top}`, tables: '[update]\norder = "start-first"\nsettle = "5s"\n' });
  node.source.set({ old: web(""), db: buildManifest() });
  await node.start();
  await node.untilSettled(["old", "old.front"]);
  node.source.set({ old: undefined, new: web('moved_from = "old"') });
  await node.clock.advance(1_000);
  await node.untilSettled(["new", "new.front"]);
  await node.clock.advance(10_000);
  const running = node.engine.running("new");
  expect(node.fronts.serving("new.front")).toBe([...(running?.networks.values() ?? [])][0]);
  expect([isRunning("old"), isRunning("old.front")]).toEqual([false, false]);
});

describe("from another node", () => {
  const moved = (): string => database({ top: 'moved_from = "vm2/db"' });

  beforeEach(async () => {
    node.source.set({ web: buildManifest() });
    node.source.setOthers({ vm2: { db: database() } });
    await node.start();
    await node.untilSettled(["web"]);
  });

  test("a service with data is held until a person says that it starts empty", async () => {
    node.source.setOthers({ vm2: {} });
    node.source.set({ db: moved() });
    await node.until("held", ["db"]);
    expect(node.view("db").reason).toBe(
      "it moved here from vm2/db: its data (data) is not here, and vm2 has not reported that it is stopped there; " +
        "restore its data, or say that it starts with what is here: orca start db --empty",
    );
    await node.clock.advance(3_600_000);
    await node.stop();
    await node.start();
    await node.until("held", ["db"]);
    expect(node.engine.of("db")).toEqual([]);
    expect(node.engine.volumes.has("data")).toBe(false);
    node.agent.request({ kind: "start", service: "db", ignoreRequires: false, empty: true, actor: ROOT });
    await node.untilSettled(["db"]);
    // Said once, it is said for good: a container removed by hand is made again.
    node.engine.remove(node.engine.running("db")?.id ?? "");
    await node.untilSettled(["db"]);
  });

  test("orca start alone does not start it empty", async () => {
    node.source.setOthers({ vm2: {} });
    node.source.set({ db: moved() });
    await node.until("held", ["db"]);
    node.agent.request({ kind: "start", service: "db", ignoreRequires: true, actor: ROOT });
    await node.clock.advance(60_000);
    expect(node.view("db").state).toBe("held");
  });

  test("without a word in its manifest too: it was there, and now it is here", async () => {
    node.source.setOthers({ vm2: {} });
    node.source.set({ db: database() });
    await node.until("held", ["db"]);
    expect(node.view("db").reason).toMatch(/^it moved here from vm2\/db: /);
    // The next commit, and a restart, have not forgotten.
    node.source.set({ web: buildManifest({ image: "app:2" }) });
    await node.clock.advance(10_000);
    await node.stop();
    await node.start();
    await node.until("held", ["db"]);
  });

  test("removed there first and added here by a later commit: held as well", async () => {
    node.source.setOthers({ vm2: {} });
    node.source.set({ web: buildManifest({ image: "app:2" }) });
    await node.clock.advance(86_400_000);
    await node.stop();
    await node.start();
    node.source.set({ db: database() });
    await node.until("held", ["db"]);
  });

  test("a name that was used there months ago is free", async () => {
    node.source.setOthers({ vm2: {} });
    node.source.set({ web: buildManifest({ image: "app:2" }) });
    await node.clock.advance(10_000);
    node.engine.breakEvents();
    await node.stop();
    node.clock.jump(40 * 86_400_000);
    await node.start();
    node.source.set({ web: buildManifest() });
    await node.clock.advance(10_000);
    node.source.set({ db: database() });
    await node.untilSettled(["db"]);
  });

  test("one of the same name that is still there too is another one", async () => {
    node.source.set({ db: database() });
    await node.untilSettled(["db"]);
  });

  test("one without data simply starts", async () => {
    node.source.setOthers({ vm2: {} });
    node.source.set({ cache: buildManifest({ top: 'moved_from = "vm2/cache"' }) });
    await node.untilSettled(["cache"]);
  });
});

test("the old node's own word that it is stopped, and data that is here: it starts by itself", async () => {
  const gossip = new FakeGossip();
  const here = new TestNode({ peers: new LivePeers(gossip) });
  here.engine.volumes.set("data", { "orca.node": NODE });
  here.source.set({ db: database({ top: 'moved_from = "vm2/db"' }) });
  await here.start();
  await here.until("held", ["db"]);
  expect(here.view("db").reason).toContain(": vm2 has not reported that it is stopped there; ");
  const isHeld = async (): Promise<boolean> => {
    await here.clock.advance(10_000);
    return here.view("db").state === "held";
  };
  gossip.peerSays("vm2", { db: { ready: true, state: "healthy", start: "c0ffee@1" } });
  expect(await isHeld()).toBe(true);
  // It ended by itself, and will be started again there.
  gossip.peerSays("vm2", { db: { ready: false, state: "backoff" } });
  expect(await isHeld()).toBe(true);
  gossip.peerSays("vm2", { db: { ready: false, state: "unknown" } });
  expect(await isHeld()).toBe(true);
  gossip.peerSays("vm2", { db: { ready: false, state: "removing" } });
  gossip.peerIsLost("vm2", "vm2 is suspect");
  expect(await isHeld()).toBe(true);
  gossip.peerSays("vm2", { db: { ready: false, state: "removing" } });
  await here.untilSettled(["db"]);
  // What becomes of the old node now is nothing to it.
  gossip.peerIsLost("vm2", "vm2 is dead");
  here.engine.remove(here.engine.running("db")?.id ?? "");
  await here.untilSettled(["db"]);
  await here.dispose();
});

test("on the node that it left, many moved services are no removals", async () => {
  const names = ["a", "b", "c", "d"];
  node.source.set(Object.fromEntries(names.map((name) => [name, buildManifest()])));
  await node.start();
  await node.untilSettled(names);
  const there = names.map((name) => [name, buildManifest({ top: `moved_from = "${NODE}/${name}"` })] as const);
  node.source.setOthers({ vm2: Object.fromEntries(there) });
  node.source.set({ a: undefined, b: undefined, c: undefined, d: undefined, rest: buildManifest() });
  await node.untilSettled(["rest"]);
  await node.clock.advance(60_000);
  expect(names.filter(isRunning)).toEqual([]);
});
