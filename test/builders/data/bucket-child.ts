// A program that makes one backup of a bucket as the agent's child does, and is killed by a test in the middle: one line of JSON on stdin.

import { text } from "node:stream/consumers";

import { makeObjects } from "../../../agent/backup/objects/make-objects.ts";
import { ObjectSource } from "../../../agent/backup/objects/object-source.ts";
import { openRepository, type RepositoryPlace } from "../../../agent/backup/repository/repository-place.ts";
import type { StoreFolder } from "../../../agent/backup/repository/repository-port.ts";
import { S3Client, type S3Place } from "../../../agent/backup/repository/s3-client.ts";
import { buildBackupOrder } from "./made-backup.ts";

/** What it is told. */
export interface BucketChildRequest {
  folder: StoreFolder;
  source: S3Place;
  repositories: RepositoryPlace[];
  recipients: string[];
  identities: string[];
  spool: string;
  nowMs: number;
}

const request = JSON.parse(await text(process.stdin)) as BucketChildRequest;
const { folder, recipients, identities, spool, nowMs } = request;
const { record } = await makeObjects(buildBackupOrder({ folder, recipients, engine: "objects" }), {
  repositories: request.repositories.map((place) => ({
    name: place.name,
    open: async () => (await openRepository(place)).repository,
  })),
  source: new ObjectSource(new S3Client(request.source)),
  identities,
  spool,
  minBytes: undefined,
  nowMs: () => nowMs,
});
console.log(record.name);
process.exit(0);
