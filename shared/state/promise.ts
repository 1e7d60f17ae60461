// How the promise of a store stands (`slo.rpo`): one for each repository that its manifest names. Made by backup/, told by report/ and
// serve/. Types, and the one rule.

import type { BackupRun, VerifyRun } from "./backup.ts";

/** One store in one repository. Times are milliseconds since the epoch. */
export interface StoreStanding {
  service: string;
  /** The name of its `[[backups]]` table. */
  store: string;
  repository: string;
  /** The age of the newest good backup that is still fine; undefined where nothing is promised. */
  rpoMs: number | undefined;
  /** When the newest good backup there began to read the source; undefined where there is none. */
  newestMs: number | undefined;
  /** When the agent first saw the store: without a backup all that came since could be lost. */
  seenMs: number;
  /** Why there can be none by this version. */
  trouble: string | undefined;
  lastRun: BackupRun | undefined;
  /** Of the store, from whichever repository. */
  lastVerify: VerifyRun | undefined;
  /** What the last proof from this repository has shown; undefined where there was none. */
  proof: VerifyRun["verdict"] | undefined;
}

/** The age that the promise is about: of the newest good backup, or since the store is there at all. */
export function measureAge({ newestMs, seenMs }: Pick<StoreStanding, "newestMs" | "seenMs">, nowMs: number): number {
  return Math.max(0, nowMs - (newestMs ?? seenMs));
}

/** True where the promise is broken now, whether anything was ever run or not. */
export function isBroken(
  standing: Pick<StoreStanding, "newestMs" | "seenMs" | "rpoMs" | "trouble">,
  nowMs: number,
): boolean {
  const { rpoMs, trouble } = standing;
  return rpoMs !== undefined && (trouble !== undefined || measureAge(standing, nowMs) > rpoMs);
}
