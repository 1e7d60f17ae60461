// A verified backup before a service gets a new container: what waits and what never does, with the keeper of backups in the test's hand.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { BeforeUpdate, findNextBackup } from "../../../agent/backup/keeper/before-update.ts";
import type { AwaitedBackup, KnownBackup, StoreStatus } from "../../../shared/state/backup.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

const ACTOR = { uid: 7, user: "ops" };
const STORE: StoreStatus = {
  service: "pg",
  store: "db",
  engine: "postgres",
  schedule: "every 5h",
  repository: "local",
  repositories: [],
  retention: { days: 14, daily: 14, weekly: 4, monthly: 0 },
  nextMs: undefined,
  runningSinceMs: undefined,
  trouble: undefined,
  lastRun: undefined,
  lastVerify: undefined,
  backups: [],
  strange: [],
};

let node: TestNode;
let before: BeforeUpdate | undefined;
let status: StoreStatus;
let asked: string[] = [];

beforeEach(() => {
  [status, asked] = [STORE, []];
  node = new TestNode({ openSink: () => ({ hear, close: async () => undefined, isBusy: false }) as never });
});

afterEach(async () => {
  before?.close();
  before = undefined;
  await node.dispose();
});

function hear(event: AgentEvent): void {
  if (event.kind === "turn") before?.follow(event.turn);
}

function manifest(image: string, more: { top?: string; env?: string; memory?: string; tables?: string } = {}): string {
  const { top = "", env = "1", memory = "64MiB", tables = "" } = more;
  return buildManifest({
    image,
    memory,
    top: `${top}\nvolumes = [{ name = "data", target = "/data" }]`,
    tables:
      `[env]\nA = "${env}"\n[update]\nsettle = "5s"\nhealthy_within = "20s"\n${tables}` +
      '[[backups]]\nname = "db"\nengine = "postgres"\nschedule = "every 5h"\nbefore_update = true\n',
  });
}

/** Opens what sees to the backups; the keeper is the test's. */
function open(): void {
  const keeper = {
    list: async () => [status],
    ask: (kind: string, { service, store }: { service: string; store: string }, trigger = "asked"): undefined =>
      void asked.push(`${kind} ${service}/${store} ${trigger}`),
  };
  before = new BeforeUpdate(keeper, node.clock, (facts) => node.agent.learnBackups(facts));
}

async function begin(): Promise<void> {
  node.source.set({ pg: manifest("app:1") });
  open();
  await node.start();
  await node.untilSettled(["pg"]);
}

function makeBackup(verified: boolean, startedMs = node.clock.nowMs(), verdict?: KnownBackup["verdict"]): void {
  const backup = { name: `pg_dump_${startedMs}`, startedMs, endedMs: startedMs, verified, verdict } as KnownBackup;
  status = { ...status, backups: [backup, ...status.backups] };
}

function imageOf(): string | undefined {
  return node.engine.running("pg")?.image;
}

describe("a change of the image", () => {
  beforeEach(async () => {
    await begin();
    node.source.set({ pg: manifest("app:2") });
    await node.until("held", ["pg"]);
  });

  test("waits until a backup is made and proved, while the old one serves", async () => {
    await node.clock.advance(3_000);
    expect(asked[0]).toBe("make pg/db before-update");
    expect([imageOf(), node.view("pg").fact]).toMatchObject([
      "app:1",
      { code: "objection", objected: { code: "backup-first", of: ["pg/db"], doing: "a backup is made" } },
    ]);
    makeBackup(false);
    await node.clock.advance(3_000);
    expect(asked.at(-1)).toBe("verify pg/db before-update");
    expect(imageOf()).toBe("app:1");
    status = { ...status, backups: status.backups.map((backup) => ({ ...backup, verified: true })) };
    await node.clock.advance(3_000);
    await node.untilSettled(["pg"]);
    expect(imageOf()).toBe("app:2");
    // It has had its backup: its own restarts wait for none.
    await node.clock.advance(7_200_000);
    expect(node.view("pg").state).toBe("healthy");
  });

  test("a crash restart of what serves does not wait, nor does the agent's own restart", async () => {
    const container = node.engine.running("pg");
    if (container !== undefined) node.engine.end(container, 1);
    await node.clock.advance(10_000);
    expect(node.engine.running("pg")?.id).toBe(container?.id);
    node.kill();
    open();
    await node.start();
    await node.clock.advance(60_000);
    expect([imageOf(), node.view("pg").state]).toEqual(["app:1", "held"]);
    makeBackup(true);
    await node.clock.advance(3_000);
    await node.untilSettled(["pg"]);
    expect(imageOf()).toBe("app:2");
  });

  test("one that cannot be backed up says why and goes on waiting; taking the change back ends it", async () => {
    status = { ...status, trouble: "engine redis is not run by this version" };
    await node.clock.advance(3_000);
    expect(node.view("pg").reason).toMatch(
      /^it gets its new container after a verified backup of pg\/db, waiting for \ds; there is none: pg\/db: engine redis is not run by this version; in an emergency, a commit whose message ends with Orca-Emergency: <why> does not wait; its release /,
    );
    node.source.set({ pg: manifest("app:1") });
    await node.clock.advance(3_000);
    expect([imageOf(), node.view("pg").state]).toEqual(["app:1", "healthy"]);
    asked = [];
    await node.clock.advance(60_000);
    expect(asked).toEqual([]);
  });
});

test("a verified backup of the last 15 minutes counts, and an older one does not", async () => {
  await begin();
  makeBackup(true, node.clock.nowMs() - 14 * 60_000);
  node.source.set({ pg: manifest("app:2") });
  await node.clock.advance(3_000);
  await node.untilSettled(["pg"]);
  expect([imageOf(), asked]).toEqual(["app:2", []]);
  status = STORE;
  makeBackup(true, node.clock.nowMs() - 16 * 60_000);
  node.source.set({ pg: manifest("app:1") });
  await node.clock.advance(3_000);
  expect([imageOf(), asked[0]]).toEqual(["app:2", "make pg/db before-update"]);
});

test("a change that needs no new container waits for nothing", async () => {
  await begin();
  node.source.set({ pg: manifest("app:1", { memory: "96MiB" }) });
  await node.clock.advance(5_000);
  expect(node.engine.running("pg")?.detail.caps.memoryBytes).toBe(96 * 2 ** 20);
  expect([node.view("pg").state, asked]).toEqual(["healthy", []]);
});

test("a rollback that somebody asks for, and one of a release that fails, wait for nothing", async () => {
  await begin();
  makeBackup(true);
  node.engine.images.set("app:2", { endsAfterMs: 100 });
  node.source.set({ pg: manifest("app:2") });
  await node.clock.advance(120_000);
  expect([imageOf(), node.view("pg").state, asked]).toEqual(["app:1", "rolled-back", []]);
  // Tried once more, it waits for a new one.
  await node.clock.advance(3_600_000);
  node.engine.images.set("app:2", {});
  node.agent.request({ kind: "sync", retry: "pg", allowRemoval: undefined, actor: ACTOR });
  await node.until("held", ["pg"]);
  await node.clock.advance(3_000);
  expect([imageOf(), asked[0]]).toEqual(["app:1", "make pg/db before-update"]);
  makeBackup(true);
  await node.clock.advance(3_000);
  await node.untilSettled(["pg"]);
  const first = node.agent.store.listReleases("pg", 10).find(({ image }) => image === "app:1");
  const release = { fingerprint: first?.fingerprint ?? "", revision: first?.revision ?? "" };
  asked = [];
  node.agent.request({ kind: "rollback", service: "pg", release, actor: ACTOR });
  await node.clock.advance(30_000);
  expect([imageOf(), asked]).toEqual(["app:1", []]);
});

test("other data for the release that runs is no change: a restore waits for no backup of what it takes the place of", async () => {
  await begin();
  const labels = node.engine.volumes.get("data") ?? {};
  node.engine.volumes.set("data.r2", { ...labels, "orca.volume": "data" });
  node.agent.request({ kind: "use-volume", service: "pg", volume: "data", generation: "data.r2", actor: ACTOR });
  await node.clock.advance(10_000);
  expect([node.engine.running("pg")?.detail.writes, node.view("pg").state, asked]).toEqual([
    ["data.r2"],
    "healthy",
    [],
  ]);
});

test("a first installation waits for nothing, and neither does one that its manifest stops", async () => {
  await begin();
  expect(asked).toEqual([]);
  node.source.set({ pg: manifest("app:2", { top: 'state = "stopped"' }) });
  await node.until("stopped", ["pg"]);
  expect(asked).toEqual([]);
});

test("a service waits for the backup of another one of its node that it names", async () => {
  const app = (image: string): string =>
    buildManifest({ image, tables: '[update]\nsettle = "5s"\nbackup_first = ["pg"]\n' });
  node.source.set({ pg: manifest("app:1"), app: app("app:1") });
  open();
  await node.start();
  await node.untilSettled(["pg", "app"]);
  node.source.set({ app: app("app:2") });
  await node.until("held", ["app"]);
  await node.clock.advance(3_000);
  expect([node.engine.running("app")?.image, asked[0]]).toEqual(["app:1", "make pg/db before-update"]);
  expect(node.view("pg").state).toBe("healthy");
  makeBackup(true);
  await node.clock.advance(3_000);
  await node.untilSettled(["app"]);
  expect(node.engine.running("app")?.image).toBe("app:2");
});

test("with the state lost, what runs goes on until there is a backup", async () => {
  await begin();
  node.kill();
  const { rmSync } = await import("node:fs");
  for (const end of ["", "-wal", "-shm"]) rmSync(`${node.stateDir}/orca.db${end}`, { force: true });
  node.source.set({ pg: manifest("app:2") });
  open();
  await node.start();
  await node.until("held", ["pg"]);
  await node.clock.advance(30_000);
  expect([imageOf(), asked[0]]).toEqual(["app:1", "make pg/db before-update"]);
  makeBackup(true);
  await node.clock.advance(3_000);
  await node.untilSettled(["pg"]);
  expect(imageOf()).toBe("app:2");
});

describe("what comes next for an awaited store", () => {
  const NOW = 100 * 60_000;
  const need: AwaitedBackup = { service: "pg", store: "db", sinceMs: 50 * 60_000 };
  const run = (reason: string, endedMs: number): StoreStatus["lastRun"] => ({
    trigger: "before-update",
    startedMs: endedMs,
    endedMs,
    reason,
  });
  const backup = (startedMs: number, verdict?: "good" | "bad" | "unknown"): KnownBackup =>
    ({
      name: `b${startedMs}`,
      startedMs,
      verified: verdict === "good",
      verdict: verdict && { atMs: NOW - 1_000, verdict, detail: "why" },
    }) as KnownBackup;

  test.each<[string, Partial<StoreStatus> | undefined, object]>([
    ["no such store", undefined, { fact: { trouble: "pg has no such backup in force here" } }],
    ["nothing yet", {}, { fact: { doing: "a backup is made" }, ask: "make" }],
    ["a run goes on", { runningSinceMs: NOW - 9_000 }, { fact: { doing: "a run of 9s goes on" } }],
    [
      "made since it waits",
      { backups: [backup(51 * 60_000)] },
      { fact: { doing: "b3060000 is proved by a restore" }, ask: "verify" },
    ],
    ["made before", { backups: [backup(49 * 60_000, "good")] }, { fact: { doing: "a backup is made" }, ask: "make" }],
    [
      "proved",
      { backups: [backup(51 * 60_000, "good")] },
      { fact: { verified: { name: "b3060000", startedMs: 3_060_000 } } },
    ],
    [
      "bad",
      { backups: [backup(51 * 60_000, "bad")] },
      { fact: { trouble: "b3060000 cannot be restored: why; another one is made at 01:44 UTC" } },
    ],
    [
      "not to be judged",
      { backups: [backup(51 * 60_000, "unknown")] },
      { fact: { trouble: "b3060000 cannot be judged: why; another one is made at 01:44 UTC" } },
    ],
    [
      "a run failed",
      { lastRun: run("no room", NOW - 1_000) },
      { fact: { trouble: "no room; another one is made at 01:44 UTC" } },
    ],
    [
      "a run failed a while ago",
      { lastRun: run("no room", NOW - 300_000) },
      { fact: { trouble: "no room" }, ask: "make" },
    ],
    [
      "a run failed before it waited",
      { lastRun: run("no room", 49 * 60_000) },
      { fact: { doing: "a backup is made" }, ask: "make" },
    ],
  ])("%s", (_name, own, next) => {
    expect(findNextBackup(own && { ...STORE, ...own }, need, NOW)).toEqual(next);
  });

  test("after an hour it says that it takes too long", () => {
    const later = need.sinceMs + 3_601_000;
    expect(findNextBackup({ ...STORE, runningSinceMs: later }, need, later).fact).toMatchObject({
      trouble: "not within 1h",
    });
  });
});
