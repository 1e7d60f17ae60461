// Proves one backup: reads it from its repository, compares its digests, and restores it into a throw-away server. Runs in the child; the
// agent writes what came of it into its record.

import { setTimeout as wait } from "node:timers/promises";

import type { Engine } from "../../docker/engine.ts";
import { systemClock } from "../../host/os/clock.ts";
import type { JudgedBackup, VerifyRequest } from "../backup-exchange.ts";
import { type BackupRecord, backupRecordSchema } from "../core/backup-record.ts";
import { RECORD_ENDING } from "../core/backup-name.ts";
import { OBJECTS } from "../objects/known-objects.ts";
import { findEngine } from "../engines/engines.ts";
import { openRepository } from "../repository/repository-place.ts";
import type { Repository } from "../repository/repository-port.ts";
import { type StagedBackup, stageBackup } from "../staging.ts";
import { proveBase } from "./verify-base.ts";
import { describeLack, isNoProgram } from "./verify-session.ts";

/** Of the records of bases. */
const BASE_ENGINE = "postgres-base";
const MOUNT = "/orca-backup";
const SCRATCH = "/orca-restore";

/** Proves a backup. */
export async function verifyBackup(request: VerifyRequest, engine: Engine): Promise<JudgedBackup> {
  const { folder, repository: place, spool, identities } = request;
  const opened = await openRepository(place);
  const { repository } = opened;
  try {
    const record = await readRecord(repository, request);
    if (record.engine === OBJECTS) return await proveBucket(request, repository, record);
    const staged = await stageBackup({ place, repository, folder, record, spool, identities });
    // What cannot be read whole is damaged here, and may be whole elsewhere.
    if ("verdict" in staged) return { ...staged, about: "copy" };
    return await restoreStaged(request, { record, repository, staged }, engine);
  } finally {
    opened.close();
  }
}

/** No server is needed for it. What is damaged here may be whole elsewhere, and the next run copies it again. */
async function proveBucket(
  request: VerifyRequest,
  repository: Repository,
  record: BackupRecord,
): Promise<JudgedBackup> {
  const { proveObjects } = await import("../objects/verify-objects.ts");
  const { folder, identities, timeoutMs } = request;
  const found = await proveObjects({
    repository,
    folder,
    record,
    identities,
    untilMs: systemClock.nowMs() + timeoutMs,
    nowMs: () => systemClock.nowMs(),
  });
  return found.verdict === "bad" ? { ...found, about: "copy" } : found;
}

async function readRecord(repository: Repository, { folder, backup }: VerifyRequest): Promise<BackupRecord> {
  return backupRecordSchema.parse(JSON.parse(await repository.readText(folder, `${backup}${RECORD_ENDING}`)));
}

/** An opened backup lies there as anybody can read it: it goes whatever came of the restore. */
async function restoreStaged(...parameters: Parameters<typeof restore>): Promise<JudgedBackup> {
  try {
    return await restore(...parameters);
  } finally {
    await parameters[1].staged.remove();
  }
}

interface Staged {
  record: BackupRecord;
  repository: Repository;
  staged: StagedBackup;
}

async function restore(
  request: VerifyRequest,
  { record, repository, staged }: Staged,
  engine: Engine,
): Promise<JudgedBackup> {
  const { folder, settings } = request;
  const image = request.image ?? record.image;
  if ((await engine.reader.findImage(image)) === undefined)
    return {
      verdict: "unknown",
      detail: `the image ${image} that made it is not on this host any more: name verify.image`,
    };
  if (record.engine === BASE_ENGINE) return proveBase(request, { record, repository, staged, image }, engine);
  const kind = findEngine(request.engine);
  const unproven = kind.unproven?.(settings);
  if (unproven !== undefined) return { verdict: "unknown", detail: unproven };
  const plan = kind.planBox(settings, { scratch: SCRATCH, files: record.files });
  const opened = await engine.oneShots
    .openBox({
      job: `verify:${folder.service}/${folder.store}`,
      node: folder.node,
      image,
      ...plan,
      memoryBytes: request.memoryBytes,
      binds: [{ source: staged.directory, target: MOUNT }],
      scratch: SCRATCH,
    })
    .catch((error: unknown) => ({ error }));
  if ("error" in opened) {
    const { error } = opened;
    if (!(error instanceof Error && isNoProgram(error.message))) throw error;
    return { verdict: "unknown", detail: describeLack(image, plan.entrypoint?.[0]) };
  }
  const box = opened;
  try {
    return await kind.verify(
      box,
      {
        directory: MOUNT,
        files: staged.files,
        settings,
        expectations: request.expectations,
        deadlineMs: request.timeoutMs,
        scratch: SCRATCH,
        nowMs: systemClock.nowMs(),
        image,
        ownImage: request.image === undefined,
      },
      { monotonicMs: () => systemClock.monotonicMs(), wait: (ms) => wait(ms) },
    );
  } finally {
    await box.remove();
  }
}
