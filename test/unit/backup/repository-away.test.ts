// Repositories that are away: a directory whose mount is gone, one whose server hangs, and listings that have become short. None of it is
// taken for an empty repository, nothing is written to another disk, and the agent goes on.

import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { buildBackupOrder, playPart } from "../../builders/data/made-backup.ts";
import { buildKeeperOptions } from "../../builders/data/keeper-options.ts";
import { carryOutRetention } from "../../../agent/backup/keep-few.ts";
import { BackupKeeper } from "../../../agent/backup/keeper/backup-keeper.ts";
import { makeBackup, type MadeBackup } from "../../../agent/backup/pipeline.ts";
import { DirectoryQueue } from "../../../agent/backup/repository/directory-queue.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import { openRepository, type RepositoryPlace } from "../../../agent/backup/repository/repository-place.ts";
import type { StorePlan } from "../../../shared/state/backup.ts";
import type { ObservedEngine } from "../../../shared/state/observed-state.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

const FOLDER = { node: "vm1", service: "pg", store: "db" };
const HOUR_MS = 3_600_000;
const ENGINE = {
  reachable: true,
  containers: [{ id: "c1", service: "pg", status: "running" }],
} as unknown as ObservedEngine;

let root = "";
let clock: FakeClock;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-away-"));
  mkdirSync(join(root, "nas"));
  clock = new FakeClock();
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** What the child does of a run: a dump into the repositories that it is told of. */
async function make(places: readonly RepositoryPlace[]): Promise<MadeBackup> {
  return makeBackup(buildBackupOrder(), {
    repositories: places.map((place) => ({
      name: place.name,
      open: async () => (await openRepository(place)).repository,
    })),
    nowMs: () => clock.nowMs(),
    listParts: () => Promise.resolve([playPart(() => [Buffer.from("data")] as unknown as AsyncIterable<Uint8Array>)]),
  });
}

const PLAN = buildStorePlan({
  repositories: [
    { kind: "local", name: "local", path: undefined },
    { kind: "directory", name: "nas", path: "" },
  ],
});

function open(plan: StorePlan): BackupKeeper {
  const keeper = new BackupKeeper({
    ...buildKeeperOptions(root, clock),
    runChild: async ({ request }) => {
      const { repositories } = JSON.parse(request) as { repositories: RepositoryPlace[] };
      const answer = await make(repositories).then(
        (made) => ({ kind: "made", ...made }),
        (error: unknown) => ({ kind: "failed", reason: String(error) }),
      );
      return { kind: "answered", answer: Buffer.from(JSON.stringify(answer)) };
    },
  });
  keeper.follow([plan], ENGINE);
  return keeper;
}

test("an empty directory where backups were is a mount that is gone: nothing is written there, and what was known stays", async () => {
  const [local, nas] = PLAN.repositories;
  const path = join(root, "nas");
  if (local === undefined || nas === undefined) throw new Error("the plan has no repositories");
  const plan = { ...PLAN, repositories: [local, { ...nas, path } as typeof nas] };
  const first = open(plan);
  await clock.advance(12 * HOUR_MS);
  expect((await first.list())[0]?.repositories).toMatchObject([{ count: 2 }, { name: "nas", count: 2 }]);
  await first.close();
  rmSync(path, { recursive: true });
  mkdirSync(path);
  const second = open(plan);
  const gone = `${path} had backups of pg/db and has no folder of them now: mount it again`;
  // Two runs, since what a failed one has seen must not count the second time.
  await clock.advance(12 * HOUR_MS);
  const [status] = await second.list();
  expect(status?.repositories).toMatchObject([
    { name: "local", count: 4 },
    { name: "nas", count: 0, trouble: expect.stringContaining(gone) as string },
  ]);
  expect(second.notes.map(({ text }) => text).join("\n")).toContain(gone);
  expect(readdirSync(path)).toEqual([]);
  // Somebody says that it is meant to be empty.
  mkdirSync(join(path, "vm1/pg/db"), { recursive: true });
  await clock.advance(6 * HOUR_MS);
  expect((await second.list())[0]?.repositories).toMatchObject([{ count: 5 }, { count: 1, trouble: undefined }]);
});

test("a listing that became short while retention stood still for something else is said all the same", async () => {
  const directory = join(root, "backups");
  const repository = openLocalRepository("local", directory);
  await make([{ kind: "local", name: "local", directory }]);
  const input = {
    policy: { days: 1, daily: 1, weekly: 0, monthly: 0 },
    nowMs: clock.nowMs(),
    lastRunEndedMs: 0,
    expected: 7,
  };
  const failed = await carryOutRetention(repository, FOLDER, { ...input, lastRunGood: false });
  expect(failed).toMatchObject({ count: 7, stoodStill: expect.stringContaining("failed") as string });
  const next = await carryOutRetention(repository, FOLDER, { ...input, lastRunGood: true, expected: failed.count });
  expect(next).toMatchObject({ count: 1, stoodStill: expect.stringContaining("1 of 7") as string });
});

test("a directory that hangs is asked once, others are asked meanwhile, and once it answers it is asked again", async () => {
  const queue = new DirectoryQueue(clock);
  let answer: (text: string) => void = () => undefined;
  let questions = 0;
  const hang = (): Promise<string> => {
    questions += 1;
    return new Promise<string>((resolve) => (answer = resolve));
  };
  const refusals = ["a", "a", "a"].map((name) =>
    queue.ask(name, 30_000, hang).catch((error: unknown) => (error as Error).message),
  );
  expect(await queue.ask("b", 30_000, () => Promise.resolve("fine"))).toBe("fine");
  await clock.advance(31_000);
  const words = "a gives no answer within 30s: is it a mount whose server is away?";
  expect(await Promise.all(refusals)).toEqual([words, words, words]);
  await expect(queue.ask("a", 30_000, hang)).rejects.toThrow(words);
  expect(questions).toBe(1);
  answer("late");
  await clock.settle();
  expect(await queue.ask("a", 30_000, () => Promise.resolve("fine"))).toBe("fine");
});
