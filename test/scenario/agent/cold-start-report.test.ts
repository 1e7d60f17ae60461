// An agent that notices that its node, or others of the realm, came up anew, follows that, and reports it: on a fake engine, with
// two other nodes in the test's hand.

import { afterEach, beforeEach, expect, test } from "vitest";

import { LivePeers } from "../../../agent/gossip/live-peers.ts";
import type { ColdStartReport, ColdStartStatement } from "../../../shared/state/cold-start.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import { FakeGossip } from "../../fakes/fake-gossip.ts";

let gossip: FakeGossip;
let node: TestNode;

beforeEach(() => {
  gossip = new FakeGossip();
  node = new TestNode({ peers: new LivePeers(gossip) });
  node.engine.images.set("app:1", { healthyAfterMs: 3_000 });
});

afterEach(() => node.dispose());

const HEALTHY = { ready: true, state: "healthy", start: "c0ffee@1" };
const STARTING = { ready: false, state: "starting", start: "c0ffee@1" };

function cold(run: string, ageMs: number, parts: Partial<ColdStartStatement> = {}): ColdStartStatement {
  return { run, ageMs, seen: {}, services: { db: { at: [10, 10, 20, null] } }, ...parts };
}

function reports(): ColdStartReport[] {
  return node.agent.coldStarts.list();
}

function ended(): ColdStartReport[] {
  return node.events.flatMap((event) => (event.kind === "cold-start" ? [event.report] : []));
}

/** Everything runs, then the engine goes down and comes back. */
async function bringUpAndLosePower(manifests: Record<string, string>): Promise<void> {
  node.source.set(manifests);
  await node.start();
  await node.untilSettled(Object.keys(manifests));
  expect(reports()).toEqual([]);
  node.engine.goDown();
  await node.clock.advance(10_000);
  node.engine.comeBack();
}

test("a new installation is no cold start; a restart of the engine is, and the report follows the graph", async () => {
  await bringUpAndLosePower({
    db: buildManifest(),
    app: buildManifest({ top: 'requires = ["db"]' }),
    side: buildManifest(),
    web: buildManifest({ top: 'requires = ["app", "side"]' }),
  });
  await node.until("waiting", ["web"]);
  await node.clock.advance(1_000);
  expect(reports()[0]).toMatchObject({ ended: null, scope: "node" });
  await node.until("healthy", ["db", "app", "side", "web"]);
  await node.clock.advance(1_000);
  const [report] = reports();
  expect(report).toMatchObject({ scope: "node", missing: [], notes: [] });
  expect(report?.ended).not.toBeNull();
  expect(report?.path.map(({ name }) => name)).toEqual(["vm1/db", "vm1/app", "vm1/web"]);
  // Three starts of three seconds, seen at the first probe after that.
  expect(report?.pathSeconds).toBeGreaterThanOrEqual(9);
  expect(report?.totalSeconds).toBeLessThan(12);
  expect(report?.overheadSeconds).toBeGreaterThanOrEqual(0);
  expect(report?.services.find(({ name }) => name === "vm1/web")).toMatchObject({
    waitedFor: "vm1/app",
    slotSeconds: 0,
  });
  expect(ended()).toEqual([report]);
  expect(gossip.cold).toMatchObject({ done: true });
});

test("a crash and a restart of the agent are none; the last reports outlive the agent", async () => {
  await bringUpAndLosePower({ db: buildManifest() });
  await node.until("healthy", ["db"]);
  await node.clock.advance(1_000);
  const before = reports();
  expect(before).toHaveLength(1);
  await node.stop();
  await node.start();
  const container = node.engine.running("db");
  if (container === undefined) throw new Error("db does not run");
  node.engine.end(container, 1);
  await node.clock.advance(60_000);
  expect(reports()).toEqual(before);
  // Said for a quarter of an hour, then no more.
  expect(gossip.cold).toMatchObject({ done: true });
  await node.clock.advance(900_000);
  expect(gossip.cold).toBeUndefined();
});

test("an agent that is killed in the middle goes on with the same cold start", async () => {
  await bringUpAndLosePower({ db: buildManifest(), app: buildManifest({ top: 'requires = ["db"]' }) });
  await node.until("starting", ["db"]);
  const { run } = gossip.cold ?? {};
  node.kill();
  await node.clock.advance(1_000);
  await node.start();
  await node.until("healthy", ["db", "app"]);
  await node.clock.advance(1_000);
  expect(ended()).toHaveLength(1);
  expect(ended()[0]?.nodes).toEqual([{ node: "vm1", run, began: 0, uncertainSeconds: 0, done: true }]);
  expect(ended()[0]?.path.map(({ name }) => name)).toEqual(["vm1/db", "vm1/app"]);
});

test("a realm: nodes are set beside each other by when their words came, and it is over when all have come up", async () => {
  gossip.peerSays("vm2", { db: HEALTHY });
  gossip.peerSays("vm3", {});
  const slow = buildManifest({ top: 'requires = ["vm2/db"]' });
  await bringUpAndLosePower({ web: slow });
  gossip.peerSays("vm2", { db: STARTING }, cold("two", 4_000));
  await node.until("waiting", ["web"]);
  await node.clock.advance(2_000);
  gossip.peerSays("vm3", { mail: STARTING }, cold("three", 1_000, { services: { mail: { at: [5, 5, 9, null] } } }));
  await node.clock.advance(5_000);
  const db = { db: { at: [10, 10, 20, 11_000] as [number, number, number, number] } };
  gossip.peerSays("vm2", { db: HEALTHY }, cold("two", 11_010, { services: db, done: true }));
  await node.until("healthy", ["web"]);
  await node.clock.advance(30_000);
  expect(ended()).toEqual([]);
  const mail = { mail: { at: [5, 5, 9, 20_000] as [number, number, number, number] } };
  gossip.peerSays("vm3", { mail: HEALTHY }, cold("three", 38_000, { services: mail, done: true }));
  await node.clock.advance(1_000);
  const [report] = ended();
  expect(report).toMatchObject({ scope: "realm", missing: [] });
  // The peers' clocks are set beside the own one by when their words came, the fastest of them.
  const began = Object.fromEntries(report?.nodes.map(({ node: name, began: at }) => [name, at]) ?? []);
  expect(began["vm2"]).toBe(0);
  expect(began["vm1"]).toBeGreaterThan(3);
  expect(report?.path.map(({ name }) => name)).not.toContain("vm1/web");
  expect(report?.services.find(({ name }) => name === "vm1/web")).toMatchObject({ waitedFor: "vm2/db" });
  expect(report?.services.find(({ name }) => name === "vm3/mail")?.healthy).toBe(report?.totalSeconds);
  expect(report?.notes).toHaveLength(2);
});

test("a node that never comes is named after a minute; what started without it is degraded; one that comes late reopens it", async () => {
  gossip.peerSays("vm2", { db: HEALTHY });
  const top =
    'requires = [{ on = "vm2/db", expires = "20s", then = "start" }]\nwants = ["vm3/mail"]\nwants_timeout = "10s"';
  await bringUpAndLosePower({ proxy: buildManifest({ top }) });
  gossip.peerIsLost("vm2", "vm2 is dead: it is not heard");
  await node.until("healthy", ["proxy"]);
  await node.clock.advance(40_000);
  expect(ended()).toEqual([]);
  await node.clock.advance(60_000);
  expect(ended()).toHaveLength(1);
  expect(ended()[0]?.missing.map(({ node: name }) => name)).toEqual(["vm2"]);
  expect(ended()[0]?.services[0]).toMatchObject({ name: "vm1/proxy", waitedFor: "vm2/db" });
  expect(ended()[0]?.services[0]?.without).toEqual(["vm2/db", "vm3/mail"]);
  expect(ended()[0]?.services[0]?.waitedSeconds).toBeGreaterThanOrEqual(20);
  gossip.peerSays(
    "vm2",
    { db: HEALTHY },
    cold("late", 3_000, { done: true, services: { db: { at: [1, 1, 2, 2_900] } } }),
  );
  await node.clock.advance(1_000);
  expect(reports()).toHaveLength(1);
  expect(reports()[0]).toMatchObject({ scope: "realm", missing: [] });
  expect(ended()).toHaveLength(2);
});

test("a node that went on running reports the others' cold start as they tell it", async () => {
  gossip.peerSays("vm2", { db: HEALTHY });
  node.source.set({ web: buildManifest() });
  await node.start();
  await node.untilSettled(["web"]);
  const services = { db: { at: [10, 10, 20, 5_000] as [number, number, number, number] } };
  gossip.peerSays("vm2", { db: HEALTHY }, cold("two", 6_000, { services, done: true }));
  await node.clock.advance(1_000);
  expect(reports()).toHaveLength(1);
  expect(reports()[0]).toMatchObject({ scope: "node", totalSeconds: 5, nodes: [{ node: "vm2", run: "two" }] });
  expect(gossip.cold).toBeUndefined();
  // What is said again and again is the same cold start.
  gossip.peerSays("vm2", { db: STARTING }, cold("two", 60_000, { services, done: true }));
  await node.clock.advance(700_000);
  expect(reports()).toHaveLength(1);
});

test("more services than slots: who had to wait for one says so", async () => {
  const names = ["a", "b", "c", "d", "e"];
  await bringUpAndLosePower(Object.fromEntries(names.map((name) => [name, buildManifest()])));
  await node.until("healthy", names);
  await node.clock.advance(1_000);
  const held = ended()[0]?.services.filter(({ slotSeconds }) => slotSeconds > 0);
  expect(held?.map(({ name }) => name)).toEqual(["vm1/e"]);
  expect(held?.[0]?.slotSeconds).toBeGreaterThan(2.5);
});

test("a gate that closes again had not opened: the second wait counts, and what ended it", async () => {
  node.engine.images.set("slow:1", { healthyAfterMs: 29_000 });
  const slow = Object.fromEntries(["a", "b", "c"].map((name) => [name, buildManifest({ image: "slow:1" })]));
  await bringUpAndLosePower({
    ...slow,
    db: buildManifest(),
    web: buildManifest({ top: 'requires = ["db"]' }),
    e: buildManifest({ image: "slow:1" }),
  });
  // Four slots are taken, so that web has its gate open and waits for one when db goes again.
  await node.clock.advanceUntil(() => node.view("web").start?.at === "slot", 20_000, "web waits for a slot");
  const openedMs = gossip.cold?.services["web"]?.at[0] ?? 0;
  const db = node.engine.running("db");
  if (db === undefined) throw new Error("db does not run");
  node.engine.end(db, 1);
  await node.clock.advanceUntil(() => node.view("web").start?.at === "gate", 5_000, "the gate is closed");
  await node.until("healthy", ["a", "b", "c", "db", "e", "web"]);
  await node.clock.advance(1_000);
  const web = ended()[0]?.services.find(({ name }) => name === "vm1/web");
  expect(web?.waitedFor).toBe("vm1/db");
  expect((web?.gate ?? 0) * 1_000).toBeGreaterThan(openedMs + 500);
});

test("a node that has come up and is lost before the others have is not missing", async () => {
  gossip.peerSays("vm2", { db: HEALTHY });
  node.engine.images.set("app:1", { healthyAfterMs: 20_000 });
  await bringUpAndLosePower({ web: buildManifest() });
  await node.until("starting", ["web"]);
  const db = { db: { at: [10, 10, 20, 900] as [number, number, number, number] } };
  gossip.peerSays("vm2", { db: HEALTHY }, cold("two", 1_000, { services: db, done: true }));
  await node.clock.advance(2_000);
  gossip.peerIsLost("vm2", "vm2 is dead: it is not heard");
  await node.until("healthy", ["web"]);
  await node.clock.advance(2_000);
  expect(ended()).toMatchObject([{ scope: "realm", missing: [] }]);
});

test("when another node began is told by its fastest word", async () => {
  gossip.peerSays("vm2", { db: HEALTHY });
  node.engine.images.set("app:1", { healthyAfterMs: 20_000 });
  await bringUpAndLosePower({ web: buildManifest() });
  await node.clock.advance(8_000);
  // Said five seconds after it began, and three seconds on its way; the next comes at once.
  gossip.peerSays("vm2", { db: STARTING }, cold("two", 5_000));
  await node.clock.advance(1_000);
  const db = { db: { at: [10, 10, 20, 8_900] as [number, number, number, number] } };
  gossip.peerSays("vm2", { db: HEALTHY }, cold("two", 9_000, { services: db, done: true }));
  await node.until("healthy", ["web"]);
  await node.clock.advance(2_000);
  const began = new Map(ended()[0]?.nodes.map(({ node: name, began: at }) => [name, at ?? NaN]));
  expect(Math.abs((began.get("vm2") ?? NaN) - (began.get("vm1") ?? NaN))).toBeLessThan(0.5);
});
