// The wall clock is set, in any direction, while something is under way: it only names moments, and no duration changes.

import { afterEach, describe, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import { crash, openSecretNode, PATH } from "../../builders/node/secret-node.ts";

const YEAR_MS = 31_536_000_000;
const STEPS: readonly (readonly [string, number])[] = [
  ["a year ahead", YEAR_MS],
  ["a year back", -YEAR_MS],
  ["an hour ahead", 3_600_000],
  ["an hour back", -3_600_000],
];

let node: TestNode;

afterEach(() => node.dispose());

async function bringUp(app: string): Promise<void> {
  node = new TestNode();
  node.engine.images.set("slow:1", { healthyAfterMs: 40_000 });
  node.source.set({ app });
  await node.start();
}

function tookMs(): number | undefined {
  return node.view("app").tookMs;
}

describe.each(STEPS)("%s", (_name, byMs) => {
  const slow = 'tcp = { port = 80 }\ninterval = "5s"\nstart_period = "50s"';

  test("while a service starts: it is not stopped, and its start is measured right", async () => {
    await bringUp(buildManifest({ image: "slow:1", health: slow }));
    await node.clock.advance(10_000);
    node.clock.jump(byMs);
    await node.until("healthy", ["app"], 60_000);
    expect(node.engine.running("app")?.run).toBe(1);
    expect(node.engine.calls.filter(({ call }) => call === "stopContainer")).toEqual([]);
    expect(tookMs()).toBeGreaterThanOrEqual(40_000);
    expect(tookMs()).toBeLessThan(45_000);
  });

  test("while the engine's start call is open", async () => {
    node = new TestNode();
    node.engine.images.set("slow:1", { healthyAfterMs: 40_000 });
    node.engine.answersAfterMs.startContainer = 4_000;
    node.source.set({ app: buildManifest({ image: "slow:1", health: slow }) });
    await node.start();
    await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 5_000, "its start");
    await node.clock.advance(1_000);
    node.clock.jump(byMs);
    await node.until("healthy", ["app"], 60_000);
    expect(node.engine.running("app")?.run).toBe(1);
    expect(tookMs()).toBeGreaterThanOrEqual(40_000);
    expect(tookMs()).toBeLessThan(45_000);
  });

  test("while it settles: it is recorded as good when it has been well for its time", async () => {
    await bringUp(buildManifest({ tables: '[update]\nsettle = "30s"' }));
    await node.until("healthy", ["app"]);
    await node.clock.advance(10_000);
    node.clock.jump(byMs);
    await node.clock.advance(18_000);
    expect(node.view("app").settled).toBe(false);
    await node.clock.advance(5_000);
    expect(node.view("app").settled).toBe(true);
  });

  test("while a start waits for its backoff, and the agent is started anew meanwhile", async () => {
    await bringUp(buildManifest({ tables: '[restart]\nbackoff = { initial = "60s", max = "60s" }' }));
    await node.until("healthy", ["app"]);
    await node.clock.advance(1_000);
    const container = node.engine.running("app");
    if (container === undefined) throw new Error("app does not run");
    node.engine.end(container, 1);
    await node.clock.advance(5_000);
    node.clock.jump(byMs);
    await node.clock.advance(5_000);
    node.kill();
    node.clock.jump(byMs);
    await node.start();
    await node.clock.advance(30_000);
    expect(node.engine.running("app")).toBeUndefined();
    await node.clock.advance(25_000);
    expect(node.engine.running("app")?.run).toBe(2);
  });

  test("while a start waits for what it wants", async () => {
    await bringUp(buildManifest({ top: 'wants = ["tcp://10.0.0.9:80"]\nwants_timeout = "60s"' }));
    await node.clock.advance(20_000);
    node.clock.jump(byMs);
    await node.clock.advance(30_000);
    expect(node.engine.running("app")).toBeUndefined();
    await node.clock.advance(15_000);
    expect(node.engine.running("app")?.run).toBe(1);
  });

  test("while it runs: how long it ran is told when it ends", async () => {
    await bringUp(buildManifest());
    await node.untilSettled(["app"]);
    await node.clock.advance(100_000);
    node.clock.jump(byMs);
    await node.clock.advance(100_000);
    crash(node, "app");
    await node.clock.advance(5_000);
    const exit = node.events.find((event) => event.kind === "exited")?.exit;
    expect(exit?.ranMs).toBeGreaterThan(199_000);
    expect(exit?.ranMs).toBeLessThan(300_000);
  });

  test("while the provider of secrets is away: what was read before is as old as it was", async () => {
    const open = openSecretNode({ maxStaleMs: 86_400_000 });
    node = open.node;
    node.source.set({ app: buildManifest({ tables: `[secrets.files]\n"db.password" = "${PATH}"` }) });
    await node.start();
    await node.untilSettled(["app"]);
    open.secrets.fail("*", { kind: "unavailable", reason: "no answer" });
    await node.clock.advance(10_000);
    node.clock.jump(byMs);
    await node.clock.advance(120_000);
    crash(node, "app");
    await node.clock.advance(60_000);
    expect(node.engine.running("app")?.run).toBe(2);
  });
});
