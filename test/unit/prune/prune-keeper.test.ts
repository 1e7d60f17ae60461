// The keeper itself, with an engine and a clock in the test's hand: what it stands still for, what it waits for, what a kill leaves.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { PruneKeeper, type PruneOptions } from "../../../agent/prune/prune-keeper.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { buildDesired, buildTurn, buildView } from "../../builders/node/turns.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { FakePruner } from "../../fakes/fake-pruner.ts";

const HOUR_MS = 3_600_000;
const WEEK_MS = 168 * HOUR_MS;
const IDS: Readonly<Record<string, string>> = { "app:1": "sha256:1", "app:2": "sha256:2" };

let directory = "";
let clock: FakeClock;
let engine: FakePruner;
let events: AgentEvent[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-prune-"));
  clock = new FakeClock();
  engine = new FakePruner();
  engine.images = Object.entries(IDS).map(([tag, id]) => ({
    id,
    tags: [tag],
    digests: [],
    freesBytes: 7,
    pinned: false,
  }));
  events = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(more: Partial<PruneOptions> = {}): PruneKeeper {
  return new PruneKeeper({
    node: "vm1",
    clock,
    statePath: join(directory, "prune.json"),
    pruner: engine,
    findImage: (reference) => Promise.resolve(IDS[reference]),
    listReleases: () => [],
    listBackupImages: () => Promise.resolve([]),
    isBusy: () => false,
    readDisk: () => Promise.resolve({ free: 0.5, inodesFree: 0.5 }),
    emit: (event) => events.push(event),
    ...more,
  });
}

function turn(image: string): Parameters<PruneKeeper["follow"]>[0] {
  return buildTurn({ views: [buildView("app")], desired: [buildDesired("app", { spec: { image } })] });
}

/** Turns come every half minute. */
async function pass(keeper: PruneKeeper, image: string, hours: number): Promise<void> {
  const stepMs = HOUR_MS / 4;
  for (let passedMs = 0; passedMs < hours * HOUR_MS; passedMs += stepMs) {
    await clock.advance(stepMs);
    keeper.follow(turn(image));
    await clock.advance(1);
  }
}

function listRuns(): string[] {
  return events.flatMap((event) => (event.kind === "prune-ended" ? [event.run.trigger] : []));
}

test("an image goes in the first weekly prune after nobody has needed it for a week", async () => {
  const keeper = open();
  await pass(keeper, "app:1", 7);
  await pass(keeper, "app:2", 166);
  expect(listRuns()).toEqual(["schedule"]);
  expect(engine.images).toHaveLength(2);
  await pass(keeper, "app:2", 176);
  expect(listRuns()).toEqual(["schedule", "schedule"]);
  expect(engine.images.map(({ id }) => id)).toEqual(["sha256:2"]);
  expect(keeper.status.lastRun?.removed).toEqual([{ kind: "image", name: "app:1", freedBytes: 7 }]);
  await keeper.close();
});

test("over restarts the time is remembered, and what was missed is made up once", async () => {
  const first = open();
  await pass(first, "app:1", 7);
  await first.close();
  await clock.advance(4 * WEEK_MS);
  const second = open();
  await pass(second, "app:2", 24);
  await second.close();
  const third = open();
  await pass(third, "app:2", 24);
  expect(listRuns()).toEqual(["catch-up"]);
  // It was in use when it was last looked at, and may have been until a moment ago.
  expect(engine.images).toHaveLength(2);
  await third.close();
});

test("a disk below 10 % is pruned early, after an hour in place of a week", async () => {
  let free = 0.15;
  const keeper = open({ readDisk: () => Promise.resolve({ free, inodesFree: 0.5 }) });
  await pass(keeper, "app:1", 7);
  await pass(keeper, "app:2", 7);
  expect(listRuns()).toEqual([]);
  free = 0.05;
  await pass(keeper, "app:2", 1);
  expect(listRuns()).toEqual(["low-disk"]);
  expect(engine.images).toHaveLength(1);
  await keeper.close();
});

test.each<[string, Partial<PruneOptions>]>([
  [
    "a repository of backups does not answer",
    { listBackupImages: () => Promise.reject(new Error("repository: away")) },
  ],
  [
    "the engine cannot say which images are needed",
    { findImage: () => Promise.reject(new Error("inspect image: away")) },
  ],
])("nothing goes while %s", async (_name, broken) => {
  const known = open();
  await pass(known, "app:1", 7);
  await pass(known, "app:2", 7);
  await known.close();
  const keeper = open(broken);
  await pass(keeper, "app:2", 3 * 168);
  expect(listRuns().length).toBeGreaterThan(0);
  expect(engine.images).toHaveLength(2);
  expect(keeper.notes[0]?.text).toContain("away");
  await keeper.close();
});

test("it waits for a pull, and what the new commit needs is not taken then", async () => {
  let isBusy = false;
  const keeper = open({ isBusy: () => isBusy });
  await pass(keeper, "app:1", 7);
  await pass(keeper, "app:2", 7);
  await clock.advance(2 * WEEK_MS);
  // Between the choice and the removal somebody goes back to the old image.
  engine.containers = [];
  isBusy = true;
  const began = keeper.ask(false) === undefined;
  await clock.advance(60_000);
  expect([began, engine.images.length]).toEqual([true, 2]);
  keeper.follow(turn("app:1"));
  isBusy = false;
  await clock.advance(60_000);
  expect(engine.images.map(({ id }) => id)).toContain("sha256:1");
  await keeper.close();
});

test("killed in the middle, it does not begin again with the next start, and the rest goes a week later", async () => {
  const keeper = open();
  engine.images.push({ id: "sha256:3", tags: [], digests: [], freesBytes: 1, pinned: false });
  await pass(keeper, "app:1", 7);
  await pass(keeper, "app:2", 7);
  await clock.advance(WEEK_MS);
  engine.onRemove = (item) =>
    item.kind === "image" && item.id === "sha256:3" ? new Promise<never>(() => undefined) : undefined;
  expect(keeper.ask(false)).toBeUndefined();
  await expect.poll(() => engine.images.map(({ id }) => id)).toEqual(["sha256:2", "sha256:3"]);
  engine.onRemove = () => undefined;
  const next = open();
  await pass(next, "app:2", 24);
  expect(listRuns()).toEqual([]);
  await expect.poll(() => next.ask(false)).toBeUndefined();
  await expect.poll(() => engine.images.map(({ id }) => id)).toEqual(["sha256:2"]);
  await next.close();
});

test("a clock that is set forward makes nothing old", async () => {
  const keeper = open();
  await pass(keeper, "app:1", 7);
  await pass(keeper, "app:2", 7);
  clock.jump(10 * WEEK_MS);
  await pass(keeper, "app:2", 24);
  expect(listRuns()).toEqual([]);
  expect(engine.images).toHaveLength(2);
  await keeper.close();
});

test("an engine that hangs does not keep the agent from ending", async () => {
  engine.onRemove = () => new Promise<never>(() => undefined);
  const keeper = open();
  keeper.follow(turn("app:1"));
  // Once the look that it begins with is over.
  await clock.advanceUntil(() => keeper.ask(false) === undefined, 60_000, "a prune that was asked for");
  await clock.advance(1_000);
  let ended = false;
  const closed = keeper.close().then(() => (ended = true));
  await clock.advance(6_000);
  await closed;
  expect(ended).toBe(true);
});

test("one that a clock a year ahead has answered puts off neither the next weekly one nor the one on a full disk", async () => {
  const aheadMs = 365 * 24 * HOUR_MS;
  clock.jump(aheadMs);
  const full = { readDisk: () => Promise.resolve({ free: 0.05, inodesFree: 0.5 }) };
  const first = open(full);
  await pass(first, "app:1", 1);
  expect(listRuns()).toEqual(["low-disk"]);
  await first.close();
  clock.jump(-aheadMs);
  const second = open(full);
  await pass(second, "app:1", 1);
  expect(listRuns()).toEqual(["low-disk", "low-disk"]);
  await second.close();
  events = [];
  const third = open();
  await pass(third, "app:1", 175);
  expect(listRuns()).toEqual(["schedule"]);
});

test("an agent that began by a clock a year ahead makes up what it has missed once that was set right", async () => {
  const first = open();
  await pass(first, "app:1", 1);
  await first.close();
  await clock.advance(2 * WEEK_MS);
  clock.jump(365 * 24 * HOUR_MS);
  const second = open();
  clock.jump(-365 * 24 * HOUR_MS);
  await pass(second, "app:1", 2);
  expect(listRuns()).toEqual(["catch-up"]);
});
