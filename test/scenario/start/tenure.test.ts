// A node and its spare, by a whole agent: a node that hears of a takeover stops everything, its proxy first, and keeps all data; one that
// has a spare waits after its start for a peer's word, and goes on alone after 30 s.

import { afterEach, beforeEach, expect, test } from "vitest";

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

const REPLACED = { kind: "replaced", spare: "vm9", term: 3 } as const;
const services = {
  db: buildManifest(),
  proxy: buildManifest({ top: 'ports = ["10.0.0.1:443:443"]' }),
  web: buildManifest(),
};

test("a takeover stops what runs, the proxy first, says so, and removes nothing", async () => {
  node.source.set(services);
  await node.start();
  await node.untilSettled(["db", "proxy", "web"]);
  const calls = node.engine.calls.length;
  gossip.judge(REPLACED);
  await node.clock.advanceUntil(
    () => Object.keys(services).every((name) => node.engine.running(name) === undefined),
    60_000,
  );
  const stops = node.engine.calls.slice(calls).filter(({ call }) => call === "stopContainer");
  expect(stops.length).toBe(3);
  expect(JSON.stringify(stops[0])).toContain(node.view("proxy").container);
  expect(node.engine.calls.slice(calls).filter(({ call }) => call.startsWith("remove"))).toEqual([]);
  await node.clock.advance(2_000);
  for (const name of Object.keys(services)) {
    expect(node.view(name)).toMatchObject({ state: "stopped", reason: "vm9 stands in this node's place (takeover 3)" });
  }
  expect(node.notes).toContain(
    "vm9 stands in this node's place (takeover 3): its services are stopped here, and their data stays",
  );
  for (const name of Object.keys(services))
    expect(node.view(name).startBlocked).toBe("vm9 stands in this node's place (takeover 3)");
  // Nobody starts it here: no person, no commit.
  node.agent.request({ kind: "start", service: "web", actor: { uid: 0, user: "root" }, ignoreRequires: true });
  node.source.set({ ...services, web: buildManifest({ top: 'image = "app:2"' }).replace('image = "app:1"\n', "") });
  await node.clock.advance(120_000);
  expect(Object.keys(services).filter((name) => node.engine.running(name) !== undefined)).toEqual([]);
  // A takeover of a higher term gives the place back.
  gossip.judge({ kind: "held" });
  await node.untilSettled(["db", "proxy", "web"]);
  expect(node.view("web").startBlocked).toBeUndefined();
});

test("after its start it waits for a peer's word, and starts at the moment it is heard", async () => {
  gossip.tenure = { kind: "awaiting", leftMs: 30_000 };
  node.source.set(services);
  await node.start();
  await node.clock.advance(10_000);
  expect(node.engine.running("db")).toBeUndefined();
  expect(node.view("db")).toMatchObject({ state: "waiting" });
  expect(node.view("db").reason).toMatch(
    /^a spare may stand in this node's place: waiting up to .* for a peer's word$/,
  );
  gossip.judge({ kind: "held" });
  const tookMs = await node.clock.advanceUntil(() => node.engine.running("db") !== undefined, 5_000);
  expect(tookMs).toBeLessThanOrEqual(500);
});

test("heard by nobody it goes on alone, and says so; what runs is not touched by the wait", async () => {
  gossip.tenure = { kind: "alone" };
  node.source.set(services);
  await node.start();
  await node.untilSettled(["db", "proxy", "web"]);
  expect(node.notes).toContain(
    "no peer was heard since this agent's start: this node goes on alone, although a spare may stand in its place",
  );
  const calls = node.engine.calls.length;
  gossip.judge({ kind: "awaiting", leftMs: 30_000 });
  await node.clock.advance(20_000);
  expect(node.engine.calls.slice(calls).filter(({ call }) => /^(stop|start|create|remove)/.test(call))).toEqual([]);
});

test("on a spare that gets the lost node's data, only what holds it starts; all else when it is there", async () => {
  gossip.tenure = { kind: "restoring", services: ["db"] };
  node.source.set(services);
  await node.start();
  await node.until("healthy", ["db"]);
  await node.clock.advance(60_000);
  expect([node.engine.running("web"), node.engine.running("proxy")]).toEqual([undefined, undefined]);
  expect(node.view("web").reason).toBe("a recovery goes on here: it waits until the lost node's data is restored");
  gossip.judge({ kind: "held" });
  await node.untilSettled(["db", "proxy", "web"]);
});
