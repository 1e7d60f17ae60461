// A document that a later version of the agent wrote is never read as empty and written over: it is kept beside, whole, and said.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { StoreMemories } from "../../../agent/backup/keeper/store-memories.ts";
import { setNewerAside } from "../../../agent/host/newer-document.ts";
import { isOfUp } from "../../../agent/host/state-layout.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

const NEWER = '{"version":2,"stores":{"pg/db":{"accountedMs":1}}}';

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-newer-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test("what is remembered of backups is kept as the later version wrote it, and the agent says so", async () => {
  const path = join(directory, "backups.json");
  writeFileSync(path, NEWER);
  const told: unknown[] = [];
  const memories = new StoreMemories(path, new FakeClock(), (error) => told.push(error));
  memories.recall({ service: "pg", store: "db" });
  await memories.save();
  expect(told).toEqual([expect.stringContaining("backups.json was written by a later version of Orca (version 2")]);
  expect(readFileSync(`${path}.version-2`, "utf8")).toBe(NEWER);
  expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ version: 1 });
});

test("a second downgrade writes over nothing; what is of this version, broken or absent stays where it is", () => {
  const path = join(directory, "restores.json");
  for (const text of [NEWER, '{"version":2}']) {
    writeFileSync(path, text);
    expect(setNewerAside(path, 1)).toContain("it is kept as restores.json.version-2");
  }
  expect(readdirSync(directory).toSorted()).toEqual(["restores.json.version-2", "restores.json.version-2-2"]);
  for (const text of ['{"version":1}', "{", "[]", "null"]) {
    writeFileSync(path, text);
    expect(setNewerAside(path, 1)).toBeUndefined();
    expect(readFileSync(path, "utf8")).toBe(text);
  }
  expect(setNewerAside(join(directory, "absent.json"), 1)).toBeUndefined();
  expect(
    ["restores.json.version-2", "backups.json.version-3-2", "prune.json.version-2"].map((name) => isOfUp(name)),
  ).toEqual([true, true, true]);
});
