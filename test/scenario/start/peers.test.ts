// Order across nodes: starts wait for what other nodes say of their services, as long as that is their present word, and
// nothing that runs is touched by what becomes of a peer.

import { rmSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { LivePeers } from "../../../agent/gossip/live-peers.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import { FakeGossip } from "../../fakes/fake-gossip.ts";

let gossip: FakeGossip;
let node: TestNode;

beforeEach(() => {
  gossip = new FakeGossip();
  node = new TestNode({ peers: new LivePeers(gossip) });
});

afterEach(() => node.dispose());

const HEALTHY = { ready: true, state: "healthy", start: "c0ffee@1" };
const STARTING = { ready: false, state: "starting", why: "first start", start: "c0ffee@1" };
const requires = (...names: string[]): string =>
  buildManifest({ top: `requires = [${names.map((name) => `"${name}"`).join(", ")}]` });

describe("the gate across nodes", () => {
  test("opens at the moment the other node says that its service is healthy", async () => {
    node.source.set({ web: requires("vm2/db") });
    await node.start();
    await node.clock.advance(3_600_000);
    expect(node.view("web")).toMatchObject({ state: "waiting", waitingFor: ["vm2/db"] });
    expect(node.view("web").reason).toBe("waiting for vm2/db (vm2 was not reached yet)");
    gossip.peerSays("vm2", {});
    await node.clock.advance(1_000);
    expect(node.view("web").reason).toBe("waiting for vm2/db (vm2 runs no such service yet)");
    gossip.peerSays("vm2", { db: STARTING });
    await node.clock.advance(1_000);
    expect(node.view("web").reason).toBe("waiting for vm2/db (it is starting: first start)");
    gossip.peerSays("vm2", { db: HEALTHY });
    const tookMs = await node.clock.advanceUntil(() => node.engine.running("web") !== undefined, 5_000);
    expect(tookMs).toBeLessThanOrEqual(100);
  });

  test("what a lost node said last opens nothing: its services are unknown, never up and never down", async () => {
    gossip.peerSays("vm2", { db: HEALTHY });
    gossip.peerIsLost("vm2", "vm2 is dead: it is not heard; vm3 cannot reach it either");
    node.source.set({ web: requires("vm2/db") });
    await node.start();
    await node.clock.advance(3_600_000);
    expect(node.engine.running("web")).toBeUndefined();
    expect(node.view("web").reason).toBe(
      "waiting for vm2/db (vm2 is dead: it is not heard; vm3 cannot reach it either)",
    );
  });

  test("losing every peer changes nothing that runs: not one mutating call", async () => {
    gossip.peerSays("vm2", { db: HEALTHY });
    node.source.set({ web: requires("vm2/db"), other: buildManifest() });
    await node.start();
    await node.untilSettled(["web", "other"]);
    const calls = node.engine.calls.length;
    for (let round = 0; round < 20; round += 1) {
      gossip.peerIsLost("vm2", "vm2 is suspect");
      await node.clock.advance(20_000);
      gossip.peerSays("vm2", { db: STARTING });
      await node.clock.advance(20_000);
    }
    const reads = new Set(["listContainers", "inspectContainer", "listNetworks", "inspectNetwork", "info", "events"]);
    const writes = node.engine.calls
      .slice(calls)
      .filter(({ call }) => !reads.has(call) && !/^(list|inspect|find)/.test(call));
    expect(writes).toEqual([]);
    expect(node.view("web").state).toBe("healthy");
  });

  test("a crash while the peer is lost waits wants_timeout and starts, marked: a cut is no outage", async () => {
    gossip.peerSays("vm2", { db: HEALTHY });
    node.source.set({ web: buildManifest({ top: 'requires = ["vm2/db"]\nwants_timeout = "40s"' }) });
    await node.start();
    await node.untilSettled(["web"]);
    gossip.peerIsLost("vm2", "vm2 is dead");
    const container = node.engine.running("web");
    if (container === undefined) throw new Error("web does not run");
    node.engine.end(container, 1);
    const tookMs = await node.clock.advanceUntil(() => node.engine.running("web") !== undefined, 120_000);
    expect(tookMs).toBeGreaterThanOrEqual(39_900);
    await node.clock.advance(5_000);
    expect(node.view("web").notes).toContain("started without vm2/db");
  });

  test("expires: a proxy whose peer never comes opens late, loud and degraded", async () => {
    node.source.set({
      proxy: buildManifest({ top: 'requires = [{ on = "vm2/app", expires = "5m", then = "start" }]' }),
    });
    await node.start();
    const tookMs = await node.until("healthy", ["proxy"], 400_000);
    expect(tookMs).toBeGreaterThan(295_000);
    expect(tookMs).toBeLessThan(305_000);
    expect(node.view("proxy").notes).toContain("started without vm2/app");
  });

  test("a flap between two requirements does not begin the wait anew; a new run of the container does", async () => {
    node.source.set({ web: requires("vm2/db", "vm3/cache") });
    await node.start();
    gossip.peerSays("vm2", { db: HEALTHY });
    gossip.peerSays("vm3", { cache: STARTING });
    await node.clock.advance(5_000);
    gossip.peerSays("vm2", { db: { ...HEALTHY, ready: false, state: "unhealthy" } });
    await node.clock.advance(3_000);
    gossip.peerSays("vm3", { cache: HEALTHY });
    await node.clock.advance(1_000);
    expect(node.engine.running("web")).toBeDefined();

    const again = new FakeGossip();
    const second = new TestNode({ peers: new LivePeers(again) });
    second.source.set({ web: requires("vm2/db", "vm3/cache") });
    await second.start();
    again.peerSays("vm2", { db: HEALTHY });
    again.peerSays("vm3", { cache: STARTING });
    await second.clock.advance(5_000);
    // The health of the container before says nothing of this one.
    again.peerSays("vm2", { db: { ...STARTING, start: "c0ffee@2" } });
    await second.clock.advance(1_000);
    again.peerSays("vm3", { cache: HEALTHY });
    await second.clock.advance(60_000);
    expect(second.engine.running("web")).toBeUndefined();
    again.peerSays("vm2", { db: { ...HEALTHY, start: "c0ffee@2" } });
    await second.clock.advance(1_000);
    expect(second.engine.running("web")).toBeDefined();
    await second.dispose();
  });

  test("a requirement that is away for longer than a flap is waited for again, though its container is the same", async () => {
    node.source.set({ web: requires("vm2/db", "vm3/cache") });
    await node.start();
    gossip.peerSays("vm2", { db: HEALTHY });
    gossip.peerSays("vm3", { cache: STARTING });
    await node.clock.advance(5_000);
    gossip.peerSays("vm2", { db: { ...HEALTHY, ready: false, state: "unhealthy" } });
    await node.clock.advance(11_000);
    gossip.peerSays("vm3", { cache: HEALTHY });
    await node.clock.advance(60_000);
    expect(node.engine.running("web")).toBeUndefined();
    expect(node.view("web").waitingFor).toEqual(["vm2/db"]);
    gossip.peerSays("vm2", { db: HEALTHY });
    await node.clock.advance(1_000);
    expect(node.engine.running("web")).toBeDefined();
  });

  test("starts that wait for each other across nodes are shown as the ring they are", async () => {
    node.source.set({ web: requires("vm2/db") });
    await node.start();
    gossip.peerSays("vm2", {
      db: { ready: false, state: "waiting", waiting: ["vm3/cache"] },
    });
    gossip.peerSays("vm3", { cache: { ready: false, state: "waiting", waiting: ["vm1/web"] } });
    await node.clock.advance(5_000);
    expect(node.view("web").reason).toMatch(/they wait for each other: web → vm2\/db → vm3\/cache → web$/);
  });

  test("also on a node that has no part in it; it is a note while it lasts, and a lost node's waits make none", async () => {
    node.source.set({ web: buildManifest() });
    await node.start();
    await node.untilSettled(["web"]);
    const waits = (on: string): Parameters<FakeGossip["peerSays"]>[1] => ({
      [on === "vm2/a" ? "b" : "a"]: { ready: false, state: "waiting", waiting: [on] },
    });
    gossip.peerSays("vm2", waits("vm3/b"));
    await node.clock.advance(1_000);
    expect(node.notes).toEqual([]);
    gossip.peerSays("vm3", waits("vm2/a"));
    await node.clock.advance(1_000);
    const ring = "starts wait for each other, and none will come: vm2/a → vm3/b → vm2/a";
    expect(node.notes).toEqual([ring]);
    expect(node.view("web").state).toBe("healthy");
    gossip.peerIsLost("vm3", "vm3 is dead");
    await node.clock.advance(1_000);
    expect(node.notes).toEqual([]);
    gossip.peerSays("vm3", waits("vm2/a"));
    await node.clock.advance(1_000);
    expect(node.notes).toEqual([ring]);
    gossip.peerSays("vm3", { b: HEALTHY });
    await node.clock.advance(1_000);
    expect(node.notes).toEqual([]);
  });

  test("wants on another node is waited for up to its time, and then done without", async () => {
    node.source.set({ web: buildManifest({ top: 'wants = ["vm2/mail"]\nwants_timeout = "30s"' }) });
    await node.start();
    const tookMs = await node.until("healthy", ["web"], 60_000);
    expect(tookMs).toBeGreaterThanOrEqual(30_000);
    expect(tookMs).toBeLessThan(35_000);
  });
});

describe("what a node says", () => {
  test("each service's readiness, run and waits; nothing new while nothing changes", async () => {
    node.source.set({ db: buildManifest(), web: requires("db", "vm2/auth") });
    await node.start();
    await node.untilSettled(["db"]);
    const container = node.engine.running("db");
    expect(gossip.said["db"]).toMatchObject({ ready: true, state: "healthy" });
    expect(gossip.said["db"]?.start).toMatch(new RegExp(`^${container?.id.slice(0, 12)}@\\d+$`));
    expect(gossip.said["web"]).toMatchObject({ ready: false, state: "waiting", waiting: ["vm2/auth"] });
    const { sayings } = gossip;
    await node.clock.advance(600_000);
    expect(gossip.sayings).toBe(sayings);
  });

  test("what a start took is measured once for each run: no restart of the agent, no flap and no adoption changes it", async () => {
    node.engine.images.set("app:1", { healthyAfterMs: 4_000 });
    node.source.set({ db: buildManifest() });
    await node.start();
    await node.untilSettled(["db"]);
    const took = (): number => gossip.said["db"]?.tookMs ?? -1;
    const first = took();
    expect(first).toBeGreaterThanOrEqual(4_000);
    expect(first).toBeLessThan(6_000);
    expect(node.view("db").tookMs).toBe(first);
    await node.clock.advance(3_600_000);
    await node.stop();
    gossip = new FakeGossip();
    node.choices.peers = new LivePeers(gossip);
    await node.start();
    await node.clock.advance(60_000);
    expect(took()).toBe(first);
    const container = node.engine.running("db");
    if (container === undefined) throw new Error("db does not run");
    // One failed probe, not enough for a restart.
    node.sick.add(container.id);
    await node.clock.advance(11_000);
    node.sick.delete(container.id);
    await node.clock.advance(60_000);
    expect(took()).toBe(first);
    node.engine.images.set("app:1", { healthyAfterMs: 9_000 });
    node.engine.end(container, 1);
    await node.clock.advance(60_000);
    expect(took()).toBeGreaterThanOrEqual(9_000);
    expect(took()).toBeLessThan(11_000);
    // The state is lost: of what was found running nothing is known, and nothing is made up.
    await node.stop();
    rmSync(join(node.stateDir, "orca.db"));
    gossip = new FakeGossip();
    node.choices.peers = new LivePeers(gossip);
    await node.start();
    await node.clock.advance(60_000);
    expect([gossip.said["db"]?.ready, took()]).toEqual([true, -1]);
  });

  test("a container that is started anew is not ready before its own probes say so", async () => {
    node.source.set({ db: buildManifest() });
    await node.start();
    await node.untilSettled(["db"]);
    const first = gossip.said["db"]?.start;
    const container = node.engine.running("db");
    if (container === undefined) throw new Error("db does not run");
    node.sick.add(container.id);
    node.engine.end(container, 1);
    await node.clock.advanceUntil(() => node.engine.running("db") !== undefined, 10_000);
    await node.clock.advance(1_000);
    expect(gossip.said["db"]).toMatchObject({ ready: false });
    expect(gossip.said["db"]?.start).not.toBe(first);
  });

  test("fleet.toml's nodes are the roster, with keys and realms; who waits for whom are its interests", async () => {
    node.source.setFleet(
      [
        '[nodes.vm1]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "8GiB"\npublic_key = "ed25519:VXUGQB91RFU5OwFC5b61YEz8aT_cjTNreAjDMqiWZOg"',
        '[nodes.vm2]\naddress = "10.0.0.2"\nenv = "stage"\nmemory = "8GiB"',
      ].join("\n"),
    );
    node.source.setOthers({ vm2: { app: requires("vm1/db") } });
    node.source.set({ db: buildManifest() });
    await node.start();
    await node.untilSettled(["db"]);
    expect(gossip.roster?.fleet).toEqual([
      {
        node: "vm1",
        realm: "prod",
        address: "10.0.0.1",
        publicKey: "ed25519:VXUGQB91RFU5OwFC5b61YEz8aT_cjTNreAjDMqiWZOg",
      },
      { node: "vm2", realm: "stage", address: "10.0.0.2", publicKey: undefined },
    ]);
    expect(gossip.roster?.interests).toEqual(["vm2"]);
  });

  test("a hint makes the source be read at once, and the end of the agent ends the gossip", async () => {
    node.source.set({ db: buildManifest() });
    await node.start();
    await node.untilSettled(["db"]);
    let asked = 0;
    node.source.invalidate = () => {
      asked += 1;
    };
    gossip.onHint("b".repeat(40));
    expect(asked).toBe(1);
    await node.stop();
    expect(gossip.closed).toBe(true);
  });
});
