// Copies a backup from one repository to another as it lies there, encrypted or not: read, written, read back, and its record last. What
// comes out is what the first one has, or nothing.

import { describeCount } from "../../shared/text/count.ts";
import { batch, writeBatches } from "./batches.ts";
import { type BackupFile, type BackupRecord, backupRecordSchema, writeRecordText } from "./core/backup-record.ts";
import { RECORD_ENDING } from "./core/backup-name.ts";
import { Meter } from "./dump-gate.ts";
import { type Repository, RepositoryError, type StoreFolder } from "./repository/repository-port.ts";

/** A file of a backup, and where it is looked at. */
interface FilePlace {
  repository: Repository;
  folder: StoreFolder;
  file: BackupFile;
}

/** Copies a backup whose record says what is to come out. Throws, and leaves nothing then. */
export async function copyBackup(from: Repository, to: Repository, record: BackupRecord): Promise<void> {
  const published: string[] = [];
  try {
    for (const file of record.files) await copyFile(from, { repository: to, folder: record, file }, published);
    await publishRecord(to, record, published);
  } catch (error) {
    await removeAll(to, record, published);
    throw error;
  }
}

/**
 * Copies a backup to a repository that did not get it when it was made. One that has it by now is fine; data without a record is what a
 * copy that was killed has left. Throws, and leaves nothing then.
 */
export async function makeUpCopy(
  from: Repository,
  to: Repository,
  { folder, backup }: { folder: StoreFolder; backup: string },
): Promise<void> {
  const name = `${backup}${RECORD_ENDING}`;
  const {
    expiringMs: _mark,
    damaged: _damaged,
    ...record
  } = backupRecordSchema.parse(JSON.parse(await from.readText(folder, name)));
  await to.sweep(folder);
  const there = new Set(await to.list(folder));
  if (there.has(name)) return;
  for (const { file } of record.files) if (there.has(file)) await to.remove(folder, file);
  if (record.engine === "objects") {
    const [{ copyStored }, { ObjectPool }] = await Promise.all([
      import("./objects/copy-objects.ts"),
      import("./objects/object-pool.ts"),
    ]);
    const place = { repository: from, pool: new ObjectPool(from, folder), folder };
    await copyStored(place, { pool: new ObjectPool(to, folder), records: [] }, record);
  }
  // What was found damaged in one place says nothing of another.
  const verifications = record.verifications.filter(({ about }) => about === undefined);
  await copyBackup(from, to, { ...record, verifications });
}

/** Takes away what a run has published itself: the record first, since it makes a backup of the data. */
export async function removeAll(repository: Repository, folder: StoreFolder, names: readonly string[]): Promise<void> {
  for (const name of names.toReversed()) await repository.remove(folder, name).catch(() => undefined);
}

async function copyFile(from: Repository, to: FilePlace, published: string[]): Promise<void> {
  const { repository, folder, file } = to;
  const pending = await repository.create(folder, file.file);
  try {
    const meter = new Meter();
    await writeBatches(batch(from.read(folder, file.file)), (piece) => {
      meter.take(piece);
      return pending.write(piece);
    });
    const { bytes, sha256 } = meter.read();
    if (bytes !== file.stored.bytes || sha256 !== file.stored.sha256)
      throw new RepositoryError(`what ${from.name} gives of ${file.file} is not what was written there`);
    await pending.publish();
    published.push(file.file);
    await readBack(to);
  } catch (error) {
    await pending.abandon().catch(() => undefined);
    throw error;
  }
}

/** What lies there is what was sent: a disk that lies, or a server that keeps less, is found now and not in the bad hour. */
export async function readBack({
  repository,
  folder,
  file: { file, stored },
}: Omit<FilePlace, "file"> & { file: Pick<BackupFile, "file" | "stored"> }): Promise<void> {
  const meter = new Meter();
  for await (const chunk of repository.read(folder, file)) meter.take(chunk);
  const found = meter.read();
  if (found.bytes === stored.bytes && found.sha256 === stored.sha256) return;
  throw new RepositoryError(
    `what ${repository.name} gives back of ${file} is not what was written: ${found.bytes} of ${describeCount(stored.bytes, "byte")}`,
  );
}

/** The last step: from now on it is a backup. */
export async function publishRecord(repository: Repository, record: BackupRecord, published: string[]): Promise<void> {
  const name = `${record.name}${RECORD_ENDING}`;
  const text = writeRecordText(record);
  const pending = await repository.create(record, name);
  try {
    await pending.write(Buffer.from(text));
    await pending.publish();
    published.push(name);
  } catch (error) {
    await pending.abandon().catch(() => undefined);
    // It may lie there although the word of it was lost. What another run has published under that name is not ours to take away.
    const found = await repository.readText(record, name).catch(() => undefined);
    if (found === text) published.push(name);
    throw error;
  }
}
