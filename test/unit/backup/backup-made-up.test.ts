// What the keeper mends by itself and on a person's word: a copy that one repository did not get is made up for before the next run, a
// backup that was set aside counts again once a named proof was good, and what a change waits for has its own deadline.

import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { buildKeeperOptions } from "../../builders/data/keeper-options.ts";
import { makeUpCopy } from "../../../agent/backup/copy-backup.ts";
import type { ChildAnswer, ChildRequest, CopyRequest } from "../../../agent/backup/backup-exchange.ts";
import { type BackupRecord, backupRecordSchema } from "../../../agent/backup/core/backup-record.ts";
import { planRetention } from "../../../agent/backup/core/retention.ts";
import { BackupKeeper } from "../../../agent/backup/keeper/backup-keeper.ts";
import { openRepository } from "../../../agent/backup/repository/repository-place.ts";
import type { ChildRun } from "../../../agent/host/os/child-process.ts";
import type { ObservedEngine } from "../../../shared/state/observed-state.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";

const NAME = "pg_dump_20261120_0217";
const STORE = { service: "pg", store: "db" };
const ENGINE = {
  reachable: true,
  containers: [{ id: "c1", service: "pg", status: "running" }],
} as unknown as ObservedEngine;

let directory = "";
let clock: FakeClock;
let keeper: BackupKeeper;
let runs: ChildRun[] = [];
let answer: (request: ChildRequest) => Promise<ChildAnswer>;

const plan = () =>
  buildStorePlan({
    repositories: [
      { kind: "directory", name: "near", path: join(directory, "near") },
      { kind: "directory", name: "far", path: join(directory, "far") },
    ],
  });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-made-up-"));
  clock = new FakeClock();
  runs = [];
  keeper = new BackupKeeper({
    ...buildKeeperOptions(directory, clock),
    runChild: async (run) => {
      runs.push(run);
      return { kind: "answered", answer: Buffer.from(JSON.stringify(await answer(JSON.parse(run.request)))) };
    },
  });
});
afterEach(async () => {
  await keeper.close();
  rmSync(directory, { recursive: true, force: true });
});

function writeBackup(repository: string, own: Partial<BackupRecord> = {}): BackupRecord {
  const folder = join(directory, repository, "vm1", "pg", "db");
  mkdirSync(folder, { recursive: true });
  const bytes = Buffer.from("age-encryption.org/v1 and what nobody here can read");
  const measured = { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  const record: BackupRecord = {
    version: 1,
    node: "vm1",
    service: "pg",
    store: "db",
    engine: "postgres",
    name: NAME,
    trigger: "asked",
    image: "pg:1",
    files: [{ file: `${NAME}.dump.age`, kind: "database", content: "app", plain: measured, stored: measured }],
    startedMs: clock.nowMs(),
    endedMs: clock.nowMs(),
    recipients: ["age1"],
    restoreWith: [],
    verifications: [],
    ...own,
  };
  const files = record.files.map((file) => ({ ...file, file: `${record.name}.dump.age` }));
  writeFileSync(join(folder, `${record.name}.dump.age`), bytes);
  writeFileSync(join(folder, `${record.name}.manifest.json`), JSON.stringify({ ...record, files }));
  return record;
}

function readRecord(repository: string): BackupRecord {
  const path = join(directory, repository, "vm1", "pg", "db", `${NAME}.manifest.json`);
  return backupRecordSchema.parse(JSON.parse(readFileSync(path, "utf8")));
}

async function copy({ from, to, folder, backup }: CopyRequest): Promise<ChildAnswer> {
  try {
    await makeUpCopy((await openRepository(from)).repository, (await openRepository(to)).repository, {
      folder,
      backup,
    });
    return { kind: "copied" };
  } catch (error) {
    return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Its files are real, and the machine may be busy. */
const WITHIN = { timeout: 20_000 };

async function untilIdle(): Promise<void> {
  await expect.poll(async () => (await keeper.list())[0]?.runningSinceMs, WITHIN).toBe(undefined);
}

const kinds = (): string[] => runs.map(({ request }) => (JSON.parse(request) as ChildRequest).kind);

test.each([1, 2])(
  "a copy that failed is made up for with patience, as it lies there (min_success = %i)",
  async (minSuccess) => {
    mkdirSync(join(directory, "near"));
    answer = async (request) => {
      if (request.kind === "copy") return copy(request);
      const record = writeBackup("near");
      return {
        kind: "made",
        record,
        repositories: [{ repository: "near" }, { repository: "far", reason: "it was away" }],
      };
    };
    keeper.follow([{ ...plan(), minSuccess }], ENGINE);
    await expect.poll(() => keeper.ask("make", STORE), WITHIN).toBe(undefined);
    await expect.poll(async () => (await keeper.list())[0]?.repositories[1]?.reason, WITHIN).toBe("it was away");
    // What is due next is looked for once the run has looked into the repositories.
    await untilIdle();
    expect((await keeper.list())[0]?.lastRun?.made).toBe(minSuccess === 1 ? NAME : undefined);
    const far = join(directory, "far", "vm1", "pg", "db");
    await clock.advance(110_000);
    expect(kinds()).toEqual(["make"]);
    if (minSuccess === 1) {
      // The mount is still away: nothing but a try comes of the first.
      await clock.advance(20_000);
      await expect
        .poll(async () => (await keeper.list())[0]?.repositories[1]?.reason, WITHIN)
        .toContain("far is not there");
      await untilIdle();
      await clock.advance(220_000);
      expect(kinds()).toEqual(["make", "copy"]);
    }
    // What a copy that was killed has left is in nobody's way.
    mkdirSync(far, { recursive: true });
    writeFileSync(join(far, `${NAME}.dump.age`), "half");
    await clock.advance(60_000);
    await expect.poll(async () => (await keeper.list())[0]?.repositories[1]?.reason, WITHIN).toBe(undefined);
    expect(readdirSync(far).toSorted()).toEqual([`${NAME}.dump.age`, `${NAME}.manifest.json`]);
    const data = `${NAME}.dump.age`;
    expect(readFileSync(join(far, data))).toEqual(readFileSync(join(directory, "near", "vm1", "pg", "db", data)));
    expect((await keeper.list())[0]?.lastRun).toMatchObject({ made: NAME });
    expect((await keeper.list())[0]?.lastRun?.reason).toBe(undefined);
    expect(keeper.notes.filter(({ name }) => name.startsWith("backup pg/db"))).toEqual([]);
    // A run that failed for want of it makes no other dump.
    await clock.advance(600_000);
    expect(kinds()).toEqual(minSuccess === 1 ? ["make", "copy", "copy"] : ["make", "copy"]);
  },
);

test("one that was set aside counts again in every repository once a person has it proved by its name, and it is good", async () => {
  const quarantined = "it has 1 KiB, 3 % of what is usual (30 KiB)";
  for (const repository of ["near", "far"]) writeBackup(repository, { quarantined });
  answer = async () => ({ kind: "judged", verdict: { verdict: "good", detail: "restored app" } });
  keeper.follow([plan()], ENGINE);
  await expect.poll(() => keeper.ask("verify", STORE), WITHIN).toBe(undefined);
  await expect.poll(async () => (await keeper.list())[0]?.lastVerify?.verdict, WITHIN).toBe("good");
  // By itself a good proof does not say that its size is right, and says so.
  const accept = `if that is right, orca backup verify pg db --backup ${NAME} accepts it`;
  expect((await keeper.list())[0]?.lastVerify?.detail).toBe(
    `restored app; it is still set aside (${quarantined}): ${accept}`,
  );
  await expect
    .poll(() => keeper.notes.map(({ text }) => text), WITHIN)
    .toContain(`the backup ${NAME} of pg/db is set aside: ${quarantined}: ${accept}`);
  expect(readRecord("near").quarantined).toBe(quarantined);
  expect(keeper.ask("verify", { ...STORE, backup: NAME })).toBe(undefined);
  await expect
    .poll(async () => (await keeper.list())[0]?.lastVerify?.detail, WITHIN)
    .toBe("restored app; it is not set aside any more, and its size is usual from now on");
  expect([readRecord("near").acceptedMs, readRecord("far").acceptedMs]).toEqual([clock.nowMs(), clock.nowMs()]);
  await expect.poll(() => keeper.notes.map(({ name }) => name), WITHIN).not.toContain("backup pg/db quarantined");
  expect([readRecord("near").quarantined, readRecord("far").quarantined]).toEqual([undefined, undefined]);
  expect(readRecord("near").verifications).toHaveLength(2);
});

test("two agents that write one node's backups into one place are told, and nothing is removed until one has ended", async () => {
  const [own, stranger] = ["age1own", "age1stranger"];
  writeFileSync(join(directory, "backup.key"), `# public key: ${own}\nAGE-SECRET-KEY-1\n`, { mode: 0o600 });
  let made = 0;
  const write = (maker: string): BackupRecord => {
    made += 1;
    return writeBackup("near", { name: `pg_dump_20261120_02${10 + made}`, maker, startedMs: clock.nowMs() });
  };
  let said: string | undefined;
  answer = async (request) => {
    if (request.kind === "make") said = request.maker;
    return { kind: "made", record: write(own), repositories: [{ repository: "near" }] };
  };
  const one = () =>
    buildStorePlan({ repositories: [{ kind: "directory", name: "near", path: join(directory, "near") }] });
  const run = async (): Promise<string | undefined> => {
    const before = runs.length;
    await clock.advance(60_000);
    await expect.poll(() => keeper.ask("make", STORE), WITHIN).toBe(undefined);
    await expect.poll(() => runs.length, WITHIN).toBe(before + 1);
    await expect.poll(async () => (await keeper.list())[0]?.runningSinceMs, WITHIN).toBe(undefined);
    return keeper.notes.find(({ name }) => name === "backup pg/db shared in near")?.text;
  };
  // What the VM before this one has left is no second agent.
  write(stranger);
  keeper.follow([one()], ENGINE);
  await expect.poll(() => keeper.backupKey, WITHIN).toBe(own);
  expect([await run(), said]).toEqual([undefined, own]);
  expect(await run()).toBe(undefined);
  await clock.advance(1_000);
  write(stranger);
  expect(await run()).toContain("pg_dump_20261120_0214 was made by one whose backup_key is age1stranger");
  expect(keeper.notes.filter(({ text }) => text.includes("keeps old backups"))).toEqual([]);
  // It has ended: with the run after the next nobody is told any more.
  expect(await run()).toBe(undefined);
});

test("a dump that a change waits for has an hour, and one of the schedule its six, before the child that ends it is ended", async () => {
  const graceMs = 15 * 60_000;
  answer = async () => ({ kind: "failed", reason: "no" });
  mkdirSync(join(directory, "near"));
  keeper.follow([plan()], ENGINE);
  await expect.poll(() => keeper.ask("make", STORE, "before-update"), WITHIN).toBe(undefined);
  await expect.poll(() => runs.map(({ deadlineMs }) => deadlineMs), WITHIN).toEqual([3_600_000 + graceMs]);
  await expect.poll(async () => (await keeper.list())[0]?.runningSinceMs, WITHIN).toBe(undefined);
  keeper.ask("make", STORE);
  await expect
    .poll(() => runs.map(({ deadlineMs }) => deadlineMs), WITHIN)
    .toEqual([3_600_000 + graceMs, 6 * 3_600_000 + graceMs]);
});

test("what a restore holds is not marked, however old it is", () => {
  const DAY_MS = 86_400_000;
  const record = writeBackup("near");
  const records = Array.from({ length: 20 }, (_, at): BackupRecord => {
    const startedMs = clock.nowMs() - at * DAY_MS;
    const good = { atMs: startedMs, verdict: "good", detail: "" } as const;
    return { ...record, name: `${NAME}${at}`, startedMs, verifications: [good] };
  });
  const policy = { days: 1, daily: 0, weekly: 0, monthly: 0 };
  const facts = { nowMs: clock.nowMs(), lastRunGood: true, clockDoubtful: false, expected: undefined };
  const oldest = `${NAME}19`;
  const without = planRetention(records, policy, facts);
  const held = planRetention(records, policy, { ...facts, held: [oldest] });
  expect([without.kind === "plan" && without.expire, held.kind === "plan" && held.expire]).toEqual([
    expect.arrayContaining([oldest]) as string[],
    expect.not.arrayContaining([oldest]) as string[],
  ]);
});
