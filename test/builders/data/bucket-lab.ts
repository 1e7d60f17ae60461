// A bucket with what a service has in it, and backups of it in repositories, as the child makes them.

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { BackupRecord } from "../../../agent/backup/core/backup-record.ts";
import { carryOutRetention, type Retained, type RetentionInput } from "../../../agent/backup/keep-few.ts";
import { describeObjectsRestore } from "../../../agent/backup/objects/describe-objects.ts";
import { makeObjects } from "../../../agent/backup/objects/make-objects.ts";
import { ObjectSource } from "../../../agent/backup/objects/object-source.ts";
import { openDirectoryTarget, restoreObjects } from "../../../agent/backup/objects/restore-objects.ts";
import { type ObjectVerdict, proveObjects } from "../../../agent/backup/objects/verify-objects.ts";
import { listBackups, type MadeBackup } from "../../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import type { Repository } from "../../../agent/backup/repository/repository-port.ts";
import { S3Client, type S3Place } from "../../../agent/backup/repository/s3-client.ts";

const FOLDER = { node: "vm1", service: "minio", store: "files" };
const HOUR_MS = 3_600_000;

/** How a backup is made. */
export interface Making {
  into?: readonly Repository[];
  recipients?: readonly string[];
  identities?: readonly string[];
  minBytes?: number;
  prefix?: string;
}

/** One bucket, and a directory of this host as the repository `local`. */
export class BucketLab {
  readonly folder: typeof FOLDER = FOLDER;
  readonly root: string = mkdtempSync(join(tmpdir(), "orca-bucket-"));
  readonly local: Repository = openLocalRepository("local", join(this.root, "local"));
  nowMs: number = Date.UTC(2026, 10, 20, 2, 17);
  readonly #place: () => S3Place;
  readonly #clients: S3Client[] = [];

  /** @param place of the bucket that is read */
  constructor(place: () => S3Place) {
    this.#place = place;
  }

  open(own: Partial<S3Place> = {}): S3Client {
    const client = new S3Client({ ...this.#place(), ...own }, 1);
    this.#clients.push(client);
    return client;
  }

  /** Each backup is made an hour after the one before. */
  make({
    into = [this.local],
    recipients = [],
    identities = [],
    minBytes,
    prefix = "",
  }: Making = {}): Promise<MadeBackup> {
    this.nowMs += HOUR_MS;
    return makeObjects(
      {
        folder: FOLDER,
        engine: "objects",
        trigger: "schedule",
        image: "sha256:1",
        recipients,
        keepUntilMs: undefined,
        describeRestore: (files, isEncrypted) => describeObjectsRestore(FOLDER.store, files, isEncrypted),
      },
      {
        repositories: into.map((repository) => ({ name: repository.name, open: () => Promise.resolve(repository) })),
        source: new ObjectSource(this.open({ prefix })),
        identities,
        spool: join(this.root, "spool"),
        minBytes,
        nowMs: () => this.nowMs,
      },
    );
  }

  async list(repository: Repository = this.local): Promise<BackupRecord[]> {
    return (await listBackups(repository, FOLDER)).records;
  }

  prove(
    record: BackupRecord,
    repository: Repository = this.local,
    identities: readonly string[] = [],
  ): Promise<ObjectVerdict> {
    const untilMs = Number.POSITIVE_INFINITY;
    return proveObjects({ repository, folder: FOLDER, record, identities, untilMs, nowMs: () => this.nowMs });
  }

  restore(record: BackupRecord, directory: string, own: Partial<Making> & { from?: Repository } = {}): Promise<string> {
    const { from = this.local, identities = [] } = own;
    const target = openDirectoryTarget(join(this.root, directory));
    return restoreObjects({ repository: from, folder: FOLDER, record, identities }, target);
  }

  retain(input: Partial<RetentionInput> = {}, repository: Repository = this.local): Promise<Retained> {
    return carryOutRetention(repository, FOLDER, {
      policy: { days: 1, daily: 0, weekly: 0, monthly: 0 },
      nowMs: this.nowMs,
      lastRunGood: true,
      lastRunEndedMs: 0,
      expected: undefined,
      ...input,
    });
  }

  /** The stored objects that lie in `local`. */
  listPool(): string[] {
    const directory = join(this.root, "local", "vm1", "minio", "files.objects");
    try {
      const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
      return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    } catch {
      return [];
    }
  }

  close(): void {
    for (const client of this.#clients) client.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}
