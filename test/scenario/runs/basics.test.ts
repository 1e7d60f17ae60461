// The main job on one node: first start in order, healing, and no call where nothing is to be done.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

let node: TestNode;

beforeEach(() => {
  node = new TestNode();
});

afterEach(() => node.dispose());

describe("first start", () => {
  test("services start in the order of what they require, each once", async () => {
    node.source.set({
      web: buildManifest({ top: 'requires = ["api"]' }),
      api: buildManifest({ top: 'requires = ["db"]' }),
      db: buildManifest(),
    });
    node.engine.images.set("app:1", { healthyAfterMs: 3_000 });
    await node.start();
    await node.untilSettled(["web", "api", "db"]);
    const starts = node.engine.calls
      .filter(({ call }) => call === "startContainer")
      .map(({ subject }) => node.engine.find(subject)?.request?.service);
    expect(starts).toEqual(["db", "api", "web"]);
    expect(node.engine.calls.filter(({ call }) => call === "createContainer")).toHaveLength(3);
  });

  test("an endpoint that is required holds the start until this node can reach it", async () => {
    node.source.set({ web: buildManifest({ top: 'requires = ["https://auth.example/ready"]' }) });
    await node.start();
    await node.clock.advance(60_000);
    expect(node.view("web").state).toBe("waiting");
    expect(node.engine.running("web")).toBeUndefined();
    node.endpoints.add("https://auth.example/ready");
    await node.until("healthy", ["web"], 5_000);
  });

  test("a want is waited for up to its timeout, then the service starts without it and says so", async () => {
    node.source.set({
      web: buildManifest({ top: 'wants = ["cache"]\nwants_timeout = "20s"' }),
      cache: buildManifest({ image: "slow:1" }),
    });
    node.engine.images.set("slow:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
    await node.start();
    await node.clock.advance(15_000);
    expect(node.view("web").state).toBe("waiting");
    const tookMs = await node.until("healthy", ["web"], 20_000);
    expect(tookMs).toBeLessThan(8_000);
  });
});

describe("no change", () => {
  test("100 reconciles, an agent restart and a lost state make no mutating call", async () => {
    node.source.set({ a: buildManifest(), b: buildManifest({ top: 'requires = ["a"]' }) });
    await node.start();
    await node.untilSettled(["a", "b"]);
    const before = node.engine.calls.length;
    for (let turn = 0; turn < 100; turn += 1) await node.clock.advance(30_000);
    expect(node.engine.calls.length).toBe(before);
    await node.stop();
    await node.start();
    await node.untilSettled(["a", "b"]);
    expect(node.engine.calls.length).toBe(before);
    const calls = node.engine.calls;
    expect(calls.length).toBe(before);
  });
});

describe("healing", () => {
  beforeEach(async () => {
    node.source.set({ app: buildManifest() });
    await node.start();
    await node.untilSettled(["app"]);
  });

  test("a crash is restarted after 0.8 to 1.0 times the initial backoff", async () => {
    const container = node.engine.running("app");
    if (container === undefined) throw new Error("it does not run");
    node.engine.end(container, 1);
    const tookMs = await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 5_000);
    expect(tookMs).toBeGreaterThanOrEqual(800);
    expect(tookMs).toBeLessThanOrEqual(1_050);
  });

  test("a removed container is made again", async () => {
    node.engine.remove(node.engine.running("app")?.id ?? "");
    await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 2_000);
    expect(node.engine.of("app")).toHaveLength(1);
  });

  test("caps changed by hand are put back in place", async () => {
    const container = node.engine.running("app");
    if (container === undefined) throw new Error("it does not run");
    const caps = { ...container.detail.caps };
    node.engine.touch(container, "update", ({ detail }) => (detail.caps = { ...caps, memoryBytes: 2 ** 30 }));
    await node.clock.advance(1_000);
    expect(container.detail.caps).toEqual(caps);
    expect(node.engine.calls.filter(({ call }) => call === "updateCaps")).toHaveLength(1);
  });

  test("a network taken away is given back", async () => {
    const container = node.engine.running("app");
    if (container === undefined) throw new Error("it does not run");
    node.engine.touch(container, "disconnect", ({ networks }) => networks.clear());
    await node.clock.advance(1_000);
    expect([...container.networks.keys()]).toEqual(["orca-vm1"]);
  });
});
