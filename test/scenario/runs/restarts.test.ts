// Crashes, health and rollouts on one node: backoff that lasts, restart policies, what is told to whom.

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

async function bringUp(manifests: Record<string, string>): Promise<void> {
  node.source.set(manifests);
  await node.start();
  await node.untilSettled(Object.keys(manifests));
  node.engine.calls.length = 0;
}

/** When each run of a service began, in milliseconds of fake time. */
async function recordStarts(service: string, forMs: number): Promise<number[]> {
  const starts: number[] = [];
  let run = 0;
  const endMs = node.clock.nowMs() + forMs;
  while (node.clock.nowMs() < endMs) {
    await node.clock.advance(200);
    const container = node.engine.of(service)[0];
    if (container !== undefined && container.run !== run) {
      run = container.run;
      starts.push(container.detail.startedMs ?? 0);
    }
  }
  return starts;
}

describe("backoff", () => {
  test("a crash every 11 s backs off to max, also over a restart of the agent", async () => {
    node.engine.images.set("crashing:1", { endsAfterMs: 11_000, exitCode: 1 });
    const tables = '[restart]\nbackoff = { initial = "1s", max = "64s", reset_after = "10m" }';
    node.source.set({ app: buildManifest({ image: "crashing:1", tables }) });
    await node.start();
    const starts = await recordStarts("app", 400_000);
    await node.stop();
    await node.start();
    starts.push(...(await recordStarts("app", 300_000)).filter((at) => !starts.includes(at)));
    const waits = starts.slice(1).map((at, index) => at - (starts[index] ?? 0) - 11_000);
    const wanted = [1, 2, 4, 8, 16, 32, 64, 64, 64].map((seconds) => seconds * 1_000);
    expect(waits.length).toBeGreaterThanOrEqual(wanted.length);
    for (const [index, whole] of wanted.entries()) {
      expect(waits[index], `wait ${index + 1}`).toBeGreaterThanOrEqual(whole * 0.8);
      expect(waits[index], `wait ${index + 1}`).toBeLessThanOrEqual(whole + 300);
    }
  });

  test("a long healthy run ends it", async () => {
    const tables = '[restart]\nbackoff = { initial = "2s", max = "5m", reset_after = "10m" }';
    await bringUp({ app: buildManifest({ tables }) });
    for (let crash = 0; crash < 4; crash += 1) {
      node.engine.end(running("app"), 1);
      await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 60_000);
      await node.clock.advance(2_000);
    }
    await node.clock.advance(601_000);
    node.engine.end(running("app"), 1);
    const tookMs = await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 60_000);
    expect(tookMs).toBeLessThanOrEqual(2_050);
  });

  test("a new commit overrides it", async () => {
    node.engine.images.set("crashing:1", { endsAfterMs: 100, exitCode: 1 });
    node.source.set({ app: buildManifest({ image: "crashing:1" }) });
    await node.start();
    await node.clock.advance(600_000);
    expect(node.view("app").state).toBe("backoff");
    node.source.set({ app: buildManifest() });
    const tookMs = await node.until("healthy", ["app"], 60_000);
    expect(tookMs).toBeLessThan(2_000);
  });

  test("a clock that jumps back by a day does not stretch it, nor does one that jumps ahead harm", async () => {
    await bringUp({ app: buildManifest() });
    node.engine.end(running("app"), 1);
    await node.clock.advance(100);
    node.clock.jump(-86_400_000);
    await node.clock.advanceUntil(() => node.engine.running("app") !== undefined, 301_000);
    node.clock.jump(86_400_000);
    await node.clock.advance(60_000);
    expect(running("app").status).toBe("running");
  });
});

describe("an unhealthy service", () => {
  test("is restarted after its retries, under the same backoff", async () => {
    await bringUp({ app: buildManifest({ health: 'tcp = { port = 80 }\ninterval = "5s"\nretries = 3' }) });
    node.sick.add(running("app").id);
    const tookMs = await node.clock.advanceUntil(() => node.engine.running("app")?.run === 2, 60_000);
    expect(tookMs).toBeGreaterThanOrEqual(10_000);
    expect(tookMs).toBeLessThanOrEqual(22_000);
    expect(node.view("app").restarts).toBe(1);
    const stops = node.engine.calls.filter(({ call }) => call === "stopContainer");
    expect(stops).toHaveLength(1);
  });

  test("that never got healthy is given start_period and its retries", async () => {
    node.engine.images.set("sick:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
    node.source.set({
      app: buildManifest({
        image: "sick:1",
        health: 'tcp = { port = 80 }\nstart_period = "60s"\ninterval = "10s"\nretries = 3',
      }),
    });
    await node.start();
    const tookMs = await node.clock.advanceUntil(
      () => node.events.some((event) => event.kind === "step-done" && event.step.kind === "stop-container"),
      200_000,
    );
    expect(tookMs).toBeGreaterThanOrEqual(89_000);
    expect(tookMs).toBeLessThanOrEqual(92_000);
  });
});

describe("a changed [health]", () => {
  const check = (asked: string): string => buildManifest({ health: `${asked}\ninterval = "5s"\nretries = 3` });

  test("shows starting until the new check has answered; nothing is restarted for that", async () => {
    await bringUp({ app: check("tcp = { port = 80 }") });
    node.unanswered.add(running("app").id);
    node.source.set({ app: check("tcp = { port = 81 }") });
    await node.clock.advance(1_000);
    expect(node.view("app")).toMatchObject({ state: "starting", settled: false });
    await node.clock.advance(60_000);
    expect(node.view("app")).toMatchObject({ state: "starting", settled: false, reason: "no answer yet" });
    node.unanswered.clear();
    await node.untilSettled(["app"]);
    expect(running("app").run).toBe(1);
    expect(node.engine.calls.map(({ call }) => call)).not.toContain("stopContainer");
  });

  test("that fails is unhealthy after its retries, counted from the change", async () => {
    await bringUp({ app: check("tcp = { port = 80 }") });
    node.sick.add(running("app").id);
    node.source.set({ app: check("tcp = { port = 81 }") });
    await node.clock.advance(4_000);
    expect(node.view("app")).toMatchObject({ state: "starting", reason: "connection refused" });
    const tookMs = await node.clock.advanceUntil(() => node.engine.running("app")?.run === 2, 60_000);
    expect(tookMs).toBeGreaterThanOrEqual(10_000);
    expect(tookMs).toBeLessThanOrEqual(22_000);
  });

  test("of which only the rhythm is another: it stays healthy", async () => {
    await bringUp({ app: check("tcp = { port = 80 }") });
    node.unanswered.add(running("app").id);
    node.source.set({ app: buildManifest({ health: 'tcp = { port = 80 }\ninterval = "7s"' }) });
    await node.clock.advance(30_000);
    expect(node.view("app").state).toBe("healthy");
  });
});

describe("restart policies", () => {
  test.each([
    ["never", 0, "completed"],
    ["never", 1, "failed"],
    ["on-failure", 0, "completed"],
  ] as const)("%s and exit code %i: %s, and it stays ended", async (policy, exitCode, state) => {
    await bringUp({ app: buildManifest({ tables: `[restart]\npolicy = "${policy}"` }) });
    node.engine.end(running("app"), exitCode);
    await node.until(state, ["app"], 5_000);
    await node.clock.advance(3_600_000);
    expect(node.engine.calls).toEqual([]);
  });

  test("on-failure and exit code 1: started again", async () => {
    await bringUp({ app: buildManifest({ tables: '[restart]\npolicy = "on-failure"' }) });
    node.engine.end(running("app"), 1);
    await node.clock.advance(3_000);
    expect(node.engine.running("app")).toBeDefined();
  });

  test("never, and the engine restarted: the run did not end by itself, so it is started again", async () => {
    await bringUp({ app: buildManifest({ tables: '[restart]\npolicy = "never"' }) });
    node.engine.goDown();
    await node.clock.advance(3_000);
    node.engine.comeBack();
    await node.untilSettled(["app"]);
  });
});

describe("why it ended", () => {
  test("exit 137 by hand is a kill, not an OOM; the kernel's word is an OOM", async () => {
    await bringUp({ app: buildManifest() });
    node.engine.end(running("app"), 137, { byHand: "9" });
    await node.clock.advance(3_000);
    node.engine.end(running("app"), 137, { oom: true });
    await node.clock.advance(10_000);
    node.engine.end(running("app"), 137);
    await node.clock.advance(10_000);
    const exits = node.agent.store.listExits("app", 10).toReversed();
    expect(exits.map(({ exitCode, signal, oom, requested }) => ({ exitCode, signal, oom, requested }))).toEqual([
      { exitCode: 137, signal: 9, oom: false, requested: "by-hand" },
      { exitCode: 137, signal: 9, oom: true, requested: undefined },
      { exitCode: 137, signal: 9, oom: false, requested: undefined },
    ]);
  });

  test("an exit while the agent was down is found and recorded once", async () => {
    node.engine.images.set("talking:1", { logs: ["one", "two"] });
    await bringUp({ app: buildManifest({ image: "talking:1" }) });
    node.kill();
    node.engine.end(running("app"), 3);
    await node.clock.advance(60_000);
    await node.start();
    await node.untilSettled(["app"]);
    await node.clock.advance(60_000);
    expect(node.agent.store.listExits("app", 10)).toMatchObject([{ exitCode: 3, logTail: ["one", "two"] }]);
  });
});

describe("a new spec", () => {
  test("is pulled and made while the old one serves, and the gate is asked before the old one stops", async () => {
    node.engine.registry.set("new:1", {});
    node.engine.latencyMs.pullImage = 30_000;
    node.engine.images.set("sick:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
    await bringUp({ app: buildManifest(), db: buildManifest({ image: "sick:1" }) }).catch(() => undefined);
    const old = running("app").id;
    node.source.set({ app: buildManifest({ image: "new:1", top: 'requires = ["db"]' }) });
    await node.clock.advance(300_000);
    expect(node.engine.find(old)?.status).toBe("running");
    expect(node.view("app").reason).toMatch(/still runs \(healthy\)/);
    node.engine.images.set("sick:1", {});
    await node.untilSettled(["app", "db"], 600_000);
    expect(running("app").image).toBe("new:1");
    expect(node.engine.of("app")).toHaveLength(1);
  });

  test("keeps the old container until the new one has settled", async () => {
    await bringUp({ app: buildManifest() });
    node.source.set({ app: buildManifest({ image: "app:2" }) });
    await node.clock.advance(5_000);
    expect(
      node.engine
        .of("app")
        .map((entry) => entry.status)
        .toSorted(),
    ).toEqual(["exited", "running"]);
    await node.untilSettled(["app"]);
    await node.clock.advance(1_000);
    expect(node.engine.of("app").map((entry) => entry.image)).toEqual(["app:2"]);
  });

  test("an image that cannot be pulled: the old one serves, the next try is shown, the registry's return heals", async () => {
    node.engine.registry.set("new:1", "received unexpected HTTP status: 503 Service Unavailable");
    await bringUp({ app: buildManifest() });
    node.source.set({ app: buildManifest({ image: "new:1" }) });
    await node.clock.advance(600_000);
    expect(running("app").image).toBe("app:1");
    expect(node.view("app")).toMatchObject({ state: "backoff" });
    expect(node.view("app").reason).toMatch(/503 Service Unavailable; dir:\w+ still runs \(healthy\)/);
    expect(node.view("app").nextMs).toBeGreaterThan(node.clock.nowMs());
    node.engine.registry.set("new:1", {});
    await node.clock.advanceUntil(() => running("app").image === "new:1", 301_000);
  });

  test("only the agent's own keys: no call at all", async () => {
    await bringUp({ app: buildManifest() });
    node.source.set({
      app: buildManifest({
        top: 'owner = "ops"',
        health: 'tcp = { port = 80 }\ninterval = "3s"',
        tables: "[slo]\navailability = 99.5",
      }),
    });
    await node.clock.advance(120_000);
    expect(node.engine.calls).toEqual([]);
    expect(node.view("app").owner).toBe("ops");
  });
});
