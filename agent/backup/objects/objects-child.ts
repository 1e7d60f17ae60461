// What the child does for a bucket: makes a backup of it, and restores one into an empty place. Called by backup-child.ts alone.

import { RECORD_ENDING } from "../core/backup-name.ts";
import { backupRecordSchema } from "../core/backup-record.ts";
import type { BackupRequest, CopyOutRequest } from "../backup-exchange.ts";
import type { MadeBackup } from "../pipeline.ts";
import { openRepository } from "../repository/repository-place.ts";
import { S3Client, type S3Place } from "../repository/s3-client.ts";
import { describeObjectsRestore } from "./describe-objects.ts";
import { makeObjects } from "./make-objects.ts";
import { ObjectSource } from "./object-source.ts";
import { openBucketTarget, openDirectoryTarget, restoreObjects } from "./restore-objects.ts";

/** Makes a backup of a bucket. */
export async function makeOfBucket(request: BackupRequest, bucket: S3Place, image: string): Promise<MadeBackup> {
  const { folder, engine, trigger, recipients, keepMs, repositories, identities, spool, settings, maker } = request;
  const client = new S3Client(bucket);
  try {
    return await makeObjects(
      {
        folder,
        engine,
        trigger,
        image,
        recipients,
        maker,
        keepUntilMs: keepMs === undefined ? undefined : Date.now() + keepMs,
        describeRestore: (files, isEncrypted) => describeObjectsRestore(folder.store, files, isEncrypted),
      },
      {
        repositories: repositories.map((place) => ({
          name: place.name,
          open: async () => (await openRepository(place)).repository,
        })),
        source: new ObjectSource(client),
        identities,
        spool,
        minBytes: settings.minBytes,
        nowMs: () => Date.now(),
      },
    );
  } finally {
    client.close();
  }
}

/** Restores one into an empty place; answers what came of it. */
export async function copyOut({
  folder,
  backup,
  into,
  repository: place,
  identities,
}: CopyOutRequest): Promise<string> {
  const opened = await openRepository(place);
  const client = "directory" in into ? undefined : new S3Client(into);
  try {
    const { repository } = opened;
    const text = await repository.readText(folder, `${backup}${RECORD_ENDING}`);
    const record = backupRecordSchema.parse(JSON.parse(text));
    const target =
      client === undefined
        ? openDirectoryTarget("directory" in into ? into.directory : "")
        : openBucketTarget(client, () => Date.now());
    return await restoreObjects({ repository, folder, record, identities }, target);
  } finally {
    opened.close();
    client?.close();
  }
}
