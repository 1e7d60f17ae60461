// Order on one node: the gate at first start, at boot and after a crash, expiry, slots, and lanes that do not wait for
// each other.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
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

const never = { healthyAfterMs: Number.POSITIVE_INFINITY };

describe("the gate", () => {
  test("is hard at a first start: it waits for ever, and says for whom and why", async () => {
    node.engine.images.set("sick:1", never);
    node.source.set({ db: buildManifest({ image: "sick:1" }), web: buildManifest({ top: 'requires = ["db"]' }) });
    await node.start();
    await node.clock.advance(3_600_000);
    expect(node.view("web")).toMatchObject({ state: "waiting", waitingFor: ["db"] });
    expect(node.view("web").reason).toMatch(/^waiting for db \(it is not/);
    expect(
      node.engine.calls.filter(
        ({ call, subject }) => call === "startContainer" && node.engine.find(subject)?.request?.service === "web",
      ),
    ).toEqual([]);
  });

  test("is soft after a crash in the same engine run: wants_timeout, then it starts and is marked ungated", async () => {
    node.source.set({ db: buildManifest(), web: buildManifest({ top: 'requires = ["db"]\nwants_timeout = "40s"' }) });
    await node.start();
    await node.untilSettled(["db", "web"]);
    node.sick.add(running("db").id);
    await node.clock.advance(60_000);
    node.engine.end(running("web"), 1);
    const tookMs = await node.clock.advanceUntil(() => node.engine.running("web") !== undefined, 120_000);
    expect(tookMs).toBeGreaterThanOrEqual(39_900);
    expect(tookMs).toBeLessThanOrEqual(41_000);
    await node.clock.advance(5_000);
    expect(node.view("web").notes).toContain("started without db");
  });

  test("is hard again after the engine restarted", async () => {
    node.source.set({ db: buildManifest(), web: buildManifest({ top: 'requires = ["db"]\nwants_timeout = "40s"' }) });
    await node.start();
    await node.untilSettled(["db", "web"]);
    node.engine.images.set("app:1", never);
    node.engine.goDown();
    await node.clock.advance(5_000);
    node.engine.comeBack();
    await node.clock.advance(600_000);
    expect(node.engine.running("web")).toBeUndefined();
    expect(node.view("web").state).toBe("waiting");
    node.engine.images.set("app:1", {});
    await node.untilSettled(["db", "web"]);
  });

  test("losing a dependency never stops what runs", async () => {
    node.source.set({ db: buildManifest({ image: "app:2" }), web: buildManifest({ top: 'requires = ["db"]' }) });
    await node.start();
    await node.untilSettled(["db", "web"]);
    const { run } = running("web");
    node.engine.images.set("app:2", never);
    node.engine.end(running("db"), 1);
    await node.clock.advance(3_600_000);
    expect(running("web").run).toBe(run);
  });

  test("expires with start: it starts without and says so; with fail: it fails and heals when the other comes", async () => {
    node.engine.images.set("sick:1", never);
    const requires = (then: string): string => `requires = [{ on = "db", expires = "2m", then = "${then}" }]`;
    node.source.set({
      db: buildManifest({ image: "sick:1" }),
      proxy: buildManifest({ top: requires("start") }),
      strict: buildManifest({ top: requires("fail") }),
    });
    await node.start();
    const tookMs = await node.until("healthy", ["proxy"], 200_000);
    expect(tookMs).toBeGreaterThan(115_000);
    expect(tookMs).toBeLessThan(125_000);
    expect(node.view("proxy").notes).toContain("started without db");
    expect(node.view("strict")).toMatchObject({ state: "failed", waitingFor: ["db"] });
    expect(node.view("strict").reason).toMatch(/^db was not healthy within 2m/);
    node.engine.images.set("sick:1", {});
    await node.untilSettled(["strict", "db"], 600_000);
  });

  test("a wait begins anew with the engine's run: what was waited before a reboot opens no gate early", async () => {
    node.source.set({
      proxy: buildManifest({ top: 'requires = [{ on = "tcp://x:1", expires = "5m", then = "start" }]' }),
    });
    await node.start();
    await node.clock.advance(240_000);
    expect(node.view("proxy").state).toBe("waiting");
    node.engine.goDown();
    await node.clock.advance(120_000);
    node.engine.comeBack();
    const tookMs = await node.clock.advanceUntil(
      () => node.engine.running("proxy") !== undefined,
      400_000,
      "the start",
    );
    expect(tookMs).toBeGreaterThan(290_000);
    expect(tookMs).toBeLessThan(310_000);
  });

  test("services that wait for each other are shown as the ring they are", async () => {
    // The agent holds a cycle; with one already running by hand-edited state it would still be shown. Here nothing runs.
    node.source.set({
      a: buildManifest({ top: 'requires = ["b"]' }),
      b: buildManifest({ top: 'requires = ["a"]' }),
      c: buildManifest(),
    });
    await node.start();
    await node.untilSettled(["c"]);
    expect(node.view("a").state).toBe("held");
    expect(node.view("a").reason).toMatch(/vm1\/a → vm1\/b → vm1\/a/);
    expect(node.engine.of("a")).toEqual([]);
  });

  test("services of other nodes: assumed healthy, or waited for", async () => {
    node.source.set({ web: buildManifest({ top: 'requires = ["vm2/db"]' }) });
    await node.start();
    await node.untilSettled(["web"]);
    const waiting = new TestNode({ peers: { kind: "known", services: {} } });
    waiting.source.set({ web: buildManifest({ top: 'requires = ["vm2/db"]' }) });
    await waiting.start();
    await waiting.clock.advance(600_000);
    expect(waiting.view("web")).toMatchObject({ state: "waiting", waitingFor: ["vm2/db"] });
    expect(waiting.view("web").reason).toMatch(/nothing is known of vm2/);
    await waiting.dispose();
  });
});

describe("start slots", () => {
  test("at most four services start at once; a slot is held until healthy, exit or 30 s", async () => {
    node.engine.images.set("slow:1", { healthyAfterMs: 10_000 });
    const names = Array.from({ length: 12 }, (_, index) => `s${index + 10}`);
    node.source.set(
      Object.fromEntries(
        names.map((name) => [
          name,
          buildManifest({ image: "slow:1", health: 'tcp = { port = 80 }\nstart_period = "1m"' }),
        ]),
      ),
    );
    await node.start();
    let most = 0;
    const starting = (): number =>
      names.filter((name) => {
        const container = node.engine.running(name);
        return container !== undefined && !node.engine.isHealthy(container.id);
      }).length;
    for (let second = 0; second < 60; second += 1) {
      await node.clock.advance(1_000);
      most = Math.max(most, starting());
    }
    expect(most).toBe(4);
    await node.untilSettled(names);
  });

  test("services that never get healthy give their slot back after 30 s", async () => {
    node.engine.images.set("sick:1", never);
    const sick = Array.from(
      { length: 4 },
      (_, index) =>
        [`a${index}`, buildManifest({ image: "sick:1", health: 'tcp = { port = 80 }\nstart_period = "10m"' })] as const,
    );
    node.source.set({ ...Object.fromEntries(sick), z: buildManifest() });
    await node.start();
    const tookMs = await node.until("healthy", ["z"], 60_000);
    expect(tookMs).toBeGreaterThan(29_000);
    expect(tookMs).toBeLessThan(32_000);
  });
});

describe("lanes", () => {
  test("a pull of 60 s of one service delays no other's restart", async () => {
    node.engine.registry.set("big:1", {});
    node.engine.latencyMs.pullImage = 60_000;
    node.source.set({ app: buildManifest() });
    await node.start();
    await node.untilSettled(["app"]);
    node.source.set({ app: buildManifest(), big: buildManifest({ image: "big:1" }) });
    await node.until("pulling", ["big"], 5_000);
    node.engine.end(running("app"), 1);
    const tookMs = await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 5_000);
    expect(tookMs).toBeLessThanOrEqual(1_050);
    expect(node.view("big").state).toBe("pulling");
    await node.untilSettled(["big"]);
  });

  test("a stop of 60 s of one service delays no other's restart", async () => {
    node.engine.images.set("stubborn:1", { ignoresStop: true });
    node.source.set({ app: buildManifest(), old: buildManifest({ image: "stubborn:1", top: 'stop_timeout = "60s"' }) });
    await node.start();
    await node.untilSettled(["app", "old"]);
    node.source.set({ old: buildManifest({ image: "stubborn:1", top: 'stop_timeout = "60s"\nstate = "stopped"' }) });
    await node.clock.advance(1_000);
    node.engine.end(running("app"), 1);
    const tookMs = await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 5_000);
    expect(tookMs).toBeLessThanOrEqual(1_050);
    expect(node.engine.running("old")).toBeDefined();
    await node.clock.advance(60_000);
    expect(node.engine.running("old")).toBeUndefined();
    expect(node.view("old").state).toBe("stopped");
  });

  test("a newer intent cancels a pull that is no longer wanted", async () => {
    node.engine.registry.set("big:1", {});
    node.engine.latencyMs.pullImage = 600_000;
    node.source.set({ app: buildManifest({ image: "big:1" }) });
    await node.start();
    await node.until("pulling", ["app"], 5_000);
    node.source.set({ app: buildManifest() });
    await node.clock.advance(601_000);
    await node.untilSettled(["app"]);
    expect(running("app").image).toBe("app:1");
  });
});
