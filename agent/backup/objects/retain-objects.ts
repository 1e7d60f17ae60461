// Takes away stored objects that no listing names any more. A listing goes in two steps a day apart (keep-few.ts), and an object only when
// every listing that is there was read whole and none of them names it. What a run may be writing now is too young to go.

import type { BackupRecord } from "../core/backup-record.ts";
import { describeCount } from "../../../shared/text/count.ts";
import type { Repository, StoreFolder } from "../repository/repository-port.ts";
import { OBJECTS } from "./known-objects.ts";
import { ObjectPool, readPoolTime, SHARDS } from "./object-pool.ts";
import { readByShard, readReferences } from "./object-references.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** What there is of the store, after retention has done its work. */
export interface RetainObjects {
  /** Every record that is there: also those that are set aside, bad or about to go. */
  records: readonly BackupRecord[];
  /** Records that lack some of their data. */
  halved: readonly BackupRecord[];
  /** Names of records that do not read. */
  unread: readonly string[];
  nowMs: number;
}

/** Twice what a run may take (ask-child.ts), and a day: a killed run's objects serve the next one so long. */
const YOUNG_MS = 36 * 3_600_000;
/** Of one folder no more go at once than the larger of these. */
const MOST_AT_ONCE = 4;
const MOST_SHARE = 0.25;

/** Removes them; answers why some are still there, or undefined. Throws nothing for what cannot be removed. */
export async function retainObjects(
  repository: Repository,
  folder: StoreFolder,
  { records, halved, unread, nowMs }: RetainObjects,
): Promise<string | undefined> {
  // Of those that are on their way out what is left names enough: their objects are nobody else's, or named elsewhere.
  const cut = halved.find(({ expiringMs }) => expiringMs === undefined);
  const [strange] = cut === undefined ? unread : [cut.name];
  if (strange !== undefined) return `no stored object is removed while ${strange} is not whole`;
  const own = records.filter(({ engine }) => engine === OBJECTS);
  try {
    // Read to their ends first: what is damaged names less than there was.
    for (const record of own) for await (const _reference of readReferences(repository, folder, record));
  } catch (error) {
    return `no stored object is removed: ${readMessage(error)}`;
  }
  const named = own.map((record) => readByShard(repository, folder, record));
  try {
    return await sweepShards(new ObjectPool(repository, folder), named, nowMs);
  } finally {
    for (const listing of named) await listing.return();
  }
}

async function sweepShards(
  pool: ObjectPool,
  named: readonly ReturnType<typeof readByShard>[],
  nowMs: number,
): Promise<string | undefined> {
  let why: string | undefined;
  let kept = 0;
  for (const shard of SHARDS) {
    const wanted = new Set<string>();
    for (const listing of named) {
      const { value } = await listing.next();
      if (value?.shard !== shard) throw new Error("a listing ended while stored objects were looked at");
      for (const { file } of value.references) wanted.add(file);
    }
    const names = await pool.list(shard);
    const going = names.filter((name) => !wanted.has(name) && isOld(name, nowMs));
    const most = Math.max(MOST_AT_ONCE, Math.floor(names.length * MOST_SHARE));
    for (const name of going.toSorted().slice(0, most)) {
      try {
        await pool.remove(name);
      } catch (error) {
        why ??= readMessage(error);
        kept += 1;
      }
    }
  }
  return why === undefined ? undefined : `${describeCount(kept, "stored object")} could not be removed: ${why}`;
}

/** One of a clock that was ahead stays until it is old by this one. */
function isOld(name: string, nowMs: number): boolean {
  return nowMs - readPoolTime(name) > YOUNG_MS;
}
