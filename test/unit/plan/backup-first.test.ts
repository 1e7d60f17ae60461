// What a change that waits for a backup is let in by: fresh verified backups of all that it names, or the word of the newest commit.

import { expect, test } from "vitest";

import { findNextBackup, type NextBackup } from "../../../agent/backup/keeper/before-update.ts";
import type { KnownBackup, StoreStatus } from "../../../shared/state/backup.ts";
import { isFresh, listAwaited, rememberBackups } from "../../../agent/plan/rules/backup-first.ts";
import type { BackupFacts } from "../../../shared/state/backup.ts";
import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import { beginService, EMPTY_MEMORY, type NodeMemory } from "../../../shared/state/memory.ts";

const NOW = 10_000_000;
const RELEASE = { fingerprint: "old", specHash: "v1:old", revision: "dir:1", image: "app:1", settledMs: 1 };
const NEEDS = [
  { service: "pg", store: "db" },
  { service: "other", store: "db" },
];
const SERVICE = {
  name: "pg",
  kind: "service",
  running: true,
  fingerprint: "new",
  specHash: "v1:new",
  backupFirst: NEEDS,
} as unknown as DesiredService;

function remember(facts: BackupFacts, emergency?: string, service = SERVICE): NodeMemory {
  const known = { ...beginService("old"), release: { lastGood: RELEASE } };
  const desired = { services: new Map([["pg", service]]), emergency } as unknown as DesiredState;
  const old = { ...SERVICE, ...RELEASE } as unknown as DesiredService;
  return rememberBackups({ ...EMPTY_MEMORY, services: { pg: known } }, desired, {
    find: () => old,
    engine: { reachable: false, reason: "not asked yet" },
    facts,
    nowMs: NOW,
  });
}

const fresh = { verified: { name: "b", startedMs: NOW - 60_000 } };

test("it waits for each that it names", () => {
  const memory = remember({ "pg/db": fresh });
  expect(memory.services["pg"]?.release.backup).toEqual({ wanted: "new", sinceMs: NOW });
  expect(listAwaited(memory, [SERVICE])).toEqual(NEEDS.map((need) => ({ ...need, sinceMs: NOW })));
});

test("with all of them it goes in, and nothing is awaited any more", () => {
  const memory = remember({ "pg/db": fresh, "other/db": fresh });
  expect(memory.services["pg"]?.release.backup).toEqual({ wanted: "new", sinceMs: NOW, by: "b, b" });
  expect(listAwaited(memory, [SERVICE])).toEqual([]);
});

test("the word of the newest commit lets it in without any", () => {
  expect(remember({}, "the disk burns").services["pg"]?.release.backup).toMatchObject({ by: "the disk burns" });
});

test("the same spec, a stopped service and a job wait for nothing", () => {
  const others = [
    { ...SERVICE, specHash: "v1:old" },
    { ...SERVICE, running: false },
    { ...SERVICE, kind: "job" as const },
  ];
  for (const service of others) expect(remember({}, undefined, service).services["pg"]?.release.backup).toBe(undefined);
});

test("a backup is fresh that was begun since it waits, or in the 15 minutes before now", () => {
  expect(isFresh(NOW - 899_000, { sinceMs: NOW, nowMs: NOW })).toBe(true);
  expect(isFresh(NOW - 901_000, { sinceMs: NOW, nowMs: NOW })).toBe(false);
  expect(isFresh(NOW - 1_800_000, { sinceMs: NOW - 1_900_000, nowMs: NOW })).toBe(true);
});

test("a backup that a wrong clock has dated in the future lets no change through, and hides none that was made since", () => {
  expect(isFresh(NOW + 300_000, { sinceMs: NOW, nowMs: NOW })).toBe(true);
  expect(isFresh(NOW + 86_400_000, { sinceMs: NOW, nowMs: NOW })).toBe(false);
  const build = (name: string, startedMs: number, verified: boolean): KnownBackup =>
    ({ name, startedMs, verified, verdict: undefined }) as KnownBackup;
  const ahead = build("ahead", NOW + 400 * 86_400_000, true);
  const find = (backups: KnownBackup[]): NextBackup =>
    findNextBackup({ backups } as unknown as StoreStatus, { service: "pg", store: "db", sinceMs: NOW }, NOW);
  expect(find([ahead])).toMatchObject({ ask: "make" });
  expect(find([ahead, build("since", NOW, false)])).toMatchObject({ ask: "verify" });
  expect(find([ahead, build("since", NOW, true)])).toEqual({ fact: { verified: { name: "since", startedMs: NOW } } });
});
