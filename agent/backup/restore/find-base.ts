// Which base, with its log, a restore to a moment takes: the newest that was whole before it, from the first repository that has one. Looks,
// and changes nothing.

import type { StorePlan } from "../../../shared/state/backup.ts";
import type { RestoreMoment, RestoreOrder } from "../../../shared/state/restore.ts";
import type { BackupRecord } from "../core/backup-record.ts";
import type { AreaSource } from "../repository/store-sources.ts";
import { BASE_AREA, followBase, listBasesBefore, nameLogArea, readBaseRange } from "../wal/core/choose-base.ts";
import { listWalObjects } from "../wal/core/wal-object.ts";

/** What was found. */
interface FoundBase {
  record: BackupRecord;
  moment: RestoreMoment;
}

/**
 * Finds it; undefined where no moment is asked for, nothing is streamed, or no base before it is complete: dumps are looked at then.
 * @param listArea every repository that can be read, with what lies in an area of the store there
 */
export async function findBase(
  listArea: (area: string) => Promise<AreaSource[]>,
  plan: StorePlan,
  { atMs, backup }: RestoreOrder,
): Promise<FoundBase | undefined> {
  if (plan.wal === undefined || atMs === undefined) return undefined;
  for (const { place, records } of await listArea(BASE_AREA)) {
    for (const record of listBasesBefore(records, atMs)) {
      const range = readBaseRange(record);
      // Both are said where what was chosen is to be carried out.
      if (range === undefined || (backup !== undefined && record.name !== backup)) continue;
      const logs = await listArea(nameLogArea(range));
      const names = logs.find((entry) => entry.place.name === place.name)?.names ?? [];
      const { systemId, timeline, segmentBytes } = range;
      if (followBase(record, listWalObjects(names, segmentBytes))?.isComplete === true)
        return { record, moment: { atMs, systemId, timeline } };
    }
  }
  return undefined;
}
