// A pin stands in the backup's own record, and retention honours it; nothing else of the record changes.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { RecordDesk } from "../../../agent/backup/keeper/record-desk.ts";
import { pinBackup } from "../../../agent/backup/keeper/pins.ts";
import type { BackupSource } from "../../../agent/backup/repository/store-sources.ts";
import { listBackups } from "../../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import type { StoreStatus } from "../../../shared/state/backup.ts";

const NAME = "pg_dump_20261120_0217";
let directory = "";
let stores: StoreStatus[] = [];
const writer = new RecordDesk();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-pins-"));
  stores = [describe("pg")];
});
afterEach(() => rmSync(directory, { recursive: true }));

function describe(service: string): StoreStatus {
  const folder = join(directory, "vm1", service, "db");
  mkdirSync(folder, { recursive: true });
  const measured = { bytes: 1, sha256: "0".repeat(64) };
  const record = {
    version: 1,
    node: "vm1",
    service,
    store: "db",
    engine: "postgres",
    name: NAME,
    files: [{ file: `${NAME}.dump`, kind: "database", content: "app", plain: measured, stored: measured }],
    trigger: "asked",
    startedMs: 1,
    endedMs: 2,
    image: "pg:1",
    recipients: [],
    restoreWith: [],
    verifications: [],
    later: "kept",
  };
  writeFileSync(join(folder, `${NAME}.dump`), "x");
  writeFileSync(join(folder, `${NAME}.manifest.json`), JSON.stringify(record));
  return { service, store: "db", backups: [{ name: NAME }] } as unknown as StoreStatus;
}

function readRecord(): Record<string, unknown> {
  const path = join(directory, "vm1", "pg", "db", `${NAME}.manifest.json`);
  return JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
}

function pin(untilMs: number | undefined, service?: string, backup = NAME): Promise<string | undefined> {
  const place = { kind: "local", name: "local", directory } as const;
  const listSources = async (name: string, store: string): Promise<BackupSource[]> => {
    const { records } = await listBackups(openLocalRepository("local", directory), {
      node: "vm1",
      service: name,
      store,
    });
    return [{ place, records, identities: [] }];
  };
  const parts = { node: "vm1", records: writer, list: async () => stores, listSources, forget: () => undefined };
  return pinBackup(parts, { backup, service, untilMs });
}

test("it is written down and taken away, and what a later version wrote stays", async () => {
  const before = readRecord();
  expect(await pin(9_000)).toBe(undefined);
  expect(readRecord()).toEqual({ ...before, pinnedUntilMs: 9_000 });
  expect(await pin(undefined)).toBe(undefined);
  expect(await pin(undefined)).toBe(`${NAME} is not pinned`);
  expect(readRecord()).toEqual(before);
});

test("a name that nobody has and one that two have are refused", async () => {
  expect(await pin(9_000, undefined, "pg_dump_x")).toContain("there is no backup pg_dump_x here");
  stores = [describe("pg"), describe("other")];
  expect(await pin(9_000)).toBe("pg and other have a backup of that name: write --service");
  expect(await pin(9_000, "pg")).toBe(undefined);
});

test("while retention works, a pin waits for its end: what was removed meanwhile is said to be gone", async () => {
  let end: () => void = () => undefined;
  void writer.alone({ service: "pg", store: "db" }, async () => {
    await new Promise<void>((resolve) => (end = resolve));
    rmSync(join(directory, "vm1", "pg", "db"), { recursive: true });
  });
  let said: string | undefined = "waits";
  const pinned = pin(9_000).then((answer) => (said = answer));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(said).toBe("waits");
  end();
  expect(await pinned).toBe(`${NAME} is gone: retention has removed it meanwhile`);
});

test("a pin and a verdict that are written at once are both there", async () => {
  const place = { kind: "local", name: "local", directory } as const;
  const folder = { node: "vm1", service: "pg", store: "db" };
  const verdict = { atMs: 1, verdict: "good", detail: "" } as const;
  await Promise.all([
    pin(9_000),
    writer.alone(folder, (change) =>
      change({ place, folder, backup: NAME }, (record) => ({ ...record, verifications: [verdict] })),
    ),
  ]);
  expect(readRecord()).toMatchObject({ pinnedUntilMs: 9_000, verifications: [verdict] });
});
