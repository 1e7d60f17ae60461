// A restore to a moment asks for what was received to be stored first: the look that does so begins at once, whatever `ship` says.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { LogKeeper, type LogKeeperOptions } from "../../../agent/backup/wal/log-keeper.ts";
import { writeWalState } from "../../../agent/backup/wal/wal-state.ts";
import type { ObservedEngine } from "../../../shared/state/observed-state.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";
import { buildContainer } from "../../builders/node/turns.ts";

let directory = "";
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "orca-log-keeper-"))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const LOG = { systemId: "7", timeline: 1 };
const plan = buildStorePlan({ wal: { base: "every 7d", shipMs: 3_600_000, slot: "orca", windowMs: 1 } });

/** The server never answers: how often it was looked at is what counts. */
function open(onLook: () => Promise<never>): LogKeeper {
  const after = (ms: number, run: () => void): (() => void) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  };
  const options = {
    node: "n",
    clock: { nowMs: () => Date.now(), monotonicMs: () => performance.now(), after },
    engine: { oneShots: { findImage: onLook }, receivers: { sweep: async () => undefined } },
    statePath: join(directory, "wal.json"),
    walDirectory: join(directory, "wal"),
    memoryDirectory: directory,
    emit: () => undefined,
  };
  return new LogKeeper(options as unknown as LogKeeperOptions);
}

test("a look begins at once and is waited for; what is known of the log is answered, and of another one nothing", async () => {
  const memory = { segmentBytes: 2 ** 24, slot: "orca", directory: "d", beganMs: 1, user: "postgres", shipped: {} };
  const key = `${plan.service}/${plan.store}`;
  await writeWalState(join(directory, "wal.json"), new Map([[key, { ...LOG, ...memory, caughtUpMs: { local: 5 } }]]));
  let looks = 0;
  const keeper = open(async () => {
    looks += 1;
    throw new Error("it does not answer");
  });
  const container = { ...buildContainer(plan.service, { startedMs: 1 }), status: "running" as const };
  keeper.follow([plan], { reachable: true, containers: [container] } as unknown as ObservedEngine);
  await vi.waitFor(() => expect(looks).toBe(1));
  expect(await keeper.shipNow(key, LOG)).toEqual({ local: 5 });
  expect(looks).toBe(2);
  expect(await keeper.shipNow(key, { ...LOG, timeline: 2 })).toEqual({});
  // Nobody streams it: nothing is waited for.
  expect(await keeper.shipNow("other/db", LOG)).toEqual({});
  await keeper.close();
});
