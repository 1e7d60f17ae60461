// Whether two agents write backups of one store into one place: two VMs that have one node's name, or an old VM that was not switched off.
// Each record says by whom it was made. Pure.

import type { BackupRecord } from "./backup-record.ts";

/** The newest backup of somebody else, and who that is. */
export interface OtherMaker {
  backup: string;
  /** Its node's public backup key. */
  maker: string;
}

/**
 * Finds a backup that another agent has made between or after the last two of one's own. Those before them are what a VM has left that
 * this one took the place of; once the other has ended, two runs later nothing is found any more. A record without a maker is from an
 * earlier version, and says nothing.
 */
export function findOtherMaker(
  records: readonly Pick<BackupRecord, "name" | "maker" | "startedMs">[],
  own: string | undefined,
): OtherMaker | undefined {
  if (own === undefined) return undefined;
  const newestFirst = records.toSorted((one, other) => other.startedMs - one.startedMs);
  const mine = newestFirst.filter(({ maker }) => maker === own);
  const since = (mine[1] ?? mine[0])?.startedMs;
  if (since === undefined) return undefined;
  const found = newestFirst.find(({ maker, startedMs }) => maker !== undefined && maker !== own && startedMs >= since);
  return found?.maker === undefined ? undefined : { backup: found.name, maker: found.maker };
}

/** For people. */
export function describeOtherMaker({ backup, maker }: OtherMaker): string {
  return `another agent writes there too: ${backup} was made by one whose backup_key is ${maker}`;
}
