// Jobs: on their time and not before, never two at once, a missed time made up once, migrations before what needs them.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

let node: TestNode;
const MINUTE = 60_000;

beforeEach(() => {
  node = new TestNode();
  node.engine.images.set("task:1", { endsAfterMs: 5_000, exitCode: 0, logs: ["done"] });
  node.engine.images.set("task:2", { endsAfterMs: 5_000, exitCode: 7 });
  node.engine.images.set("long:1", { endsAfterMs: 25 * MINUTE, exitCode: 0 });
});

afterEach(() => node.dispose());

/** A job's manifest. The fake clock begins at 12:00 UTC. */
function job(image: string, schedule: string, top = ""): string {
  return `image = "${image}"\nschedule = "${schedule}"\n${top}\n[resources]\nmemory = "64MiB"\n`;
}

function starts(): number {
  return node.engine.calls.filter(({ call }) => call === "startContainer").length;
}

async function bringUp(manifests: Record<string, string>): Promise<void> {
  node.source.set(manifests);
  await node.start();
  await node.clock.advance(1_000);
}

describe("a cron", () => {
  test("runs at its times in UTC and not before, in a new container each time", async () => {
    await bringUp({ task: job("task:1", "30 * * * *") });
    expect([node.view("task").state, node.view("task").reason]).toEqual([
      "completed",
      "it has not been due yet; next run at 2026-11-21T12:30Z",
    ]);
    await node.clock.advance(29 * MINUTE);
    expect(starts()).toBe(0);
    await node.clock.advance(2 * MINUTE);
    expect(starts()).toBe(1);
    const first = node.engine.of("task")[0]?.id;
    expect(node.view("task").reason).toBe(
      "the run of 2026-11-21T12:30Z ended with exit code 0 after 5s; next run at 2026-11-21T13:30Z",
    );
    await node.clock.advance(60 * MINUTE);
    expect(starts()).toBe(2);
    expect(node.engine.of("task")).toHaveLength(1);
    expect(node.engine.of("task")[0]?.id).not.toBe(first);
  });

  test("a run that fails is shown and waits for its next time", async () => {
    await bringUp({ task: job("task:2", "30 * * * *") });
    await node.clock.advance(45 * MINUTE);
    expect([starts(), node.view("task").state]).toEqual([1, "failed"]);
    expect(node.view("task").reason).toContain("exit code 7");
    await node.clock.advance(60 * MINUTE);
    expect(starts()).toBe(2);
  });

  test("never two at once: a time that passes meanwhile is skipped and counted", async () => {
    await bringUp({ task: job("long:1", "*/10 * * * *") });
    await node.clock.advance(32 * MINUTE);
    expect([starts(), node.view("task").notes]).toEqual([
      1,
      ["2 times were skipped: the run before was still going on"],
    ]);
    await node.clock.advance(10 * MINUTE);
    expect(starts()).toBe(2);
    expect(node.engine.of("task").filter((entry) => entry.status === "running")).toHaveLength(1);
  });

  test("what was missed while the agent was away is made up exactly once", async () => {
    await bringUp({ task: job("task:1", "30 * * * *") });
    await node.stop();
    await node.clock.advance(5 * 60 * MINUTE);
    await node.start();
    await node.clock.advance(20 * MINUTE);
    expect(starts()).toBe(1);
    await node.clock.advance(11 * MINUTE);
    expect(starts()).toBe(2);
  });

  test("a run that the engine took down is owed and run again", async () => {
    await bringUp({ task: job("long:1", "30 12 * * *") });
    await node.clock.advance(35 * MINUTE);
    node.engine.goDown();
    await node.clock.advance(3_000);
    node.engine.comeBack();
    await node.clock.advance(30 * MINUTE);
    expect([starts(), node.view("task").state]).toEqual([2, "completed"]);
    expect(node.view("task").reason).toContain("the run of 2026-11-21T12:");
  });

  test("a clock that jumps back runs nothing twice, and one that jumps ahead makes up once", async () => {
    await bringUp({ task: job("task:1", "30 * * * *") });
    await node.clock.advance(31 * MINUTE);
    expect(starts()).toBe(1);
    node.clock.jump(-60 * MINUTE);
    await node.clock.advance(MINUTE);
    expect(starts()).toBe(1);
    node.clock.jump(10 * 60 * MINUTE);
    await node.clock.advance(2 * MINUTE);
    expect(starts()).toBe(2);
  });

  test("paused it does not run, and a stopped one neither", async () => {
    await bringUp({ task: job("task:1", "30 * * * *"), still: job("task:1", "30 * * * *", 'state = "stopped"') });
    node.agent.request({ kind: "pause", service: "task", actor: { uid: 0, user: "root" } });
    await node.clock.advance(90 * MINUTE);
    expect(starts()).toBe(0);
    node.agent.request({ kind: "resume", service: "task", actor: { uid: 0, user: "root" } });
    await node.clock.advance(MINUTE);
    expect(starts()).toBe(1);
  });

  test("orca start runs it now", async () => {
    await bringUp({ task: job("task:1", "30 * * * *") });
    node.agent.request({ kind: "start", service: "task", ignoreRequires: false, actor: { uid: 0, user: "root" } });
    await node.clock.advance(MINUTE);
    expect([starts(), node.view("task").state]).toEqual([1, "completed"]);
  });
});

describe("@once", () => {
  test("runs once for each spec, and what requires it starts after it has ended with 0", async () => {
    await bringUp({ migrate: job("task:1", "@once"), app: buildManifest({ top: 'requires = ["migrate"]' }) });
    expect(node.view("app").reason).toContain("it is a job that has not ended with 0 yet");
    await node.untilSettled(["app", "migrate"]);
    expect(starts()).toBe(2);
    await node.stop();
    await node.start();
    await node.clock.advance(120 * MINUTE);
    expect(starts()).toBe(2);
    node.engine.images.set("task:3", { endsAfterMs: 1_000, exitCode: 0 });
    node.source.set({ migrate: job("task:3", "@once") });
    await node.clock.advance(5 * MINUTE);
    expect(starts()).toBe(3);
  });

  test("one that fails is tried again with its backoff, and what requires it waits", async () => {
    await bringUp({ migrate: job("task:2", "@once"), app: buildManifest({ top: 'requires = ["migrate"]' }) });
    await node.clock.advance(10 * MINUTE);
    expect(starts()).toBeGreaterThan(3);
    expect(starts()).toBeLessThan(12);
    expect(node.engine.of("app").filter((entry) => entry.status === "running")).toEqual([]);
    node.engine.images.set("task:2", { endsAfterMs: 1_000, exitCode: 0 });
    await node.untilSettled(["app"], 20 * MINUTE);
  });

  test("kill -9 before any call: it has run, and not twice at once", async () => {
    for (let call = 1; call <= 4; call += 1) {
      const own = new TestNode();
      own.engine.images.set("task:1", { endsAfterMs: 5_000, exitCode: 0 });
      own.engine.dieBeforeCall = call;
      own.source.set({ migrate: job("task:1", "@once") });
      await own.start();
      await own.clock.advance(20_000);
      own.kill();
      await own.start();
      await own.until("completed", ["migrate"]);
      expect(own.engine.of("migrate")).toHaveLength(1);
      await own.dispose();
    }
  });
});
