// The short-lived child behind `orca run-backup`: makes one backup, or proves one by a restore, so that the memory it takes is the system's again when it ends.
// The agent starts it and nobody else.

import { serveParent } from "../host/os/child-request.ts";
import { openEngine } from "../docker/engine.ts";
import type { OneShots } from "../docker/one-shot.ts";
import type { BackupRequest, ChildAnswer, ChildRequest } from "./backup-exchange.ts";
import type { BackupRecord } from "./core/backup-record.ts";
import { describePostgresRestore, listPostgresParts } from "./engines/postgres-dump.ts";
import { makeBackup } from "./pipeline.ts";
import { openLocalRepository } from "./repository/local-repository.ts";

/** Runs the child and ends the process. A failure is an answer like any other. */
export function runBackupChild(): Promise<never> {
  return serveParent(answerRequest);
}

async function answerRequest(request: ChildRequest): Promise<ChildAnswer> {
  const engine = openEngine(request.socket);
  try {
    await engine.oneShots.sweep(request.folder.node);
    if (request.kind === "make") return { kind: "made", record: await carryOut(request, engine.oneShots) };
    const { verifyBackup } = await import("./verify/verify-backup.ts");
    return { kind: "judged", verdict: await verifyBackup(request, engine) };
  } catch (error) {
    return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
  } finally {
    engine.close();
  }
}

async function carryOut(request: BackupRequest, oneShots: OneShots): Promise<BackupRecord> {
  const image = await oneShots.findImage(request.container);
  const { folder, engine, trigger, recipients, repository, container, user, memoryBytes } = request;
  const run = (argv: readonly string[]): ReturnType<OneShots["run"]> =>
    oneShots.run({
      job: `backup:${folder.service}/${folder.store}`,
      node: folder.node,
      image,
      argv,
      env: {},
      user: undefined,
      // The server's own network: 127.0.0.1 is the database, and no port is published for the dump.
      network: `container:${container}`,
      memoryBytes,
      binds: [],
    });
  return makeBackup(
    {
      folder,
      engine,
      trigger,
      image,
      recipients,
      keepUntilMs: undefined,
      describeRestore: (files, encrypted) => describePostgresRestore(user, files, encrypted),
    },
    {
      repository: openLocalRepository(repository.name, repository.directory),
      nowMs: () => Date.now(),
      listParts: () => listPostgresParts({ user, databases: undefined, run }),
    },
  );
}
