// What promises are judged by, on a disk that takes nothing and with rows that are damaged: nothing of it ends the measuring, and none of it
// is said to be well by saying nothing.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Store } from "../../../agent/host/store/store.ts";
import type * as schema from "../../../agent/host/store/store-schema.ts";
import { PromiseKeeper } from "../../../agent/report/promise/promise-keeper.ts";
import { BUCKET_MS } from "../../../shared/slo/availability.ts";
import { buildContainer, buildDesired, buildTurn, buildView } from "../../builders/node/turns.ts";

const START = Date.UTC(2026, 9, 1);
const HOUR = START - BUCKET_MS;
const full = vi.hoisted(() => ({ isFull: false }));
vi.mock("../../../agent/host/store/store-schema.ts", async (load) => {
  const real = await load<typeof schema>();
  const openChecked = (path: string): DatabaseSync => {
    if (full.isFull) throw new Error("database or disk is full");
    return real.openChecked(path);
  };
  return { ...real, openChecked };
});

let directory = "";
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "orca-promise-damage-"))));
afterEach(() => {
  full.isFull = false;
  rmSync(directory, { recursive: true, force: true });
});

const change = (...statements: string[]): void => {
  Store.open(directory, START).close();
  const database = new DatabaseSync(join(directory, "orca.db"));
  for (const statement of statements) database.exec(statement);
  database.close();
};
const HISTORY = `INSERT INTO availability (service, hour_ms, up_ms, down_ms, unknown_ms) VALUES ('web', ${HOUR}, 1000, 600000, 0)`;

/** One healthy service, looked at once. */
function look(promises: Store["promises"], nowMs = START): PromiseKeeper {
  const keeper = new PromiseKeeper({
    clock: { nowMs: () => nowMs, monotonicMs: () => 60_000, after: () => () => undefined },
    bootId: "boot-2",
    store: () => promises,
    hearLosses: () => [{ node: "vm1", fromMs: START - 1_000, toMs: START }],
  });
  const turn = buildTurn({
    endedMs: nowMs,
    views: [buildView("web", { state: "healthy", settled: true })],
    desired: [buildDesired("web", {})],
    containers: [buildContainer("web", { startedMs: nowMs - 1_000 })],
  });
  keeper.hear({ kind: "turn", atMs: nowMs, turn });
  return keeper;
}

const HUGE = "9223372036854775807";

test.each([
  `INSERT INTO incident (service, began_ms, ended_ms, took_ms, state) VALUES ('web', ${HUGE}, NULL, 1, 'lost')`,
  `INSERT INTO incident (service, began_ms, ended_ms, took_ms, state) VALUES ('web', -1, ${HUGE}, -5, 'lost')`,
  `INSERT INTO availability (service, hour_ms, up_ms, down_ms, unknown_ms) VALUES ('web', ${HOUR - BUCKET_MS}, ${HUGE}, ${HUGE}, -9)`,
  `INSERT INTO availability (service, hour_ms, up_ms, down_ms, unknown_ms) VALUES ('web', ${START}, ${HUGE}, ${HUGE}, ${HUGE})`,
  `INSERT INTO gap (from_ms, to_ms, services, down_from, down_to) VALUES (-${HUGE}, ${HUGE}, '["web"]', NULL, NULL)`,
  `INSERT INTO gap (from_ms, to_ms, services, down_from, down_to) VALUES (0, ${START}, '["web"]', ${HUGE}, 1)`,
  `INSERT INTO loss (node, from_ms, to_ms) VALUES ('vm2', ${HUGE}, NULL)`,
  `INSERT INTO loss (node, from_ms, to_ms) VALUES ('vm2', 1, ${HUGE})`,
])("a damaged row counts for nothing, and what else is known goes on: %s", (row) => {
  change(HISTORY, row);
  const store = Store.open(directory, START);
  const keeper = look(store.promises);
  expect(keeper.list()).toMatchObject([{ service: "web", upMs: 1_000, downMs: 600_000, incident: undefined }]);
  expect(store.promises.readMark()?.services).toEqual(["web"]);
  expect(store.promises.listGaps(0)).toEqual([]);
  store.close();
});

test("a disk that takes nothing from the start on: the past is judged, what nobody saw is counted, and is kept once it can be", () => {
  const mark = { atMs: START - 600_000, monotonicMs: 5, boot: "boot-1", services: ["web"] };
  change(HISTORY, `INSERT INTO document VALUES ('promise-mark', '${JSON.stringify(mark)}')`);
  const store = Store.open(directory, START);
  const account = vi.spyOn(store.promises, "account").mockImplementation(() => {
    throw new Error("database or disk is full");
  });
  const keeper = look(store.promises);
  expect(keeper.list()).toMatchObject([{ downMs: 660_000, unknownMs: 540_000 }]);
  account.mockRestore();
  keeper.hear({ kind: "agent-stopping", atMs: START, signal: "SIGTERM" } as never);
  const [times] = [...store.promises.sumTimes(START).values()];
  expect(times).toMatchObject({ downMs: 660_000, unknownMs: 540_000 });
  expect(store.promises.listGaps(0)).toMatchObject([{ services: ["web"], toMs: START }]);
  store.close();
});

test("a state that cannot be written is judged by all that it holds, in memory", () => {
  change(HISTORY);
  full.isFull = true;
  const store = Store.open(directory, START);
  expect(look(store.promises).list()).toMatchObject([{ downMs: 600_000 }]);
  store.close();
});
