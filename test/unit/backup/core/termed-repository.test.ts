// Backups of a spare in a node's place: they lie in folders of its own term, it reads those of all terms before, and what a machine goes on
// writing that has lost the place is never taken for the node's own.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { carryOutRetention, type RetentionInput } from "../../../../agent/backup/keep-few.ts";
import { listLeftStores } from "../../../../agent/backup/keeper/left-stores.ts";
import { openKnown } from "../../../../agent/backup/objects/known-objects.ts";
import { ObjectPool } from "../../../../agent/backup/objects/object-pool.ts";
import type { BackupRecord } from "../../../../agent/backup/core/backup-record.ts";
import { listBackups, makeBackup } from "../../../../agent/backup/pipeline.ts";
import { nameTerm, parseTerm } from "../../../../agent/backup/repository/backup-path.ts";
import { openRepository } from "../../../../agent/backup/repository/repository-place.ts";
import type { PlaceTerm, Repository } from "../../../../agent/backup/repository/repository-port.ts";
import { nameIndex } from "../../../../agent/backup/wal/core/wal-index.ts";
import { nameWalObject } from "../../../../agent/backup/wal/core/wal-object.ts";

const FOLDER = { node: "vm1", service: "pg", store: "db" };
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** When the spare took the place. */
const TAKEN = Date.UTC(2026, 11, 1, 7, 31, 12);
const NOW = TAKEN + 30 * DAY_MS;
const FIRST: PlaceTerm = { number: 1, beganMs: TAKEN };
const INPUT: RetentionInput = {
  policy: { days: 1, daily: 0, weekly: 0, monthly: 0 },
  nowMs: NOW,
  lastRunGood: true,
  lastRunEndedMs: 0,
  expected: undefined,
  maker: "age1spare",
};

let directory = "";
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "orca-terms-"))));
afterEach(() => rmSync(directory, { recursive: true }));

async function open(term?: PlaceTerm): Promise<Repository> {
  return (await openRepository({ kind: "directory", name: "nas", directory, ...(term && { term }) })).repository;
}

/** A machine's backup; answers its name. */
async function make(startedMs: number, term?: PlaceTerm): Promise<string> {
  const repository = await open(term);
  const { record } = await makeBackup(
    {
      folder: FOLDER,
      engine: "postgres",
      trigger: "schedule",
      image: "i",
      recipients: [],
      maker: term === undefined ? "age1old" : `age1spare${term.number}`,
      keepUntilMs: undefined,
      describeRestore: () => [],
    },
    {
      repositories: [{ name: "nas", open: () => Promise.resolve(repository) }],
      nowMs: () => startedMs,
      listParts: async () => [
        {
          kind: "database",
          content: "a",
          label: "a",
          ending: ".dump",
          form: { heads: [], tail: "", minBytes: 1, warnCodes: [] },
          begin: async () => ({
            output: (async function* () {
              yield Buffer.from(`of term ${term?.number ?? 0} at ${startedMs}`);
            })(),
            ended: Promise.resolve({ exitCode: 0, stderr: "", outOfMemory: false }),
            cancel: async () => undefined,
          }),
        },
      ],
    },
  );
  return record.name;
}

async function write(repository: Repository, area: string, name: string): Promise<void> {
  const pending = await repository.create({ ...FOLDER, area }, name);
  await pending.write(Buffer.from(name));
  await pending.publish();
}

async function readAll(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const found: Uint8Array[] = [];
  for await (const piece of pieces) found.push(piece);
  return Buffer.concat(found).toString();
}

test("the folder says the term and when it began", () => {
  expect(nameTerm(FIRST)).toBe("t1-20261201T073112Z");
  expect(parseTerm("t1-20261201T073112Z")).toEqual(FIRST);
  for (const odd of [
    "t0-20261201T073112Z",
    "t1",
    "t1-20261301T073112Z",
    "1-20261201T073112Z",
    "t1-20261201T073112Z/..",
  ])
    expect(parseTerm(odd)).toBeUndefined();
});

test("a spare writes into its own folder and reads what was there before; the old machine's folder stays as it is", async () => {
  const before = await make(TAKEN - HOUR_MS);
  const old = readdirSync(join(directory, "vm1/pg/db")).toSorted();
  const own = await make(TAKEN + HOUR_MS, FIRST);
  expect(readdirSync(join(directory, "vm1/pg/db")).toSorted()).toEqual(old);
  expect(existsSync(join(directory, "vm1/pg/db.t1-20261201T073112Z", `${own}.manifest.json`))).toBe(true);
  const { records, strange, folders, foreign } = await listBackups(await open(FIRST), FOLDER);
  expect(records.map(({ name }) => name)).toEqual([own, before]);
  expect([strange, foreign]).toEqual([[], undefined]);
  expect(folders).toEqual({ [own]: "db.t1-20261201T073112Z" });
  const repository = await open(FIRST);
  expect(await readAll(repository.read(FOLDER, `${before}.a.dump`))).toMatch(/^of term 0/);
  expect(await readAll(repository.read(FOLDER, `${own}.a.dump`))).toMatch(/^of term 1/);
  // A machine that knows of no term sees what it saw.
  expect((await listBackups(await open(), FOLDER)).records.map(({ name }) => name)).toEqual([before]);
});

test("what a machine writes on that was cut off is foreign: not the newest, not counted, not removed", async () => {
  const before = await make(TAKEN - HOUR_MS);
  const own = await make(TAKEN + HOUR_MS, FIRST);
  // In the same minute as the spare, and later.
  const [same, later] = [await make(TAKEN + HOUR_MS), await make(TAKEN + 2 * HOUR_MS)];
  expect(same).toBe(own);
  const { records, strange, foreign } = await listBackups(await open(FIRST), FOLDER);
  expect(records.map(({ name }) => name)).toEqual([own, before]);
  expect(foreign?.map(({ name }) => name)).toEqual([later]);
  expect(strange).toEqual([]);
  // Of the two of one name the spare's counts.
  expect(records[0]?.maker).toBe("age1spare1");
});

test("retention goes on by the spare's own, and takes nothing away from a machine that was cut off", async () => {
  const old = [await make(TAKEN - 9 * DAY_MS), await make(TAKEN - 8 * DAY_MS), await make(TAKEN - 7 * DAY_MS)];
  const later = [await make(TAKEN + HOUR_MS), await make(NOW - 2 * HOUR_MS)];
  writeFileSync(join(directory, "vm1/pg/db/pg_dump_20261205_0000.a.dump"), "left by a run of the cut-off machine");
  writeFileSync(join(directory, "vm1/pg/db/pg_dump_20261105_0000.a.dump"), "left before");
  const own = await make(NOW - HOUR_MS, FIRST);
  const repository = await open(FIRST);
  const record = `${own}.manifest.json`;
  const proved = JSON.parse(await repository.readText(FOLDER, record)) as object;
  const verifications = [{ atMs: NOW, verdict: "good", detail: "" }];
  await repository.replaceText(FOLDER, record, JSON.stringify({ ...proved, verifications }));
  const marked = await carryOutRetention(await open(FIRST), FOLDER, INPUT);
  expect(marked).toEqual({ count: 4, removed: [], stoodStill: undefined, kept: undefined });
  const second = { ...INPUT, nowMs: NOW + DAY_MS + 1 };
  const { removed, count } = await carryOutRetention(await open(FIRST), FOLDER, second);
  expect(removed.toSorted()).toEqual(old.toSorted());
  expect(count).toBe(1);
  const there = readdirSync(join(directory, "vm1/pg/db"));
  for (const name of later) expect(there).toContain(`${name}.manifest.json`);
  expect(there).toContain("pg_dump_20261205_0000.a.dump");
  expect(there).not.toContain("pg_dump_20261105_0000.a.dump");
});

test("of several terms each ends where the next began, and a later one is not read", async () => {
  const [second, third] = [
    { number: 2, beganMs: TAKEN + 10 * HOUR_MS },
    { number: 3, beganMs: TAKEN + 20 * HOUR_MS },
  ];
  const names = {
    before: await make(TAKEN - HOUR_MS),
    cutOff: await make(TAKEN + HOUR_MS),
    inFirst: await make(TAKEN + 2 * HOUR_MS, FIRST),
    firstWritesOn: await make(TAKEN + 11 * HOUR_MS, FIRST),
    inSecond: await make(TAKEN + 12 * HOUR_MS, second),
    inThird: await make(TAKEN + 21 * HOUR_MS, third),
  };
  const found = await listBackups(await open(second), FOLDER);
  expect(found.records.map(({ name }) => name)).toEqual([names.inSecond, names.inFirst, names.before]);
  expect(found.foreign?.map(({ name }) => name)).toEqual([names.firstWritesOn, names.cutOff]);
  const last = await listBackups(await open(third), FOLDER);
  expect(last.records[0]?.name).toBe(names.inThird);
  expect(last.foreign).toHaveLength(2);
});

test("a log goes into the term's own folder, and of an earlier one only what was shipped before counts", async () => {
  const area = "7301/00000001";
  const [old, spare] = [await open(), await open(FIRST)];
  const name = (from: bigint, shippedMs: number): string =>
    nameWalObject({ timeline: 1, from, to: from + 10n, segmentBytes: 2 ** 24, shippedMs, encrypted: false });
  const [early, late, own] = [name(0n, TAKEN - 1_000), name(10n, TAKEN + 1_000), name(20n, TAKEN + 2_000)];
  await write(old, area, early);
  await write(spare, area, own);
  await write(old, area, late);
  // An index of the cut-off machine names what is foreign: the one before it counts.
  const [index, lateIndex] = [nameIndex(TAKEN - 500, false), nameIndex(TAKEN + 1_500, false)];
  for (const entry of [index, lateIndex]) await write(old, area, entry);
  expect(existsSync(join(directory, "vm1/pg/db.t1-20261201T073112Z.wal", area, own))).toBe(true);
  const folder = { ...FOLDER, area };
  expect((await spare.list(folder)).toSorted()).toEqual([early, own, index].toSorted());
  expect(await readAll(spare.read(folder, early))).toBe(early);
  expect(await readAll(spare.read(folder, own))).toBe(own);
  await expect(readAll(spare.read(folder, name(30n, TAKEN)))).rejects.toThrow(/ENOENT/);
  await spare.remove(folder, early);
  expect((await old.list(folder)).toSorted()).toEqual([late, index, lateIndex].toSorted());
});

test("objects of a bucket go into the term's own folder, those of earlier terms are read, and a listing of another machine is not built on", async () => {
  const folder = { ...FOLDER, shard: "0a" };
  const put = async (repository: Repository, name: string): Promise<void> => {
    const pending = await repository.create(folder, name);
    await pending.write(Buffer.from(name));
    await pending.publish();
  };
  const [old, spare] = [await open(), await open(FIRST)];
  await put(old, "0a1");
  await put(spare, "0a2");
  expect(await old.list(folder)).toEqual(["0a1"]);
  expect((await spare.list(folder)).toSorted()).toEqual(["0a1", "0a2"]);
  for (const name of ["0a1", "0a2"]) expect(await readAll(spare.read(folder, name))).toBe(name);
  // Both are complete and alike; only what was listed in the own term may be counted on.
  const record = { engine: "objects", name: "objects_20261201_0700", files: [], recipients: [], verifications: [] };
  const pool = new ObjectPool(spare, FOLDER);
  const read: string[] = [];
  const watched: Repository = { ...spare, read: (_folder, name) => (read.push(name), spare.read(_folder, name)) };
  const files = ["listing", "references"].map((kind) => ({ file: `${record.name}.1.${kind}.gz`, kind }));
  const listing = { ...record, files };
  const place = { repository: watched, pool, folder: FOLDER, records: [listing as unknown as BackupRecord], names: [] };
  const run = { recipients: [], identities: [], nowMs: NOW };
  await (await old.create(FOLDER, "objects_20261201_0700.manifest.json")).publish();
  const known = await openKnown(place, run);
  expect(await known.find("a", "e", 1)).toBeUndefined();
  await known.close();
  expect(read).toEqual([]);
  await spare.remove(folder, "0a1");
  expect(await old.list(folder)).toEqual([]);
});

test("a spare sweeps nothing of another machine, and its folder alone shows that the mount is there", async () => {
  mkdirSync(join(directory, "vm1/pg/db"), { recursive: true });
  const partial = join(directory, "vm1/pg/db/pg_dump_20261201_0800.a.dump.1a2b.partial");
  writeFileSync(partial, "being written");
  await (await open(FIRST)).sweep(FOLDER);
  expect(existsSync(partial)).toBe(true);
  rmSync(join(directory, "vm1/pg/db"), { recursive: true });
  const place = { kind: "directory", name: "nas", directory, holds: FOLDER, term: FIRST } as const;
  await expect(openRepository(place)).rejects.toThrow(/has no folder of them now/);
  await make(TAKEN + HOUR_MS, FIRST);
  await expect(openRepository(place)).resolves.toBeDefined();
});

test("a term's folder of a store in force is no store that was left", async () => {
  const own = await make(TAKEN + HOUR_MS, FIRST);
  expect(await listLeftStores(directory, "vm1", [FOLDER])).toEqual([]);
  expect(await listLeftStores(directory, "vm1", [])).toMatchObject([{ store: "db.t1-20261201T073112Z", newest: own }]);
});
