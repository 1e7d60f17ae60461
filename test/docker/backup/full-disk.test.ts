// Repositories and the spool on file systems that are really full, have no inodes left, or cannot be written: said, nothing partial left,
// the next repository gets the backup all the same, and retention makes room.

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { buildBackupOrder, playPart } from "../../builders/data/made-backup.ts";
import { RECORD_ENDING } from "../../../agent/backup/core/backup-name.ts";
import { carryOutRetention } from "../../../agent/backup/keep-few.ts";
import { listBackups, makeBackup, type MadeBackup } from "../../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import type { Repository } from "../../../agent/backup/repository/repository-port.ts";
import { stageBackup } from "../../../agent/backup/staging.ts";

const FOLDER = { node: "vm1", service: "pg", store: "db" };
const NOW = Date.UTC(2026, 10, 20, 2, 17);
const DAY_MS = 86_400_000;

let root = "";
let disk = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-full-"));
  disk = join(root, "disk");
  mkdirSync(disk);
});
afterEach(() => {
  execFileSync("umount", [disk]);
  rmSync(root, { recursive: true });
});

function mount(options: string): void {
  execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", disk]);
}

/** Nothing more can be written there. */
function fill(): void {
  const write = (bytes: number): void => {
    for (;;) writeFileSync(join(disk, "ballast"), Buffer.alloc(bytes), { flag: "a" });
  };
  for (const bytes of [65_536, 4_096, 1]) expect(() => write(bytes)).toThrow("ENOSPC");
}

/** Whatever lies in a directory, seen or not. */
function listFiles(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile() && entry.name !== "ballast").map(({ name }) => name);
}

function make(
  repositories: readonly Repository[],
  { bytes = 3_000_000, nowMs = NOW, recipients = [] as string[] } = {},
): Promise<MadeBackup> {
  return makeBackup(buildBackupOrder({ recipients }), {
    repositories: repositories.map((opened) => ({ name: opened.name, open: () => Promise.resolve(opened) })),
    nowMs: () => nowMs,
    listParts: () =>
      Promise.resolve([
        playPart(async function* () {
          await Promise.resolve();
          for (let at = 0; at < bytes; at += 100_000) yield randomBytes(Math.min(100_000, bytes - at));
        }),
      ]),
  });
}

describe.each<[string, () => void, RegExp]>([
  ["is full in the middle", () => mount("size=1m"), /ENOSPC/],
  ["has no inodes", () => mount("size=9m,nr_inodes=4"), /ENOSPC/],
  [
    "is read-only",
    () => {
      mount("size=9m");
      execFileSync("mount", ["-o", "remount,ro", disk]);
    },
    /is read-only for the agent: .*orca unit --write/,
  ],
])("a disk that %s", (_name, prepare, words) => {
  test("as the first repository: that is said, nothing of it is left, and the next one has the backup", async () => {
    prepare();
    const [full, other] = [openLocalRepository("nas", disk), openLocalRepository("local", join(root, "other"))];
    const { record, repositories } = await make([full, other]);
    expect(repositories).toEqual([
      { repository: "nas", reason: expect.stringMatching(words) as string },
      { repository: "local" },
    ]);
    expect(listFiles(disk)).toEqual([]);
    expect((await listBackups(other, FOLDER)).records.map(({ name }) => name)).toEqual([record.name]);
  });

  test("as the second one, and as the only one", async () => {
    prepare();
    const [full, other] = [openLocalRepository("nas", disk), openLocalRepository("local", join(root, "other"))];
    const { repositories } = await make([other, full]);
    expect(repositories[1]?.reason).toMatch(words);
    await expect(make([full], { nowMs: NOW + 60_000 })).rejects.toThrow(words);
    expect(listFiles(disk)).toEqual([]);
    expect(listFiles(join(root, "other"))).toHaveLength(2);
  });

  test("as the spool: an encrypted backup cannot be judged, and nothing of it stays open", async () => {
    prepare();
    const directory = join(root, "other");
    const repository = openLocalRepository("local", directory);
    const identity = await generateX25519Identity();
    const { record } = await make([repository], { recipients: [await identityToRecipient(identity)] });
    const staged = await stageBackup({
      place: { kind: "local", name: "local", directory },
      repository,
      folder: FOLDER,
      record,
      spool: join(disk, "a", "spool"),
      identities: [identity],
    });
    expect(staged).toMatchObject({ verdict: "unknown" });
    expect(listFiles(disk)).toEqual([]);
  });
});

test("on a disk that is full what is due to go makes room, and what is to be marked waits", async () => {
  mount("size=2m");
  const repository = openLocalRepository("local", disk);
  for (let at = 0; at < 8; at += 1) await make([repository], { bytes: 100_000, nowMs: NOW + at * DAY_MS });
  for (const { name, ...rest } of (await listBackups(repository, FOLDER)).records) {
    const record = { name, ...rest, verifications: [{ atMs: NOW, verdict: "good", detail: "" }] };
    await repository.replaceText(FOLDER, `${name}${RECORD_ENDING}`, JSON.stringify(record));
  }
  const input = {
    policy: { days: 1, daily: 1, weekly: 0, monthly: 0 },
    lastRunGood: true,
    lastRunEndedMs: 0,
    expected: undefined,
  };
  await carryOutRetention(repository, FOLDER, { ...input, nowMs: NOW + 8 * DAY_MS });
  fill();
  const { removed, count } = await carryOutRetention(repository, FOLDER, { ...input, nowMs: NOW + 10 * DAY_MS });
  expect({ removed: removed.length, count }).toEqual({ removed: 3, count: 5 });
  const marked = (await listBackups(repository, FOLDER)).records.filter(({ expiringMs }) => expiringMs !== undefined);
  expect(marked).toHaveLength(2);
  for (const name of listFiles(disk).filter((entry) => entry.endsWith(RECORD_ENDING)))
    JSON.parse(readFileSync(join(disk, "vm1/pg/db", name), "utf8"));
});
