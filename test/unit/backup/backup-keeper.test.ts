// The keeper itself, with a child and an engine in the test's hand: what is swept when, and that its end waits for nobody for long.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { BackupKeeper, type KeeperOptions } from "../../../agent/backup/backup-keeper.ts";
import type { StorePlan } from "../../../shared/state/backup.ts";
import type { ObservedEngine } from "../../../shared/state/observed-state.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

const PLAN: StorePlan = {
  service: "pg",
  store: "db",
  engine: "postgres",
  schedule: "every 5h",
  user: "postgres",
  repositories: ["local"],
  retention: { days: 14, daily: 14, weekly: 4, monthly: 0 },
  verify: undefined,
  rpoMs: undefined,
};
const ENGINE = {
  reachable: true,
  containers: [{ id: "c1", service: "pg", status: "running" }],
} as unknown as ObservedEngine;
const NEVER = new Promise<never>(() => undefined);

let directory = "";
let clock: FakeClock;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-keeper-"));
  clock = new FakeClock();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(more: Partial<KeeperOptions>): BackupKeeper {
  return new BackupKeeper({
    node: "vm1",
    clock,
    statePath: join(directory, "backups.json"),
    localDirectory: join(directory, "backups"),
    socket: "/nowhere.sock",
    program: "orca",
    runChild: () => NEVER,
    sweep: () => Promise.resolve(0),
    emit: () => undefined,
    ...more,
  });
}

test("no run begins before what an earlier agent has left is taken away", async () => {
  const runs: string[] = [];
  let swept: () => void = () => undefined;
  const keeper = open({
    sweep: () => new Promise<void>((resolve) => (swept = resolve)),
    runChild: ({ command }) => {
      runs.push(command);
      return NEVER;
    },
  });
  keeper.follow([PLAN], ENGINE);
  expect(keeper.ask("make", "pg", "db")).toBe(undefined);
  await clock.advance(120_000);
  expect(runs).toEqual([]);
  swept();
  await expect.poll(() => runs).toEqual(["run-backup"]);
});

test("an agent whose keeper does nothing ends at once, whatever the engine does", async () => {
  let sweeps = 0;
  const keeper = open({
    sweep: () => {
      sweeps += 1;
      return NEVER;
    },
  });
  keeper.follow([PLAN], ENGINE);
  await keeper.close();
  expect(sweeps).toBe(1);
});

test("one that is cut off in a run by an engine that hangs ends after five seconds", async () => {
  const keeper = open({});
  keeper.follow([PLAN], ENGINE);
  await expect.poll(() => keeper.ask("make", "pg", "db")).toBe(undefined);
  await clock.advance(1);
  let closed = false;
  void keeper.close().then(() => (closed = true));
  await clock.advance(4_000);
  expect(closed).toBe(false);
  await clock.advance(2_000);
  await expect.poll(() => closed).toBe(true);
});
