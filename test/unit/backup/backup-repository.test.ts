// The repository `local` keeps to the contract, and to what only a directory can get wrong.

import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

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
