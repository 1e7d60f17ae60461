// A verified backup before a service gets a new container (before_update, update.backup_first): its release goes on until there is one.
// Crash restarts, rollbacks and specs that stay the same never wait. Pure; backup/ makes what is awaited here.
// Held by test/scenario/backup/before-update.test.ts.

import type { AwaitedBackup, BackupFact, BackupFacts, BackupNeed } from "../../../shared/state/backup.ts";
import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import {
  findService,
  type NodeMemory,
  type ReleasesMemory,
  type ServiceMemory,
  setPart,
} from "../../../shared/state/memory.ts";
import { isAlive, type ObservedEngine } from "../../../shared/state/observed-state.ts";
import type { Reason } from "../../../shared/state/reason.ts";
import type { KeptReleases } from "./rollout.ts";
import type { Decision, ServiceContext } from "../world.ts";

/** One that is younger counts, whoever asked for it. */
const FRESH_MS = 900_000;
/** One that is dated further ahead was made by a clock that was wrong: nobody knows how old it is. */
const AHEAD_MS = 600_000;
/** Then people are told that it takes too long. */
export const LATE_MS = 3_600_000;

/** True for a backup that a change may rely on: made since it waits, or a short time before. */
export function isFresh(startedMs: number, { sinceMs, nowMs }: { sinceMs: number; nowMs: number }): boolean {
  return startedMs >= Math.min(sinceMs, nowMs - FRESH_MS) && startedMs <= nowMs + AHEAD_MS;
}

/** The key of a store among facts. */
export function nameNeed({ service, store }: BackupNeed): string {
  return `${service}/${store}`;
}

/** What is looked at to see whether a change waits. */
export interface BackupView {
  find: KeptReleases["find"];
  /** As the last turn saw it. */
  engine: ObservedEngine;
  facts: BackupFacts;
  nowMs: number;
}

/** Remembers which changes wait for a backup since when, and which have theirs: once they have, they wait no more. */
export function rememberBackups(memory: NodeMemory, desired: DesiredState, view: BackupView): NodeMemory {
  const changed: Record<string, ServiceMemory> = {};
  for (const service of desired.services.values()) {
    const known = findService(memory.services, service.name);
    const before = known?.release.backup;
    if (known === undefined || (service.backupFirst === undefined && before === undefined)) continue;
    const backup = isNeeded(service, known, view) ? judgeNewest(service, before, { ...view, desired }) : undefined;
    if (JSON.stringify(backup) !== JSON.stringify(before))
      changed[service.name] = setPart(known, "release", { backup });
  }
  return Object.keys(changed).length === 0 ? memory : { ...memory, services: { ...memory.services, ...changed } };
}

/** A new container would take the place of one that has run. */
function isNeeded(
  { name, kind, running, fingerprint, specHash, backupFirst }: DesiredService,
  { release: { rolledBack, backup, lastGood } }: ServiceMemory,
  { find, engine }: BackupView,
): boolean {
  if (backupFirst === undefined || !running || kind === "job") return false;
  // What was rolled back is not what runs; tried again, it waits again.
  if (rolledBack?.wanted === fingerprint) return false;
  const own = engine.reachable ? engine.containers.filter((entry) => entry.service === name && isAlive(entry)) : [];
  if (own.some((entry) => entry.specHash === specHash)) return backup?.by !== undefined;
  const release = lastGood === undefined ? undefined : find(name, lastGood.fingerprint);
  return release === undefined ? own.length > 0 : release.specHash !== specHash;
}

function judgeNewest(
  { fingerprint, backupFirst = [] }: DesiredService,
  before: ReleasesMemory["backup"],
  { desired, facts, nowMs }: BackupView & { desired: DesiredState },
): NonNullable<ReleasesMemory["backup"]> {
  const known = before?.wanted === fingerprint ? before : { wanted: fingerprint, sinceMs: nowMs };
  if (known.by !== undefined) return known;
  if (desired.emergency !== undefined) return { ...known, by: desired.emergency };
  const found = backupFirst.map((need) => facts[nameNeed(need)]?.verified);
  const fresh = found.flatMap((one) =>
    one !== undefined && isFresh(one.startedMs, { sinceMs: known.sinceMs, nowMs }) ? [one.name] : [],
  );
  return fresh.length === backupFirst.length ? { ...known, by: fresh.join(", ") } : known;
}

/** Why a change waits for a backup; undefined where it does not. */
export function findBackupHold(
  { fingerprint, backupFirst = [], name }: DesiredService,
  backup: ReleasesMemory["backup"],
  facts: BackupFacts,
): Reason | undefined {
  if (backupFirst.length === 0 || backup?.wanted !== fingerprint || backup.by !== undefined) return undefined;
  const named = backupFirst.map((need): [string, BackupFact | undefined] => [nameNeed(need), facts[nameNeed(need)]]);
  const troubled = named.find(([, fact]) => fact?.trouble !== undefined);
  const busy = named.find(([, fact]) => fact?.doing !== undefined);
  return {
    code: "backup-first",
    service: name,
    of: named.map(([key]) => key),
    ...(troubled?.[1]?.trouble === undefined ? {} : { trouble: `${troubled[0]}: ${troubled[1].trouble}` }),
    ...(busy?.[1]?.doing === undefined ? {} : { doing: busy[1].doing }),
    now: { sinceMs: backup.sinceMs },
  };
}

/** What is awaited now, for whoever makes it. */
export function listAwaited(memory: NodeMemory, services: Iterable<DesiredService>): AwaitedBackup[] {
  const awaited = new Map<string, AwaitedBackup>();
  for (const { name, fingerprint, backupFirst = [] } of services) {
    const backup = findService(memory.services, name)?.release.backup;
    if (backup?.wanted !== fingerprint || backup.by !== undefined) continue;
    for (const need of backupFirst) {
      const key = nameNeed(need);
      const sinceMs = Math.max(backup.sinceMs, awaited.get(key)?.sinceMs ?? 0);
      awaited.set(key, { ...need, sinceMs });
    }
  }
  return [...awaited.values()];
}

/** Holds a new container where no release stands in its place: the old one goes on. */
export function waitForBackup(context: ServiceContext): Decision | undefined {
  const { desired, memory, current, others, world } = context;
  if (current !== undefined || desired.backupFirst === undefined || !others.some(isAlive)) return undefined;
  const { backup, lastGood } = memory.release;
  // The good release with other data, which a restore gives it, or come back to: nothing of it is new.
  if (lastGood?.fingerprint === desired.fingerprint) return undefined;
  if (backup?.wanted === desired.fingerprint && backup.by !== undefined) return undefined;
  if (world.desired.services.get(desired.name) !== context.wanted) return undefined;
  const waiting = { wanted: desired.fingerprint, sinceMs: world.nowMs, ...backup };
  const reason = findBackupHold(desired, waiting, world.backups ?? {});
  return reason === undefined ? undefined : { state: "held", reason, memory };
}
