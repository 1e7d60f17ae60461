// Freeze windows on a whole agent: a change waits and goes in by itself, healing goes on, and no change lifts its own freeze.

import { afterEach, beforeEach, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode, troubleOf } from "../../builders/node/node.ts";

const HOUR = 3_600_000;
const FLEET = '[nodes.vm1]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "8GiB"\n';
let node: TestNode;

/** The window that begins within the hour and holds for two. */
function freezeSoon(): { text: string; beginsMs: number } {
  const beginsMs = Math.floor(node.clock.nowMs() / HOUR) * HOUR + HOUR;
  const begins = new Date(beginsMs);
  const cron = `0 ${begins.getUTCHours()} ${begins.getUTCDate()} ${begins.getUTCMonth() + 1} *`;
  return { text: `${FLEET}freeze = [{ schedule = "${cron}", for = "2h" }]\n`, beginsMs };
}

async function advanceTo(ms: number): Promise<void> {
  await node.clock.advance(Math.max(0, ms - node.clock.nowMs()));
}

beforeEach(() => {
  node = new TestNode();
});

afterEach(() => node.dispose());

test("a change is held until the window ends and goes in then, also over a restart; healing goes on", async () => {
  const { text, beginsMs } = freezeSoon();
  node.source.setFleet(text);
  node.source.set({ a: buildManifest() });
  await node.start();
  await node.untilSettled(["a"]);
  await advanceTo(beginsMs + 60_000);
  node.source.set({ a: buildManifest({ image: "app:2" }), b: buildManifest() });
  await node.clock.advance(10_000);
  expect(node.turn.source.holds).toMatchObject([{ kind: "freeze", untilMs: beginsMs + 2 * HOUR }]);
  expect(troubleOf(node)).toMatch(/is frozen until .* UTC and goes in by itself then/);
  expect(node.notes).toEqual([
    expect.stringMatching(/^the change to dir:\w+ would add b, make anew a: see orca plan$/),
  ]);
  // What it would do can be seen, and what is done now is nothing.
  const preview = await node.agent.preview();
  expect(preview.operations).toEqual([]);
  expect(preview.held?.operations.map(({ lane }) => lane).toSorted()).toEqual(["a", "b"]);
  // Healing does not wait.
  const running = node.engine.running("a");
  if (running !== undefined) node.engine.end(running, 1);
  await node.clock.advance(10_000);
  expect(node.engine.running("a")?.image).toBe("app:1");
  // Neither orca sync nor a change that drops the freeze lifts it.
  node.agent.request({ kind: "sync", retry: undefined, allowRemoval: 9, actor: { uid: 0, user: "root" } });
  node.source.setFleet(FLEET);
  await node.clock.advance(10_000);
  expect(node.turn.source.holds.map(({ kind }) => kind)).toEqual(["freeze"]);
  await node.stop();
  await node.start();
  await advanceTo(beginsMs + 2 * HOUR - 1_000);
  expect([node.engine.running("a")?.image, node.engine.running("b")]).toEqual(["app:1", undefined]);
  await node.clock.advance(3_000);
  expect(node.turn.source.holds).toEqual([]);
  await node.untilSettled(["a", "b"]);
  expect(node.engine.running("a")?.image).toBe("app:2");
});

test("a first installation is not frozen", async () => {
  const { text, beginsMs } = freezeSoon();
  await advanceTo(beginsMs + 60_000);
  node.source.setFleet(text);
  node.source.set({ a: buildManifest() });
  await node.start();
  await node.untilSettled(["a"]);
});

test("a held change changes nothing of fleet.toml either", async () => {
  const { text, beginsMs } = freezeSoon();
  node.source.setFleet(`${text}[nodes.vm2]\naddress = "10.0.0.2"\nenv = "prod"\nmemory = "8GiB"\n`);
  node.source.set({ a: buildManifest() });
  await node.start();
  await node.untilSettled(["a"]);
  await advanceTo(beginsMs + 60_000);
  node.engine.calls.length = 0;
  node.source.setFleet(`${text}[nodes.vm2]\naddress = "10.0.0.9"\nenv = "prod"\nmemory = "8GiB"\n`);
  await node.clock.advance(60_000);
  expect(node.turn.desired?.hostEntries["vm2"]).toBe("10.0.0.2");
  expect(node.engine.calls).toEqual([]);
  await advanceTo(beginsMs + 2 * HOUR + 1_000);
  expect(node.turn.desired?.hostEntries["vm2"]).toBe("10.0.0.9");
});
