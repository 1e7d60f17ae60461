// What must never happen: a removal on an error, a start out of turn, a spin, a neighbour's container touched.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { policySchema } from "../../../shared/policy/policy.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { NODE, TestNode, troubleOf } from "../../builders/node/node.ts";
import type { FakeContainer } from "../../fakes/fake-container.ts";

let node: TestNode;

beforeEach(() => {
  node = new TestNode();
});

afterEach(() => node.dispose());

function running(service: string): FakeContainer {
  const container = node.engine.running(service);
  if (container === undefined) throw new Error(`${service} does not run`);
  return container;
}

async function bringUp(manifests: Record<string, string>): Promise<void> {
  node.source.set(manifests);
  await node.start();
  await node.untilSettled(Object.keys(manifests));
  node.engine.calls.length = 0;
}

function callsFor(call: string): string[] {
  return node.engine.calls.filter((entry) => entry.call === call).map(({ subject }) => subject);
}

describe("error is not empty", () => {
  test("a source that cannot be read changes nothing, also after a restart of the agent, and status says so", async () => {
    await bringUp({ a: buildManifest(), b: buildManifest() });
    node.source.fail("the disk is gone");
    await node.clock.advance(120_000);
    expect(troubleOf(node)).toBe("the disk is gone");
    await node.stop();
    await node.start();
    await node.untilSettled(["a", "b"]);
    expect(node.engine.calls).toEqual([]);
    node.engine.end(running("a"), 1);
    await node.clock.advance(3_000);
    expect(node.engine.running("a")).toBeDefined();
  });

  test("a fleet.toml that does not parse refuses the whole snapshot", async () => {
    node.source.setFleet('[nodes.vm1]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "8GiB"\n');
    await bringUp({ a: buildManifest() });
    node.source.setFleet("[nodes.vm1\naddress = ");
    node.source.set({ a: buildManifest({ image: "app:2" }), b: buildManifest() });
    await node.clock.advance(60_000);
    expect(troubleOf(node)).toMatch(/^fleet.toml cannot be read: fleet.toml:1:/);
    expect(node.engine.calls).toEqual([]);
    expect(node.turn.services.map((view) => view.name)).toEqual(["a"]);
  });

  test("a fleet.toml that moves the node out of the realm that its host pins is refused", async () => {
    const fleet = (env: string): string => `[nodes.vm1]\naddress = "10.0.0.1"\nenv = "${env}"\nmemory = "8GiB"\n`;
    node = new TestNode({ settings: { policy: policySchema.parse({ realm: "prod" }) } });
    node.source.setFleet(fleet("prod"));
    await bringUp({ a: buildManifest() });
    node.source.setFleet(fleet("stage"));
    node.source.set({ a: buildManifest({ image: "app:2" }) });
    await node.clock.advance(60_000);
    expect(troubleOf(node)).toBe(
      "fleet.toml puts this node into stage, and the host's policy pins it to prod (policy: realm)",
    );
    expect(node.engine.calls).toEqual([]);
    node.source.setFleet(fleet("prod"));
    await node.clock.advanceUntil(() => node.engine.running("a")?.image === "app:2", 60_000, "app:2");
  });

  test("a fleet.toml that would publish this node's ports to the internet is refused, and what runs goes on", async () => {
    const fleet = (address: string): string => `[nodes.vm1]\naddress = "${address}"\nenv = "prod"\nmemory = "8GiB"\n`;
    node = new TestNode({ settings: { address: undefined } });
    node.source.setFleet(fleet("10.0.0.1"));
    await bringUp({ a: buildManifest({ top: 'ports = ["5432:5432"]' }) });
    for (const address of ["0.0.0.0", "203.0.113.7"]) {
      node.source.setFleet(fleet(address));
      await node.until("refused", ["a"]);
      await node.clock.advance(60_000);
      expect(node.view("a").reason).toMatch(/port 5432 may not be published on .*fleet.toml.*rule ports.public/);
      expect(node.engine.running("a")).toBeDefined();
      expect(node.engine.calls).toEqual([]);
    }
  });

  test("caps over what the host's policy allows hold what changed, and a trial only says so", async () => {
    const policy = policySchema.parse({ memory: { max_total: "128MiB" } });
    node = new TestNode({ settings: { policy } });
    await bringUp({ a: buildManifest(), b: buildManifest() });
    node.source.set({ b: buildManifest({ memory: "96MiB" }), c: buildManifest() });
    await node.until("held", ["b"]);
    await node.clock.advance(60_000);
    expect(node.view("b").reason).toMatch(/caps come to 224 MiB.*allows 128 MiB in all \(policy: memory.max_total\)/);
    expect(node.engine.calls).toEqual([]);
    await node.dispose();
    node = new TestNode({ settings: { policy, budget: "warn" } });
    await bringUp({ a: buildManifest(), b: buildManifest({ memory: "96MiB" }) });
    expect(node.notes.join()).toMatch(/caps come to 160 MiB.*on a real node this would be held/);
  });

  test("a spare that can never take this node's place is named in status", async () => {
    const base = '[nodes.vm1]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "8GiB"\n';
    node.source.setFleet(base);
    await bringUp({ a: buildManifest() });
    expect(node.notes).toEqual([]);
    node.source.setFleet(
      `${base}[nodes.vm2]\naddress = "10.0.0.2"\nenv = "prod"\nmemory = "1GiB"\nstandby_for = "vm1"\n`,
    );
    await node.clock.advance(60_000);
    expect(node.notes).toEqual([
      "vm2 may take this node's place (standby_for), and this host's policy pins no recovery_key: no takeover counts here",
    ]);
  });

  test("an alert whose secret the host's policy refuses is named in status", async () => {
    await node.dispose();
    node = new TestNode({ settings: { policy: policySchema.parse({ secrets: { allowed_prefixes: ["/prod"] } }) } });
    const base = '[nodes.vm1]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "8GiB"\n';
    node.source.setFleet(`${base}[alerts]\nwebhooks = [{ url_secret = "/stage/x" }, { url_secret = "/prod/x" }]\n`);
    await bringUp({ a: buildManifest() });
    expect(node.notes.filter((note) => note.includes("alerts"))).toEqual([
      "fleet.toml: alerts: the secret /stage/x is outside /prod: nobody is told there",
    ]);
  });

  test("a manifest that does not parse holds its service at its release, which is still healed", async () => {
    await bringUp({ a: buildManifest(), b: buildManifest() });
    node.source.set({ a: `memroy = 5\n${buildManifest({ image: "app:2" })}`, b: buildManifest({ image: "app:2" }) });
    await node.until("invalid", ["a"]);
    await node.untilSettled(["b"]);
    expect(node.view("a").reason).toMatch(/manifests\/vm1\/a.toml:1:1: memroy: there is no such key/);
    expect(running("a").image).toBe("app:1");
    expect(running("b").image).toBe("app:2");
    node.engine.end(running("a"), 1);
    await node.clock.advance(3_000);
    expect(running("a").image).toBe("app:1");
  });

  test("a new service with a manifest that does not parse is shown and nothing runs for it", async () => {
    await bringUp({ a: buildManifest() });
    node.source.set({ z: "image = 5" });
    await node.until("invalid", ["z"]);
    await node.clock.advance(60_000);
    expect(node.engine.of("z")).toEqual([]);
  });
});

describe("removal", () => {
  const five = { a: buildManifest(), b: buildManifest(), c: buildManifest(), d: buildManifest(), e: buildManifest() };

  test("the brake holds a change that removes more than two of five, until a person allows it", async () => {
    await bringUp(five);
    node.source.set({ a: undefined, b: undefined, c: undefined });
    await node.clock.advance(120_000);
    expect(troubleOf(node)).toMatch(/would remove 3 of 5 services \(a, b, c\).*orca sync --allow-removal 3/);
    expect(node.engine.calls).toEqual([]);
    node.agent.request({ kind: "sync", retry: undefined, allowRemoval: 3, actor: { uid: 0, user: "root" } });
    await node.until("removing", ["a", "b", "c"]);
    await node.clock.advance(60_000);
    expect(callsFor("stopContainer")).toHaveLength(3);
    expect(callsFor("removeContainer")).toEqual([]);
    expect(node.engine.running("d")).toBeDefined();
  });

  test("a permission is for one change only", async () => {
    await bringUp(five);
    node.source.set({ a: undefined, b: undefined, c: undefined });
    await node.clock.advance(60_000);
    node.agent.request({ kind: "sync", retry: undefined, allowRemoval: 3, actor: { uid: 0, user: "root" } });
    await node.until("removing", ["a", "b", "c"]);
    node.source.set({ f: buildManifest(), g: buildManifest(), h: buildManifest() });
    await node.untilSettled(["f", "g", "h"]);
    node.source.set({ d: undefined, e: undefined, f: undefined });
    await node.clock.advance(60_000);
    expect(troubleOf(node)).toMatch(/would remove 3 of 5/);
  });

  test("a removed service is stopped, kept for the undo window, then removed; its volume stays for ever", async () => {
    const stateful = buildManifest({
      top: 'backup = { none = "test" }',
      tables: '[[volumes]]\nname = "data"\ntarget = "/d"',
    });
    await bringUp({ a: buildManifest(), b: buildManifest(), gone: stateful });
    node.source.set({ gone: undefined });
    await node.until("removing", ["gone"]);
    await node.clock.advance(60_000);
    expect(node.engine.of("gone").map((entry) => entry.status)).toEqual(["exited"]);
    // Nothing is being removed for the rest of the hour.
    expect(node.view("gone")).toMatchObject({
      state: "stopped",
      reason: expect.stringMatching(/^it is no longer in Git; Orca keeps its container for 59m/),
    });
    await node.clock.advance(3_600_000);
    expect(node.engine.of("gone")).toEqual([]);
    expect([...node.engine.volumes.keys()]).toEqual(["data"]);
  });

  test("it is given the time to stop that its manifest gave it", async () => {
    node.engine.images.set("slow:1", { ignoresStop: true });
    const slow = buildManifest({ image: "slow:1", top: 'stop_timeout = "45s"' });
    await bringUp({ a: buildManifest(), b: buildManifest(), gone: slow });
    node.source.set({ gone: undefined });
    await node.until("removing", ["gone"]);
    await node.clock.advance(40_000);
    expect(node.engine.of("gone").map((entry) => entry.status)).toEqual(["running"]);
    await node.clock.advance(10_000);
    expect(node.engine.of("gone").map((entry) => entry.status)).toEqual(["exited"]);
  });

  test("what returns within the window with the same spec is started again, not made anew", async () => {
    await bringUp({ a: buildManifest(), b: buildManifest(), c: buildManifest() });
    const { id } = running("a");
    node.source.set({ a: undefined });
    await node.until("removing", ["a"]);
    await node.clock.advance(600_000);
    node.source.set({ a: buildManifest() });
    await node.untilSettled(["a"]);
    expect(running("a").id).toBe(id);
    expect(callsFor("createContainer")).toEqual([]);
  });

  test("a clock that jumps back does not end the window early, nor one that jumps while the agent is down twice", async () => {
    await bringUp({ a: buildManifest(), b: buildManifest(), c: buildManifest() });
    node.source.set({ a: undefined });
    await node.until("removing", ["a"]);
    node.clock.jump(-7_200_000);
    await node.clock.advance(1_800_000);
    expect(node.engine.of("a")).toHaveLength(1);
    await node.clock.advance(2_400_000);
    expect(node.engine.of("a")).toEqual([]);
  });
});

describe("what belongs to someone else", () => {
  test("is not what a backup of this node runs for a while, but is what only looks like it", async () => {
    await bringUp({ a: buildManifest() });
    const labels = { "orca.job": "verify:a/db", "orca.job.node": NODE };
    node.engine.addForeign("orca-job-verify-a-db-1f2e3d4c", { labels });
    node.engine.addForeign("from-an-image-with-labels", { labels });
    node.engine.addForeign("orca-job-of-another", { labels: { ...labels, "orca.job.node": "other" } });
    await node.clock.advance(60_000);
    const { engine } = node.turn.observed;
    expect(engine.reachable && engine.foreign.map(({ name }) => name).toSorted()).toEqual([
      "from-an-image-with-labels",
      "orca-job-of-another",
    ]);
  });

  test("a foreign container with our name is refused and reported, never touched", async () => {
    await bringUp({ a: buildManifest() });
    const { name } = running("a");
    node.engine.remove(running("a").id);
    const foreign = node.engine.addForeign(name);
    await node.until("refused", ["a"]);
    expect(node.view("a").reason).toMatch(new RegExp(`${name} was not made by Orca`));
    await node.clock.advance(600_000);
    expect(node.engine.find(foreign.id)?.status).toBe("running");
    node.engine.containers.delete(foreign.id);
    await node.untilSettled(["a"]);
  });

  test("a volume of another node is refused", async () => {
    node.engine.volumes.set("theirs", { "orca.node": "vm2", "orca.service": "db" });
    const withVolume = (name: string): string =>
      buildManifest({ top: 'backup = { none = "test" }', tables: `[[volumes]]\nname = "${name}"\ntarget = "/d"` });
    node.source.set({ a: withVolume("theirs"), b: withVolume("own") });
    await node.start();
    await node.untilSettled(["b"]);
    expect(node.view("a").state).toBe("refused");
    expect(node.view("a").reason).toMatch(/volume theirs belongs to node vm2/);
    expect(node.engine.of("a")).toEqual([]);
  });

  test("a network of that name that was not made by Orca is refused", async () => {
    node.engine.networks.set("orca-vm1", {
      id: "x",
      name: "orca-vm1",
      labels: {},
      internal: false,
      subnets: [],
      createdMs: undefined,
    });
    node.source.set({ a: buildManifest() });
    await node.start();
    await node.until("refused", ["a"]);
    expect(node.engine.calls).toEqual([]);
  });

  test("a host port that someone else holds: its holder is named, nothing is made of it, and it heals", async () => {
    const foreign = node.engine.addForeign("legacy", { ports: ["127.0.0.1:8080:80"] });
    node.source.set({ a: buildManifest({ top: 'ports = ["8080:80"]' }) });
    await node.start();
    await node.until("backoff", ["a"]);
    expect(node.view("a").reason).toMatch(
      /it cannot start: host port 127\.0\.0\.1:8080\/tcp is held by the container legacy, which was not made by Orca/,
    );
    expect(callsFor("startContainer")).toEqual([]);
    expect(node.view("a").nextMs).toBeGreaterThan(node.clock.nowMs());
    node.engine.containers.delete(foreign.id);
    await node.untilSettled(["a"]);
  });
});

describe("bounded repetition", () => {
  test("a registry outage of half an hour: tried again after 5 s to 5 min, its reason in the first line at all times, never stalled", async () => {
    await bringUp({ a: buildManifest() });
    node.engine.registry.set("app:3", "dial tcp: lookup registry.invalid: no such host");
    node.engine.latencyMs.pullImage = 2_000;
    node.source.set({ a: buildManifest({ image: "app:3" }) });
    await node.until("backoff", ["a"]);
    const firstMs = node.clock.nowMs();
    const shown = new Set<string>();
    while (node.clock.nowMs() - firstMs < 1_800_000) {
      await node.clock.advance(1_000);
      shown.add(node.view("a").state);
      expect(node.view("a").reason).toContain("lookup registry.invalid");
    }
    // A second is seldom the moment at which a try has begun and does not pull yet.
    shown.delete("starting");
    expect([...shown].toSorted()).toEqual(["backoff", "pulling"]);
    // 5 s, doubled up to 5 min: some six tries in the first five minutes, and then one every five.
    const tries = callsFor("pullImage").length;
    expect(tries).toBeGreaterThanOrEqual(9);
    expect(tries).toBeLessThanOrEqual(18);
    expect(node.engine.running("a")?.image).toBe("app:1");
    node.engine.registry.set("app:3", {});
    await node.clock.advanceUntil(() => node.engine.running("a")?.image === "app:3", 310_000, "app:3");
  });

  test("a start that fails again and again keeps its backoff and its reason, and is not called stalled", async () => {
    node.engine.images.set("stuck:1", { startFails: "the engine is in a bad mood", startStatus: 500 });
    node.source.set({ a: buildManifest({ image: "stuck:1" }) });
    await node.start();
    await node.until("backoff", ["a"]);
    const firstMs = node.clock.nowMs();
    while (node.clock.nowMs() - firstMs < 900_000) {
      await node.clock.advance(1_000);
      expect(node.view("a").state).not.toBe("stalled");
      expect(node.view("a").reason).toContain("the engine is in a bad mood");
    }
    expect(callsFor("startContainer").length).toBeGreaterThanOrEqual(6);
  });

  test("the same steps three times without effect: stalled, with a next try, and no spin", async () => {
    await bringUp({ a: buildManifest() });
    // An engine that says yes to new caps and keeps the old ones.
    const container = running("a");
    const stubborn = { ...container.detail.caps, memoryBytes: 2 ** 30 };
    Object.defineProperty(container.detail, "caps", { get: () => stubborn, set() {} });
    node.engine.touch(container, "update", () => undefined);
    await node.until("stalled", ["a"], 10_000);
    const tried = callsFor("updateCaps").length;
    expect(tried).toBe(3);
    await node.clock.advance(20_000);
    expect(callsFor("updateCaps")).toHaveLength(tried);
    expect(node.view("a").nextMs).toBeGreaterThan(node.clock.nowMs());
    await node.clock.advance(3_600_000);
    expect(callsFor("updateCaps").length).toBeLessThan(40);
  });

  test("a frozen event stream: a crash is still found, by the next resync", async () => {
    await bringUp({ a: buildManifest() });
    const container = running("a");
    container.status = "exited";
    Object.assign(container.detail, { exitCode: 1, finishedMs: node.clock.nowMs(), pid: 0 });
    const tookMs = await node.clock.advanceUntil(() => node.engine.running("a") !== undefined, 40_000);
    expect(tookMs).toBeLessThanOrEqual(31_100);
  });
});
