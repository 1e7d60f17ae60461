// Copies a backup of a bucket from one repository to another as it lies there: the stored objects that the other has not, then its listing,
// and its record last.

import { copyBackup } from "../copy-backup.ts";
import type { BackupRecord } from "../core/backup-record.ts";
import type { KnownPlace } from "./known-objects.ts";
import { readByShard } from "./object-references.ts";

/** Copies the objects that a listing names and that are not there: before the listing, which makes a backup of them. */
export async function copyStored(
  from: Pick<KnownPlace, "repository" | "pool" | "folder">,
  to: Pick<KnownPlace, "pool" | "records">,
  record: BackupRecord,
): Promise<void> {
  const damaged = new Set(to.records.flatMap((entry) => entry.damaged ?? []));
  for await (const { shard, references } of readByShard(from.repository, from.folder, record)) {
    const there = new Set(references.length === 0 ? [] : await to.pool.list(shard));
    for (const { file, stored } of references) {
      // What a proof has found damaged there is put in its place again.
      if (damaged.has(file)) await to.pool.remove(file);
      if (!there.has(file) || damaged.has(file)) await to.pool.take(from.pool, file, stored);
    }
  }
}

/** Copies one. Throws, and leaves no record then; the objects that have come over are not copied again. */
export async function copyObjects(
  from: Pick<KnownPlace, "repository" | "pool" | "folder">,
  to: Pick<KnownPlace, "repository" | "pool" | "records">,
  record: BackupRecord,
): Promise<void> {
  await copyStored(from, to, record);
  await copyBackup(from.repository, to.repository, record);
}
