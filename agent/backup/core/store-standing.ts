// How the stores of a node stand with their promises, from what is remembered of them. Pure.

import type { StorePlan, VerifyRun } from "../../../shared/state/backup.ts";
import type { StoreStanding } from "../../../shared/state/promise.ts";
import { type BackupRecord, isAhead, isComplete } from "./backup-record.ts";

/** What is remembered of a store. */
interface KnownStore extends Partial<Pick<StoreStanding, "lastRun" | "lastVerify">> {
  /** Of its bases and their log. */
  lastBaseVerify?: VerifyRun | undefined;
  accountedMs: number;
  seenMs?: number | undefined;
  /** When the newest backup began that was made, good or not by now: all that earlier versions have kept. */
  madeMs?: number | undefined;
  /** Repository → when the newest good backup in it began. */
  goodMs?: Readonly<Record<string, number>> | undefined;
  repositories?: Readonly<Record<string, { proof?: Pick<VerifyRun, "verdict"> | undefined }>> | undefined;
}

/** One standing for each repository that the manifest names. */
export function listStandings(
  plan: StorePlan,
  memory: KnownStore | undefined,
  { trouble, nowMs }: { trouble: string | undefined; nowMs: number },
): StoreStanding[] {
  const { service, store, rpoMs } = plan;
  const seenMs = memory?.seenMs ?? memory?.accountedMs ?? nowMs;
  return plan.repositories.map(({ name }) => ({
    service,
    store,
    repository: name,
    rpoMs,
    newestMs: memory?.goodMs === undefined ? memory?.madeMs : memory.goodMs[name],
    seenMs,
    trouble,
    lastRun: memory?.lastRun,
    lastVerify: isBad(plan, memory?.lastBaseVerify) ? memory?.lastBaseVerify : memory?.lastVerify,
    proof: memory?.repositories?.[name]?.proof?.verdict,
  }));
}

/** A base that cannot be restored is told also where the dumps are fine. */
function isBad({ wal }: StorePlan, run: VerifyRun | undefined): boolean {
  return wal !== undefined && run?.verdict === "bad";
}

/**
 * When the newest backup that a restore may count on began; undefined where there is none. One of a clock that was ahead counts not: it
 * would keep the promise until that day comes.
 */
export function findNewestGood(
  records: readonly BackupRecord[],
  { bad, nowMs }: { bad: readonly string[]; nowMs: number },
): number | undefined {
  const times = records
    .filter((record) => isComplete(record) && !bad.includes(record.name) && !isAhead(record, nowMs))
    .map(({ startedMs }) => startedMs);
  return times.length === 0 ? undefined : Math.max(...times);
}
