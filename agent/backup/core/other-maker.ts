// Whether two agents write backups of one store into one place: two VMs that have one node's name, or an old VM that was not switched off.
// Each record says by whom it was made. Pure.

import type { BackupRecord } from "./backup-record.ts";

/** The newest backup of somebody else, and who that is. */
export interface OtherMaker {
  backup: string;
  /** Its node's public backup key. */
  maker: string;
  /** It has this node's own key: a copy of the VM. */
  twin?: boolean | undefined;
}

type MadeRecord = Pick<BackupRecord, "name" | "maker" | "startedMs">;

/**
 * Finds a backup that another agent has made between or after the last two of one's own. Those before them are what a VM has left that
 * this one took the place of; once the other has ended, two runs later nothing is found any more. A record without a maker is from an
 * earlier version, and says nothing.
 */
export function findOtherMaker(records: readonly MadeRecord[], own: string | undefined): OtherMaker | undefined {
  if (own === undefined) return undefined;
  const newestFirst = records.toSorted((one, other) => other.startedMs - one.startedMs);
  const mine = newestFirst.filter(({ maker }) => maker === own);
  const since = (mine[1] ?? mine[0])?.startedMs;
  if (since === undefined) return undefined;
  const found = newestFirst.find(({ maker, startedMs }) => maker !== undefined && maker !== own && startedMs >= since);
  return found?.maker === undefined ? undefined : { backup: found.name, maker: found.maker };
}

/**
 * Finds backups that were made with this node's own key since its last two, and not by this agent: two VMs that were one once. One alone
 * may be this agent's, which was killed before it could note it.
 * @param names what this agent has made, the newest last
 */
export function findTwin(
  records: readonly MadeRecord[],
  own: string | undefined,
  names: readonly string[],
): OtherMaker | undefined {
  const newestFirst = records.toSorted((one, other) => other.startedMs - one.startedMs);
  const mine = newestFirst.filter(({ name }) => names.includes(name));
  const since = (mine[1] ?? mine[0])?.startedMs;
  if (own === undefined || since === undefined) return undefined;
  const strange = newestFirst.filter(
    ({ name, maker, startedMs }) => maker === own && startedMs >= since && !names.includes(name),
  );
  const [newest, another] = strange;
  return newest === undefined || another === undefined ? undefined : { backup: newest.name, maker: own, twin: true };
}

/** For people. */
export function describeOtherMaker({ backup, maker, twin = false }: OtherMaker): string {
  if (twin)
    return `a copy of this VM writes there too, with the same key: this agent has not made ${backup}: end the agent of one of them, and remove its backup.key before it is a node of its own`;
  return `another agent writes there too: ${backup} was made by one whose backup_key is ${maker}`;
}
