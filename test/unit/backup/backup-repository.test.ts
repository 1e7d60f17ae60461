// The repository `local` keeps to the contract, and to what only a directory can get wrong.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

import { listBriefly } from "../../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import { describeRepository } from "../../contract/repository.ts";

const made: string[] = [];
const FOLDER = { node: "vm1", service: "pg", store: "db" };

function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "orca-backups-"));
  made.push(directory);
  return directory;
}

afterEach(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true });
});

describeRepository("local", () => {
  const directory = join(makeDirectory(), "backups");
  return Promise.resolve({
    repository: openLocalRepository("local", directory),
    reopen: () => openLocalRepository("local", directory),
  });
});

test("what lies there is its owner's alone, whatever the umask", async () => {
  const directory = join(makeDirectory(), "backups");
  const before = process.umask(0);
  try {
    const repository = openLocalRepository("local", directory);
    const pending = await repository.create(FOLDER, "a.dump");
    await pending.write(Buffer.from("x"));
    await pending.publish();
    await repository.replaceText(FOLDER, "a.manifest.json", "{}");
    const places = ["", "vm1", "vm1/pg", "vm1/pg/db"].map((place) => statSync(join(directory, place)).mode & 0o777);
    expect(places).toEqual([0o700, 0o700, 0o700, 0o700]);
    const files = readdirSync(join(directory, "vm1/pg/db")).map((name) => [
      name,
      statSync(join(directory, "vm1/pg/db", name)).mode & 0o777,
    ]);
    expect(Object.fromEntries(files)).toEqual({ "a.dump": 0o600, "a.manifest.json": 0o600 });
  } finally {
    process.umask(before);
  }
});

test("links that lie there are not followed", async () => {
  const directory = makeDirectory();
  mkdirSync(join(directory, "vm1/pg/db"), { recursive: true });
  writeFileSync(join(directory, "secret"), "not a backup");
  symlinkSync(join(directory, "secret"), join(directory, "vm1/pg/db/a.manifest.json"));
  const repository = openLocalRepository("local", directory);
  expect(await repository.list(FOLDER)).toEqual([]);
  await expect(repository.readText(FOLDER, "a.manifest.json")).rejects.toThrow("a.manifest.json");
});

test("a directory that is a file is said by its path", async () => {
  const directory = join(makeDirectory(), "backups");
  writeFileSync(directory, "");
  const repository = openLocalRepository("local", directory);
  await expect(repository.create(FOLDER, "a.dump")).rejects.toThrow(directory);
});

test("a folder that is a link leads nowhere: nothing is written, listed or removed there", async () => {
  const directory = makeDirectory();
  const elsewhere = makeDirectory();
  mkdirSync(join(elsewhere, "db"));
  writeFileSync(join(elsewhere, "db", "a.dump"), "not ours");
  mkdirSync(join(directory, "vm1"));
  symlinkSync(elsewhere, join(directory, "vm1/pg"));
  const repository = openLocalRepository("local", directory);
  const words = `${join(directory, "vm1/pg")} is a symbolic link, and a repository has none`;
  await expect(repository.list(FOLDER)).rejects.toThrow(words);
  await expect(repository.create(FOLDER, "b.dump")).rejects.toThrow(words);
  await expect(repository.replaceText(FOLDER, "b.manifest.json", "{}")).rejects.toThrow(words);
  await expect(repository.remove(FOLDER, "a.dump")).rejects.toThrow(words);
  await expect(repository.sweep(FOLDER)).rejects.toThrow(words);
  expect(readdirSync(join(elsewhere, "db"))).toEqual(["a.dump"]);
});

test("a pipe in place of a file is refused and not waited for", async () => {
  const directory = makeDirectory();
  mkdirSync(join(directory, "vm1/pg/db"), { recursive: true });
  for (const name of ["a.dump", "a.manifest.json"]) execFileSync("mkfifo", [join(directory, "vm1/pg/db", name)]);
  const repository = openLocalRepository("local", directory);
  expect(await repository.list(FOLDER)).toEqual([]);
  await expect(repository.read(FOLDER, "a.dump")[Symbol.asyncIterator]().next()).rejects.toThrow("a.dump is no file");
  await expect(repository.readText(FOLDER, "a.manifest.json")).rejects.toThrow("a.manifest.json is no file");
});

/** A record that is one, with more in it. */
function writeRecord(directory: string, name: string, more: string): void {
  const measured = { bytes: 4, sha256: "0".repeat(64) };
  const file = { file: `${name}.dump`, kind: "database", content: "app", plain: measured, stored: measured };
  const rows = Object.fromEntries(Array.from({ length: 9_000 }, (_, at) => [`public.table_of_some_length_${at}`, at]));
  const record = {
    version: 1,
    ...FOLDER,
    engine: "postgres",
    name,
    files: [{ ...file, facts: { entries: 3, rows } }],
    trigger: "schedule",
    startedMs: 1,
    endedMs: 2,
    image: "i",
    recipients: [],
    restoreWith: [],
  };
  const folder = join(directory, "vm1/pg/db");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.dump`), "data");
  writeFileSync(join(folder, `${name}.manifest.json`), JSON.stringify(record).replace(/\}$/, `${more}}`));
}

test.each([
  ["deeper than anybody writes one", `,"more":${"[".repeat(200_000)}${"]".repeat(200_000)}`],
  ["larger than anybody writes one", `,"more":"${"x".repeat(1_100_000)}"`],
  ["of wrong types", `,"files":"none"`],
  ["of a later version", `,"version":2`],
  ["dated beyond all days", `,"startedMs":1e300`],
])("a record that is %s is none, and hides no other", async (_name, more) => {
  const directory = makeDirectory();
  writeRecord(directory, "pg_dump_20261120_0217", "");
  writeRecord(directory, "pg_dump_20261120_0218", more);
  const list = await listBriefly(openLocalRepository("local", directory), FOLDER);
  expect(list.records.map(({ name }) => name)).toEqual(["pg_dump_20261120_0217"]);
  expect(list.strange).toEqual(["pg_dump_20261120_0218.dump", "pg_dump_20261120_0218.manifest.json"]);
  JSON.stringify(list);
});

test("a list is handed on without the rows of tables, which would make many large backups too large to be told", async () => {
  const directory = makeDirectory();
  for (let at = 10; at < 40; at += 1) writeRecord(directory, `pg_dump_20261120_02${at}`, "");
  const list = await listBriefly(openLocalRepository("local", directory), FOLDER);
  expect(list.records).toHaveLength(30);
  expect(list.records[0]?.files[0]?.facts).toEqual({ entries: 3 });
  expect(JSON.stringify(list).length).toBeLessThan(100_000);
});
