// Backups of services that are in no manifest any more: they are listed, and nothing that is in force or no backup is.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { listLeftStores } from "../../../agent/backup/keeper/left-stores.ts";

test("a store that no plan names is left, with how many backups it has and the newest one", async () => {
  const directory = mkdtempSync(join(tmpdir(), "orca-left-"));
  const put = (service: string, store: string, ...files: string[]): string => {
    const folder = join(directory, "vm1", service, store);
    mkdirSync(folder, { recursive: true });
    for (const file of files) writeFileSync(join(folder, file), "");
    return folder;
  };
  put("pg", "db", "a.manifest.json");
  const gone = put("old", "db", "b.manifest.json", "b.dump", "c.manifest.json");
  const other = put("pg", "before", "d.manifest.json");
  put("empty", "db", "stray.dump");
  writeFileSync(join(directory, "vm1", "file"), "");
  expect(await listLeftStores(directory, "vm1", [{ service: "pg", store: "db" }])).toEqual([
    { service: "old", store: "db", directory: gone, count: 2, newest: "c" },
    { service: "pg", store: "before", directory: other, count: 1, newest: "d" },
  ]);
  expect(await listLeftStores(directory, "vm2", [])).toEqual([]);
  rmSync(directory, { recursive: true });
});
