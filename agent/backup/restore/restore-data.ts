// Fills new volumes from a backup: reads it from its repository, compares its digests, and hands it to the restorer of its kind. Runs in
// the child; what it says of its progress lies in a file.

import { setTimeout as wait } from "node:timers/promises";

import type { Engine } from "../../docker/engine.ts";
import { systemClock } from "../../host/os/clock.ts";
import type { RestoreRequest } from "../backup-exchange.ts";
import { backupRecordSchema } from "../core/backup-record.ts";
import { RECORD_ENDING } from "../core/backup-name.ts";
import { openRepository } from "../repository/repository-place.ts";
import { type StagedBackup, stageBackup } from "../staging.ts";
import { BACKUP_MOUNT, type FillWork, openTeller } from "./fill-work.ts";
import { fillBase } from "./restore-base.ts";
import { fillFiles } from "./restore-files.ts";
import { fillMysql } from "./restore-mysql.ts";
import { fillPostgres } from "./restore-postgres.ts";
import { fillRedis } from "./restore-redis.ts";

/** In the server's own file system, which goes with it. */
const SCRATCH = "/tmp";

/** By kind, as data-places.ts has them. */
const FILLS: Readonly<Record<string, (work: FillWork) => Promise<string>>> = {
  postgres: fillPostgres,
  "postgres-base": fillBase,
  mysql: fillMysql,
  redis: fillRedis,
  files: fillFiles,
};

/** Fills the volumes; answers what came of it. Throws where they cannot be used. */
export async function restoreData(request: RestoreRequest, engine: Pick<Engine, "restores">): Promise<string> {
  const { folder, backup, repository: place, spool, identities } = request;
  const fill = Object.hasOwn(FILLS, request.engine) ? FILLS[request.engine] : undefined;
  if (fill === undefined) throw new Error(`engine ${request.engine} is not restored into place`);
  const opened = await openRepository(place);
  try {
    const { repository } = opened;
    const text = await repository.readText(folder, `${backup}${RECORD_ENDING}`);
    const record = backupRecordSchema.parse(JSON.parse(text));
    await openTeller(request.progressPath, "the backup is read and compared", 0)(0);
    const staged = await stageBackup({ place, repository, folder, record, spool, identities });
    if ("verdict" in staged) throw new Error(staged.detail);
    try {
      return await fill(await prepare(request, engine, { ...staged, record, repository }));
    } finally {
      await staged.remove();
    }
  } finally {
    opened.close();
  }
}

async function prepare(
  request: RestoreRequest,
  { restores }: Pick<Engine, "restores">,
  { files, directory, record, repository }: StagedBackup & Pick<FillWork, "record" | "repository">,
): Promise<FillWork> {
  const { settings, expectations, timeoutMs } = request;
  const shape = await restores.readShape(request.container);
  if (shape === undefined) throw new Error(`the container of ${request.folder.service} is gone`);
  return {
    request,
    restores,
    shape,
    record,
    repository,
    files,
    directory,
    input: {
      directory: BACKUP_MOUNT,
      files,
      settings,
      expectations,
      deadlineMs: timeoutMs,
      scratch: SCRATCH,
      nowMs: systemClock.nowMs(),
      ownImage: false,
    },
    clock: { monotonicMs: () => systemClock.monotonicMs(), wait: (ms) => wait(ms) },
  };
}
