// The keeper itself, with a child and an engine in the test's hand: what is swept when, and that its end waits for nobody for long.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { buildKeeperOptions } from "../../builders/data/keeper-options.ts";
import { BackupKeeper, type KeeperOptions } from "../../../agent/backup/keeper/backup-keeper.ts";
import { nameExpectations } from "../../../agent/backup/keeper/repository-memory.ts";
import type { StorePlan } from "../../../shared/state/backup.ts";
import type { ObservedEngine } from "../../../shared/state/observed-state.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";

const PLAN = buildStorePlan();
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
  return new BackupKeeper({ ...buildKeeperOptions(directory, clock), ...more });
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
  expect(keeper.ask("make", { service: "pg", store: "db" })).toBe(undefined);
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
  await expect.poll(() => keeper.ask("make", { service: "pg", store: "db" })).toBe(undefined);
  await clock.advance(1);
  let closed = false;
  void keeper.close().then(() => (closed = true));
  await clock.advance(4_000);
  expect(closed).toBe(false);
  await clock.advance(2_000);
  await expect.poll(() => closed).toBe(true);
});

const HOOKED = buildStorePlan({
  source: {
    ...PLAN.source,
    hooks: { before: [], after: [{ argv: ["thaw"], timeoutMs: 1_000, onError: "abort" }] },
  },
});

interface Asked {
  kind: string;
  hooks?: { after: unknown[] };
}

/** A child that is killed in each backup that it makes, and answers all else. */
function openCut(requests: Asked[], more: Partial<KeeperOptions> = {}): BackupKeeper {
  const runChild: KeeperOptions["runChild"] = ({ request }) => {
    const asked = JSON.parse(request) as Asked;
    requests.push(asked);
    return Promise.resolve(
      asked.kind === "make"
        ? { kind: "failed", reason: "it was ended by SIGKILL", tooLarge: false }
        : {
            kind: "answered",
            answer: Buffer.from(JSON.stringify({ kind: "finished", warning: "thaw ended with 1" })),
          },
    );
  };
  return open({ runChild, ...more });
}

test("a child that was killed: its containers go at once, its hooks are run once, and nothing waits for the next run", async () => {
  const requests: Asked[] = [];
  let sweeps = 0;
  const sweep = (): Promise<number> => Promise.resolve((sweeps += 1));
  const keeper = openCut(requests, { sweep });
  keeper.follow([HOOKED], ENGINE);
  await expect.poll(() => sweeps).toBe(1);
  keeper.ask("make", { service: "pg", store: "db" });
  await expect.poll(() => requests.map(({ kind }) => kind)).toEqual(["make", "finish", "finish"]);
  expect(requests.map(({ hooks }) => hooks?.after.length)).toEqual([1, 0, 1]);
  expect(sweeps).toBe(1);
  await expect
    .poll(async () => (await keeper.list())[0]?.lastRun?.reason)
    .toBe("the child failed: it was ended by SIGKILL; hook after it: thaw ended with 1");
  await clock.advance(400_000);
  await expect
    .poll(() => requests.map(({ kind }) => kind))
    .toEqual(["make", "finish", "finish", "make", "finish", "finish"]);
});

test("an agent that was killed in a run: the next one runs its hooks once the service runs", async () => {
  const first = open({});
  first.follow([HOOKED], ENGINE);
  await expect.poll(() => first.ask("make", { service: "pg", store: "db" })).toBe(undefined);
  await expect.poll(() => readFileSync(join(directory, "backups.json"), "utf8")).toContain('"owesHooks":true');
  const requests: Asked[] = [];
  const next = openCut(requests);
  next.follow([HOOKED], { ...ENGINE, containers: [] } as ObservedEngine);
  await clock.advance(60_000);
  expect(requests).toEqual([]);
  next.follow([HOOKED], ENGINE);
  await expect.poll(() => requests.map(({ kind }) => kind)).toEqual(["finish"]);
});

/** A state in which the newest backup, which lies in the repository, was found bad by what the manifest said. */
function keepBadProof(verify: NonNullable<StorePlan["verify"]>): void {
  const folder = join(directory, "backups", "vm1", "pg", "db");
  mkdirSync(folder, { recursive: true });
  const name = "pg_dump_20261130_1200";
  const measured = { bytes: 4, sha256: "0".repeat(64) };
  const file = { file: `${name}.dump`, kind: "database", content: "app", plain: measured, stored: measured };
  writeFileSync(join(folder, file.file), "dump");
  const record = {
    version: 1,
    node: "vm1",
    service: "pg",
    store: "db",
    engine: "postgres",
    name,
    files: [file],
    trigger: "asked",
    startedMs: 1,
    endedMs: 2,
    image: "pg:1",
    recipients: [],
    restoreWith: [],
    verifications: [],
  };
  writeFileSync(join(folder, `${name}.manifest.json`), JSON.stringify(record));
  const proof = { backup: name, repository: "local", endedMs: 3, verdict: "bad", detail: "false" };
  const lastVerify = { ...proof, expects: nameExpectations({ ...PLAN, verify }) };
  const store = {
    accountedMs: clock.nowMs(),
    lastRun: { trigger: "asked", startedMs: 1, endedMs: 2, made: name },
    lastVerify,
  };
  writeFileSync(join(directory, "backups.json"), JSON.stringify({ version: 1, stores: { "pg/db": store } }));
}

test("what was found bad by a query is judged anew, once, when the manifest says another one", async () => {
  const verify = {
    schedule: "0 4 * * *",
    image: undefined,
    timeoutMs: 60_000,
    maxBytes: undefined,
    extensions: [],
    schemas: [],
    queries: ["select fals"],
    allowed: [],
  };
  keepBadProof(verify);
  const requests: string[] = [];
  const verdict = { verdict: "bad", detail: "still" };
  const keeper = open({
    runChild: ({ request }) => {
      requests.push((JSON.parse(request) as Asked).kind);
      return Promise.resolve({ kind: "answered", answer: Buffer.from(JSON.stringify({ kind: "judged", verdict })) });
    },
  });
  keeper.follow([{ ...PLAN, verify }], ENGINE);
  await clock.advance(5_000);
  expect(requests).toEqual([]);
  const mended = { ...PLAN, verify: { ...verify, queries: ["select true"] } };
  keeper.follow([mended], ENGINE);
  await expect.poll(() => requests).toEqual(["verify"]);
  await expect.poll(async () => (await keeper.list())[0]?.lastVerify?.detail, { timeout: 20_000 }).toBe("still");
  keeper.follow([mended], ENGINE);
  await clock.advance(5_000);
  expect(requests).toEqual(["verify"]);
});
