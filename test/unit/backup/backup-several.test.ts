// A backup for several repositories: the first gets the dump, the others a copy of what lies there; one that fails is said and holds up no
// other; and whatever the program or a repository does, only whole backups are ever seen.

import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterEach, beforeEach, expect, test } from "vitest";

import { buildBackupOrder, playPart, DUMP_FORM } from "../../builders/data/made-backup.ts";
import { RECORD_ENDING, readStamp } from "../../../agent/backup/core/backup-name.ts";
import type { BackupRecord } from "../../../agent/backup/core/backup-record.ts";
import { judgeSize } from "../../../agent/backup/core/size-envelope.ts";
import type { DumpPart } from "../../../agent/backup/dump-port.ts";
import { carryOutRetention, type RetentionInput } from "../../../agent/backup/keep-few.ts";
import { listBackups, makeBackup, type MadeBackup } from "../../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import { openRepository } from "../../../agent/backup/repository/repository-place.ts";
import { type Repository, RepositoryError } from "../../../agent/backup/repository/repository-port.ts";
import { sweepSpool } from "../../../agent/backup/spool.ts";
import { stageBackup } from "../../../agent/backup/staging.ts";

const FOLDER = { node: "vm1", service: "pg", store: "db" };
const NOW = Date.UTC(2026, 10, 20, 2, 17);
const DAY_MS = 86_400_000;
const GOOD = Buffer.concat([Buffer.from("PGDMP"), randomBytes(300_000)]);

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-several-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function open(name: string): Repository {
  return openLocalRepository(name, join(root, name));
}

function playDump(body: Buffer, exitCode = 0): DumpPart {
  const read = async function* (): AsyncIterable<Uint8Array> {
    for (let at = 0; at < body.length; at += 65_536) yield body.subarray(at, at + 65_536);
  };
  return playPart(read, { form: DUMP_FORM, exitCode });
}

interface Making {
  body?: Buffer;
  recipients?: readonly string[];
  nowMs?: number;
  exitCode?: number;
}

function make(
  repositories: readonly Repository[],
  { body = GOOD, recipients = [], nowMs = NOW, exitCode = 0 }: Making = {},
): Promise<MadeBackup> {
  return makeBackup(
    buildBackupOrder({ recipients, describeRestore: (files) => files.map(({ file }) => `pg_restore ${file}`) }),
    {
      repositories: repositories.map((opened) => ({ name: opened.name, open: () => Promise.resolve(opened) })),
      nowMs: () => nowMs,
      listParts: () => Promise.resolve([playDump(body, exitCode)]),
    },
  );
}

/** A repository of which one call fails. */
function breakCall(repository: Repository, call: keyof Repository): Repository {
  const fail = (): never => {
    throw new RepositoryError(`${call}: it refuses`);
  };
  return { ...repository, [call]: fail };
}

function lies(name: string): string[] {
  try {
    return readdirSync(join(root, name, "vm1/pg/db")).toSorted();
  } catch {
    return [];
  }
}

test("every repository has the same bytes, encrypted once, each with a record of its own", async () => {
  const recipients = [await identityToRecipient(await generateX25519Identity())];
  const [one, two, three] = [open("one"), open("two"), open("three")];
  const { record, repositories } = await make([one, two, three], { recipients });
  expect(repositories).toEqual([{ repository: "one" }, { repository: "two" }, { repository: "three" }]);
  const dump = `${record.name}.dump.age`;
  const read = (name: string): Buffer => readFileSync(join(root, name, "vm1/pg/db", dump));
  expect(read("one").subarray(0, 21).toString()).toBe("age-encryption.org/v1");
  expect(read("two").equals(read("one"))).toBe(true);
  expect(read("three").equals(read("one"))).toBe(true);
  for (const repository of [one, two, three])
    expect((await listBackups(repository, FOLDER)).records).toMatchObject([{ name: record.name }]);
});

test.each(["list", "sweep", "create"] as const)(
  "a second one that fails in %s is said, and holds up no other",
  async (call) => {
    const { repositories } = await make([open("one"), breakCall(open("two"), call), open("three")]);
    expect(repositories).toEqual([
      { repository: "one" },
      { repository: "two", reason: `${call}: it refuses` },
      { repository: "three" },
    ]);
    expect(lies("two")).toEqual([]);
    expect(lies("three")).toHaveLength(2);
  },
);

test("where the first is gone, the next one gets the dump", async () => {
  const gone = {
    name: "nas",
    open: async () =>
      (await openRepository({ kind: "directory", name: "nas", directory: join(root, "gone") })).repository,
  };
  await expect(gone.open()).rejects.toThrow("is not there: mount it, or correct its path");
  const { repositories } = await make([breakCall(open("one"), "list"), open("two")]);
  expect(repositories).toEqual([{ repository: "one", reason: "list: it refuses" }, { repository: "two" }]);
  expect(lies("two")).toHaveLength(2);
});

test("where none can take it, nothing is dumped, and each says why", async () => {
  await expect(make([breakCall(open("one"), "list"), breakCall(open("two"), "sweep")])).rejects.toThrow(
    "no repository can take it: one: list: it refuses; two: sweep: it refuses",
  );
});

test("a copy that is not read back as it was sent is taken away, and the first stays", async () => {
  const two = open("two");
  const lying: Repository = {
    ...two,
    read: async function* () {
      await Promise.resolve();
      yield Buffer.from("something else");
    },
  };
  const { repositories, record } = await make([open("one"), lying]);
  expect(repositories[1]?.reason).toContain("what two gives back of");
  expect(lies("two")).toEqual([]);
  expect(lies("one")).toEqual([`${record.name}.dump`, `${record.name}${RECORD_ENDING}`]);
});

test("a name that one of them has is taken in all", async () => {
  await make([open("two")]);
  const { record } = await make([open("one"), open("two")]);
  expect(record.name).toBe("pg_dump_20261120_021700");
  expect(lies("two")).toHaveLength(4);
});

test("a bad dump is nowhere", async () => {
  await expect(make([open("one"), open("two")], { exitCode: 1 })).rejects.toThrow("exit code 1");
  expect([lies("one"), lies("two")]).toEqual([[], []]);
});

test("there must be room for twice the last one, else the next repository is taken", async () => {
  await make([open("one")]);
  const full: Repository = { ...open("one"), freeBytes: () => Promise.resolve(500_000) };
  const { repositories } = await make([full, open("two")], { nowMs: NOW + 60_000 });
  expect(repositories[0]?.reason).toMatch(/^it has 488 KiB left, and twice the last backup is 586 KiB$/);
  expect(lies("two")).toHaveLength(2);
});

function sized(bytes: number, verdict?: "good"): Pick<BackupRecord, "files" | "verifications"> {
  const measured = { bytes, sha256: "0".repeat(64) };
  return {
    files: [{ file: "a", kind: "database", content: "app", plain: measured, stored: measured }],
    verifications: verdict === undefined ? [] : [{ atMs: 1, verdict, detail: "" }],
  };
}

test.each<[string, number, (ReturnType<typeof sized> & { acceptedMs?: number })[], RegExp | undefined]>([
  ["the first three are learnt from", 1, [sized(100), sized(100)], undefined],
  ["as large as usual", 60, [sized(100), sized(110), sized(90)], undefined],
  ["less than half", 49, [sized(100), sized(110), sized(90)], /49 % of what is usual/],
  ["more than three times", 301, [sized(100), sized(110), sized(90)], /301 % of what is usual/],
  [
    "proved ones say what is usual",
    100,
    [sized(1), sized(1), ...[90, 100, 110].map((size) => sized(size, "good"))],
    undefined,
  ],
  [
    "what a person accepted is usual at once, whatever was before",
    430,
    [{ ...sized(431), acceptedMs: NOW }, sized(5), sized(5), sized(5), sized(5)],
    undefined,
  ],
  [
    "and is what the next is held against",
    5,
    [{ ...sized(431), acceptedMs: NOW }, sized(5), sized(5), sized(5)],
    /1 % of what is usual/,
  ],
])("the size of a backup: %s", (_name, bytes, before, words) => {
  const verdict = judgeSize(bytes, before);
  if (words === undefined) expect(verdict).toBe(undefined);
  else expect(verdict).toMatch(words);
});

test("one that is much smaller than usual is made, kept and set aside", async () => {
  const one = open("one");
  for (let at = 0; at < 3; at += 1) await make([one], { nowMs: NOW + at * 60_000 });
  const { record } = await make([one], { nowMs: NOW + 180_000, body: GOOD.subarray(0, 1_000) });
  expect(record.quarantined).toMatch(/1000 B, 0 % of what is usual/);
  expect((await listBackups(one, FOLDER)).records).toHaveLength(4);
});

const RETENTION: RetentionInput = {
  policy: { days: 14, daily: 14, weekly: 4, monthly: 0 },
  nowMs: NOW,
  lastRunGood: true,
  lastRunEndedMs: 0,
  expected: undefined,
};

test("data of a run that was killed before its record goes a day later; what has a record that cannot be read stays", async () => {
  const one = open("one");
  await make([one]);
  const orphan = await one.create(FOLDER, "pg_dump_20261119_0100.dump");
  await orphan.write(Buffer.from("PGDMP"));
  await orphan.publish();
  await one.replaceText(FOLDER, "pg_dump_20261101_0100.manifest.json", "{ broken");
  await one.replaceText(FOLDER, "pg_dump_20261101_0100.dump", "PGDMP");
  await one.replaceText(FOLDER, "notes.txt", "of a person");
  await carryOutRetention(one, FOLDER, { ...RETENTION, nowMs: Date.UTC(2026, 10, 19, 20) });
  expect(lies("one")).toContain("pg_dump_20261119_0100.dump");
  await carryOutRetention(one, FOLDER, RETENTION);
  expect(lies("one")).toEqual([
    "notes.txt",
    "pg_dump_20261101_0100.dump",
    "pg_dump_20261101_0100.manifest.json",
    "pg_dump_20261120_0217.dump",
    "pg_dump_20261120_0217.manifest.json",
  ]);
  expect(readStamp("notes.txt")).toBe(undefined);
});

test("what cannot be removed is kept with its reason, and removed by a later run", async () => {
  const one = open("one");
  for (let at = 0; at < 6; at += 1) await make([one], { nowMs: NOW + at * DAY_MS });
  for (const record of (await listBackups(one, FOLDER)).records)
    await one.replaceText(
      FOLDER,
      `${record.name}${RECORD_ENDING}`,
      JSON.stringify({ ...record, verifications: [{ atMs: NOW, verdict: "good", detail: "" }] }),
    );
  const policy = { days: 1, daily: 1, weekly: 0, monthly: 0 };
  const later = { ...RETENTION, policy, nowMs: NOW + 6 * DAY_MS };
  expect(await carryOutRetention(one, FOLDER, later)).toMatchObject({ count: 6, removed: [], kept: undefined });
  const locked = breakCall(one, "remove");
  const due = { ...later, nowMs: NOW + 8 * DAY_MS };
  expect(await carryOutRetention(locked, FOLDER, due)).toMatchObject({
    count: 6,
    removed: [],
    kept: "remove: it refuses",
  });
  const done = await carryOutRetention(one, FOLDER, due);
  expect(done.removed.length).toBeGreaterThan(0);
  expect(done.count).toBe(6 - done.removed.length);
});

test("an encrypted backup is opened into a private directory with this node's key, and nothing of it stays", async () => {
  const secret = await generateX25519Identity();
  const one = open("one");
  const { record } = await make([one], { recipients: [await identityToRecipient(secret)] });
  const spool = join(root, "spool");
  const common = {
    place: { kind: "local" as const, name: "one", directory: join(root, "one") },
    repository: one,
    folder: FOLDER,
    record,
    spool,
  };
  const staged = await stageBackup({ ...common, identities: [secret] });
  if ("verdict" in staged) throw new Error(staged.detail);
  expect(staged.files.map(({ file }) => file)).toEqual([`${record.name}.dump`]);
  expect(readFileSync(join(staged.directory, `${record.name}.dump`)).equals(GOOD)).toBe(true);
  expect([statSync(spool).mode & 0o777, statSync(staged.directory).mode & 0o777]).toEqual([0o700, 0o700]);
  await staged.remove();
  expect(readdirSync(spool)).toEqual([]);
  const other = await stageBackup({ ...common, identities: [await generateX25519Identity()] });
  expect(other).toMatchObject({
    verdict: "unknown",
    detail: expect.stringContaining("not encrypted for this node") as string,
  });
  expect(await stageBackup({ ...common, identities: [] })).toMatchObject({ verdict: "unknown" });
  expect(readdirSync(spool)).toEqual([]);
  mkdirSync(join(spool, "restore-of-a-killed-run"));
  await sweepSpool(spool);
  expect(readdirSync(spool)).toEqual([]);
});

test.each<[string, (bytes: Buffer) => Buffer, RegExp]>([
  ["cut", (bytes) => bytes.subarray(0, 200_000), /has 200000 of \d+ bytes/],
  [
    "changed by a bit",
    (bytes) => Buffer.from(bytes.map((byte, at) => (at === 150_000 ? byte ^ 1 : byte))),
    /its digest is another one/,
  ],
])("an encrypted backup that is %s is bad, and nothing of it is restored", async (_name, change, words) => {
  const secret = await generateX25519Identity();
  const one = open("one");
  const { record } = await make([one], { recipients: [await identityToRecipient(secret)] });
  const file = `${record.name}.dump.age`;
  const bytes = readFileSync(join(root, "one/vm1/pg/db", file));
  await one.remove(FOLDER, file);
  await one.replaceText(FOLDER, file, "");
  const damaged: Repository = {
    ...one,
    read: async function* () {
      await Promise.resolve();
      yield change(bytes);
    },
  };
  const place = { kind: "local" as const, name: "one", directory: join(root, "one") };
  const spool = join(root, "spool");
  const verdict = await stageBackup({
    place,
    repository: damaged,
    folder: FOLDER,
    record,
    spool,
    identities: [secret],
  });
  expect(verdict).toMatchObject({ verdict: "bad", detail: expect.stringMatching(words) as string });
  expect(readdirSync(spool)).toEqual([]);
});

test("a repository that cannot be read makes no backup bad", async () => {
  const secret = await generateX25519Identity();
  const { record } = await make([open("one")], { recipients: [await identityToRecipient(secret)] });
  const place = { kind: "local" as const, name: "one", directory: join(root, "one") };
  const repository = breakCall(open("one"), "read");
  const spool = join(root, "spool");
  expect(await stageBackup({ place, repository, folder: FOLDER, record, spool, identities: [secret] })).toEqual({
    verdict: "unknown",
    detail: "read: it refuses",
  });
});
