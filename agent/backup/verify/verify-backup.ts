// Proves one backup: reads it from its repository, compares its digests, restores it into a throw-away server, and writes what came of
// it into its record. Runs in the child.

import { randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";

import type { Engine } from "../../docker/engine.ts";
import { systemClock } from "../../host/os/clock.ts";
import type { VerifyRequest } from "../backup-exchange.ts";
import { type BackupRecord, backupRecordSchema } from "../core/backup-record.ts";
import { RECORD_ENDING } from "../core/backup-name.ts";
import { Meter } from "../dump-gate.ts";
import { openLocalRepository } from "../repository/local-repository.ts";
import type { Repository, StoreFolder } from "../repository/repository-port.ts";
import type { Verdict } from "./restore-box.ts";
import { verifyPostgres } from "./verify-postgres.ts";

const MOUNT = "/orca-backup";
const SCRATCH = "/orca-restore";
/** So many verdicts are kept in a record. */
const KEPT_VERDICTS = 20;

/** Proves a backup, and notes it in its record. */
export async function verifyBackup(request: VerifyRequest, engine: Engine): Promise<Verdict> {
  const repository = openLocalRepository(request.repository.name, request.repository.directory);
  const record = await readRecord(repository, request);
  const { folder } = request;
  const verdict = (await findDamage(repository, folder, record)) ?? (await restore(request, record, engine));
  const noted = { atMs: systemClock.nowMs(), ...verdict };
  const verifications = [...record.verifications, noted].slice(-KEPT_VERDICTS);
  const text = `${JSON.stringify({ ...record, verifications }, undefined, 2)}\n`;
  await repository.replaceText(folder, `${request.backup}${RECORD_ENDING}`, text);
  return verdict;
}

async function readRecord(repository: Repository, { folder, backup }: VerifyRequest): Promise<BackupRecord> {
  return backupRecordSchema.parse(JSON.parse(await repository.readText(folder, `${backup}${RECORD_ENDING}`)));
}

/** What lies in the repository is what was written once: a digest proves the bytes, and not yet that they can be restored. */
async function findDamage(
  repository: Repository,
  folder: StoreFolder,
  record: BackupRecord,
): Promise<Verdict | undefined> {
  for (const { file, stored } of record.files) {
    const meter = new Meter();
    for await (const chunk of repository.read(folder, file)) meter.take(chunk);
    const found = meter.read();
    if (found.bytes !== stored.bytes)
      return { verdict: "bad", detail: `${file} has ${found.bytes} of ${stored.bytes} bytes` };
    if (found.sha256 !== stored.sha256)
      return { verdict: "bad", detail: `${file} is not what was written: its digest is another one` };
  }
  return undefined;
}

async function restore(request: VerifyRequest, record: BackupRecord, engine: Engine): Promise<Verdict> {
  const { folder, repository, user } = request;
  const image = request.image ?? record.image;
  if ((await engine.reader.findImage(image)) === undefined)
    return {
      verdict: "unknown",
      detail: `the image ${image} that made it is not on this host any more: name verify.image`,
    };
  const box = await engine.oneShots.openBox({
    job: `verify:${folder.service}/${folder.store}`,
    node: folder.node,
    image,
    // Nothing of it is kept: it may be fast instead of safe.
    argv: ["postgres", ...SETTINGS.flatMap((setting) => ["-c", setting])],
    env: {
      PGDATA: `${SCRATCH}/data`,
      POSTGRES_USER: user,
      POSTGRES_PASSWORD: randomBytes(16).toString("hex"),
      POSTGRES_HOST_AUTH_METHOD: "trust",
      // The databases are made as the backup has them.
      POSTGRES_DB: "postgres",
    },
    memoryBytes: request.memoryBytes,
    binds: [{ source: `${repository.directory}/${folder.node}/${folder.service}/${folder.store}`, target: MOUNT }],
    scratch: SCRATCH,
  });
  try {
    return await verifyPostgres(
      box,
      {
        directory: MOUNT,
        files: record.files,
        user,
        expectations: request.expectations,
        deadlineMs: request.timeoutMs,
      },
      { monotonicMs: () => systemClock.monotonicMs(), wait: (ms) => wait(ms) },
    );
  } finally {
    await box.remove();
  }
}

const SETTINGS = [
  "fsync=off",
  "full_page_writes=off",
  "synchronous_commit=off",
  "wal_level=minimal",
  "max_wal_senders=0",
  "autovacuum=off",
  "shared_buffers=32MB",
  "maintenance_work_mem=32MB",
  "max_connections=10",
];
