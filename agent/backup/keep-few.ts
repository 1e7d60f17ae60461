// Carries out what retention plans for one store: marks, takes marks away, and removes what was marked long enough, its record last.

import type { StoreMemory } from "./backup-state.ts";
import { type BackupRecord } from "./core/backup-record.ts";
import { RECORD_ENDING } from "./core/backup-name.ts";
import { planRetention, type RetentionPolicy } from "./core/retention.ts";
import { listBackups } from "./pipeline.ts";
import type { Repository, StoreFolder } from "./repository/repository-port.ts";

/** What is known beside the repository. */
export interface RetentionInput {
  policy: RetentionPolicy;
  nowMs: number;
  memory: StoreMemory;
}

/** Keeps what the policy and its floors say. Answers how many records there are then, and which backups were removed. */
export async function carryOutRetention(
  repository: Repository,
  folder: StoreFolder,
  { policy, nowMs, memory }: RetentionInput,
): Promise<{ count: number; removed: string[]; stoodStill: string | undefined }> {
  const { records } = await listBackups(repository, folder);
  const plan = planRetention(records, policy, {
    nowMs,
    lastRunGood: memory.lastRun?.reason === undefined && memory.lastVerify?.verdict !== "bad",
    clockDoubtful: (memory.lastRun?.endedMs ?? 0) > nowMs,
    expected: memory.expected,
  });
  if (plan.kind === "stand-still") return { count: records.length, removed: [], stoodStill: plan.why };
  const byName = new Map(records.map((record) => [record.name, record]));
  const find = (names: readonly string[]): BackupRecord[] => names.flatMap((name) => byName.get(name) ?? []);
  for (const record of find(plan.expire)) await write(repository, folder, { ...record, expiringMs: nowMs });
  for (const { expiringMs: _mark, ...record } of find(plan.unmark)) await write(repository, folder, record);
  for (const record of find(plan.remove)) {
    for (const { file } of record.files) await repository.remove(folder, file);
    await repository.remove(folder, `${record.name}${RECORD_ENDING}`);
  }
  return { count: records.length - plan.remove.length, removed: [...plan.remove], stoodStill: undefined };
}

function write(repository: Repository, folder: StoreFolder, record: BackupRecord): Promise<void> {
  return repository.replaceText(folder, `${record.name}${RECORD_ENDING}`, `${JSON.stringify(record, undefined, 2)}\n`);
}
