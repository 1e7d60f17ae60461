// Pins of backups: a person's word that one stays until a day, whatever its policy says. It stands in the backup's own record.

import type { PinOrder, StoreStatus } from "../../../shared/state/backup.ts";
import type { RecordDesk } from "./record-desk.ts";
import type { BackupSource } from "../repository/store-sources.ts";

/** What pins work with. */
interface PinParts {
  node: string;
  records: Pick<RecordDesk, "alone">;
  list(): Promise<StoreStatus[]>;
  listSources(service: string, store: string): Promise<BackupSource[]>;
  forget(service: string, store: string): void;
}

/** Pins one in each repository that has it, or takes the pins away; a text says why it cannot be. */
export async function pinBackup(parts: PinParts, order: PinOrder): Promise<string | undefined> {
  const { backup, service: only, untilMs } = order;
  const stores = (await parts.list()).filter((entry) => only === undefined || entry.service === only);
  const found = stores.filter(({ backups }) => backups.some(({ name }) => name === backup));
  const [status, other] = found;
  if (status === undefined) return `there is no backup ${backup} here: orca backup list names them`;
  if (other !== undefined)
    return `${found.map(({ service }) => service).join(" and ")} have a backup of that name: write --service`;
  const { service, store } = status;
  const folder = { node: parts.node, service, store };
  return parts.records.alone(status, async (change) => {
    // Retention may have removed it while this waited for its end.
    parts.forget(service, store);
    const sources = await parts.listSources(service, store);
    const having = sources.filter(({ records }) => records.some(({ name }) => name === backup));
    const isPinned = having.some(({ records }) => records.some((it) => it.name === backup && it.pinnedUntilMs));
    if (having.length > 0 && untilMs === undefined && !isPinned) return `${backup} is not pinned`;
    if (having.length === 0) return `${backup} is gone: retention has removed it meanwhile`;
    for (const { place } of having) {
      await change({ place, folder, backup }, ({ pinnedUntilMs: _before, ...record }) =>
        untilMs === undefined ? record : { ...record, pinnedUntilMs: untilMs },
      );
    }
    parts.forget(service, store);
    return undefined;
  });
}
