// Carries out what retention plans for one store: marks, takes marks away, and removes what was marked long enough, its record last.

import { type BackupRecord, writeRecordText } from "./core/backup-record.ts";
import { readStamp, RECORD_ENDING } from "./core/backup-name.ts";
import { findOtherMaker } from "./core/other-maker.ts";
import { EXPIRE_AFTER_MS, planRetention, type RetentionPolicy } from "./core/retention.ts";
import { listBackups } from "./pipeline.ts";
import type { Repository, StoreFolder } from "./repository/repository-port.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** Data without a record is younger while its run goes on. */
const ORPHAN_AFTER_MS = 86_400_000;

/** What is known beside the repository. */
export interface RetentionInput {
  policy: RetentionPolicy;
  nowMs: number;
  /** Whether the last run brought this repository its backup, and the last proof did not find it bad. */
  lastRunGood: boolean;
  lastRunEndedMs: number;
  /** The wall clock was set a short time ago. */
  clockSet?: boolean;
  /** How many records this repository had after the last run. */
  expected: number | undefined;
  /** Names of backups that a restore works with, or may still go back to. */
  held?: readonly string[];
  /** This node's public backup key: where somebody else writes too, nothing is removed. */
  maker?: string | undefined;
}

/** What came of it. */
export interface Retained {
  /** How many records there are then. */
  count: number;
  removed: string[];
  /** Why nothing was planned. */
  stoodStill: string | undefined;
  /** Why something that was to go is still there: a lock, a key that may not delete. */
  kept: string | undefined;
}

/** Keeps what the policy and its floors say, and takes away data that never became a backup. */
export async function carryOutRetention(
  repository: Repository,
  folder: StoreFolder,
  { policy, nowMs, lastRunGood, lastRunEndedMs, clockSet, expected, held = [], maker }: RetentionInput,
): Promise<Retained> {
  const { records, strange, halved } = await listBackups(repository, folder);
  const orphans = await listOwnOrphans(repository, folder, listOrphans(strange, nowMs));
  let kept: string | undefined;
  const tryTo = async (work: () => Promise<void>): Promise<boolean> => {
    try {
      await work();
      return true;
    } catch (error) {
      kept ??= readMessage(error);
      return false;
    }
  };
  for (const name of orphans) await tryTo(() => repository.remove(folder, name));
  const clockDoubtful = clockSet === true || lastRunEndedMs > nowMs;
  const other = findOtherMaker(records, maker);
  const plan = planRetention(records, policy, { nowMs, lastRunGood, clockDoubtful, expected, held, other });
  if (plan.kind === "stand-still") {
    // Until a short listing was said, what is known to be there stays known: one that fails must not make it short unheard.
    const count = plan.isShort ? records.length : Math.max(records.length, expected ?? 0);
    return { count, removed: [], stoodStill: plan.why, kept };
  }
  const byName = new Map(records.map((record) => [record.name, record]));
  const find = (names: readonly string[]): BackupRecord[] => names.flatMap((name) => byName.get(name) ?? []);
  const removed: string[] = [];
  // A removal that was cut off is brought to its end: what is left of it is no backup, and would lie there for ever.
  const cutOff = halved.filter(({ expiringMs = nowMs }) => nowMs - expiringMs >= EXPIRE_AFTER_MS);
  for (const record of [...cutOff, ...find(plan.remove)]) {
    const isGone = await tryTo(async () => {
      for (const { file } of record.files) await repository.remove(folder, file);
      await repository.remove(folder, `${record.name}${RECORD_ENDING}`);
    });
    if (isGone) removed.push(record.name);
  }
  // Marks are written once there is room again: on a disk that is full they would hold up the removals that make it.
  for (const { expiringMs: _mark, ...record } of find(plan.unmark))
    await tryTo(() => write(repository, folder, record));
  for (const record of find(plan.expire))
    await tryTo(() => write(repository, folder, { ...record, expiringMs: nowMs }));
  const gone = removed.filter((name) => byName.has(name));
  const stay = records.map(({ name }) => name).filter((name) => !gone.includes(name));
  await tryTo(() => sweepObjects(repository, folder, { nowMs, stay }));
  return { count: records.length - gone.length, removed, stoodStill: undefined, kept };
}

/**
 * Of a store whose backups are listings. Throws why something is still there.
 * @param stay names of backups that were there a moment ago: a listing without one of them is not whole, and what that one names would go
 */
async function sweepObjects(
  repository: Repository,
  folder: StoreFolder,
  { nowMs, stay }: { nowMs: number; stay: readonly string[] },
): Promise<void> {
  // What is there now counts, and not what was there before this retention.
  const { records: own, strange, halved, foreign = [] } = await listBackups(repository, folder);
  // What a machine names that had lost its place stays there for it.
  const records = [...own, ...foreign];
  if (!records.some(({ engine }) => engine === "objects")) return;
  const there = new Set([...records, ...halved].map(({ name }) => name));
  const missing = stay.find((name) => !there.has(name));
  if (missing !== undefined)
    throw new Error(`no stored object is removed: ${missing} was listed a moment ago, and is not there now`);
  const { retainObjects } = await import("./objects/retain-objects.ts");
  const known = new Set(halved.map(({ name }) => `${name}${RECORD_ENDING}`));
  const unread = strange.filter((name) => name.endsWith(RECORD_ENDING) && !known.has(name));
  const why = await retainObjects(repository, folder, { records, halved, unread, nowMs });
  if (why !== undefined) throw new Error(why);
}

/** Data of a run that was killed before its record: nobody adds one a day later. What has a record, readable or not, is left alone. */
function listOrphans(strange: readonly string[], nowMs: number): string[] {
  const recorded = strange
    .filter((name) => name.endsWith(RECORD_ENDING))
    .map((name) => name.slice(0, -RECORD_ENDING.length));
  return strange.filter((name) => {
    const startedMs = readStamp(name);
    if (startedMs === undefined || nowMs - startedMs < ORPHAN_AFTER_MS) return false;
    return !recorded.some((stem) => name === stem || name.startsWith(`${stem}.`));
  });
}

/** Without what a machine has left that had lost its place: that is not this one's. */
async function listOwnOrphans(
  { terms }: Repository,
  folder: StoreFolder,
  names: readonly string[],
): Promise<readonly string[]> {
  if (terms === undefined) return names;
  const own: string[] = [];
  for (const name of names) {
    const endMs = await terms.findEndMs(await terms.locate(folder, name));
    if ((readStamp(name) ?? endMs) < endMs) own.push(name);
  }
  return own;
}

function write(repository: Repository, folder: StoreFolder, record: BackupRecord): Promise<void> {
  return repository.replaceText(folder, `${record.name}${RECORD_ENDING}`, writeRecordText(record));
}
