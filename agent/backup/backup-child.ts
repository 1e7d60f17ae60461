// The short-lived child behind `orca run-backup`: makes one backup, proves one by a restore, or asks a repository that is elsewhere, so that
// the memory it takes is the system's again when it ends. The agent starts it and nobody else.

import { serveParent } from "../host/os/child-request.ts";
import { type Engine, openEngine } from "../docker/engine.ts";
import { createImageIds } from "../host/files/bundle-state.ts";
import { takeLock } from "../host/files/lock.ts";
import { sha256 } from "../../shared/state/identity.ts";
import {
  BACKUP_COMMAND,
  type BackupRequest,
  type CopyRequest,
  type CopyOutRequest,
  type ExpireRequest,
  type FinishRequest,
  type ChildAnswer,
  type ChildRequest,
  type RestoreRequest,
  type VerifyRequest,
} from "./backup-exchange.ts";
import { findEngine } from "./engines/engines.ts";
import { findAdvice } from "./engines/source-program.ts";
import type { StoreEngine, StoreSource } from "./engines/store-engine.ts";
import { type HooksEnd, runHooks } from "./hooks.ts";
import { type BackupList, listBriefly, makeBackup, type MadeBackup } from "./pipeline.ts";
import { openRepository, type RepositoryPlace } from "./repository/repository-place.ts";
import type { Repository, StoreFolder } from "./repository/repository-port.ts";
import { sweepSpool } from "./spool.ts";
import { openSource, sweepSecrets } from "./store-source.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** Runs the child and ends the process. A failure is an answer like any other. */
export function runBackupChild(): Promise<never> {
  return serveParent(answerRequest);
}

async function answerRequest(request: ChildRequest): Promise<ChildAnswer> {
  try {
    switch (request.kind) {
      case "make":
      case "verify":
      case "finish":
      case "restore":
      case "copy-out":
        return await workOnStore(request);
      case "copy-audit": {
        const { copyAudit } = await import("./audit/copy-audit.ts");
        return { kind: "audit-copied", repositories: await copyAudit(request, () => Date.now()) };
      }
      case "copy":
        return await copyMissing(request);
      case "list":
        return { kind: "listed", lists: await useRepository(request.repository, (it) => listAll(it, request.folders)) };
      case "retain": {
        const { carryOutRetention } = await import("./keep-few.ts");
        const { repository, folder, input } = request;
        return {
          kind: "retained",
          kept: await useRepository(repository, (opened) => carryOutRetention(opened, folder, input)),
        };
      }
      case "ship": {
        const { shipLog } = await import("./wal/ship-log.ts");
        return { kind: "shipped", repositories: await shipLog(request, () => Date.now()) };
      }
      case "index": {
        const { indexLog } = await import("./wal/log-index.ts");
        return {
          kind: "indexed",
          ...(await useRepository(request.repository, (it) => indexLog(it, request, Date.now()))),
        };
      }
      case "expire":
        return await useRepository(request.repository, (opened) => expire(opened, request));
      default: {
        const { ensureBackupIdentity } = await import("./backup-identity.ts");
        return { kind: "identified", recipient: (await ensureBackupIdentity(request.path)).recipient };
      }
    }
  } catch (error) {
    const reason = readMessage(error);
    return { kind: "failed", reason, advice: findAdvice(error) };
  }
}

async function useRepository<T>(place: RepositoryPlace, use: (repository: Repository) => Promise<T>): Promise<T> {
  const opened = await openRepository(place);
  try {
    return await use(opened.repository);
  } finally {
    opened.close();
  }
}

async function listAll(repository: Repository, folders: readonly StoreFolder[]): Promise<BackupList[]> {
  const lists: BackupList[] = [];
  for (const folder of folders) lists.push(await listBriefly(repository, folder));
  return lists;
}

/** One that stays hides no other; the first reason is told. */
async function expire(repository: Repository, { folders }: ExpireRequest): Promise<ChildAnswer> {
  let [removed, kept]: [number, string | undefined] = [0, undefined];
  for (const { folder, names } of folders) {
    for (const name of names) {
      try {
        await repository.remove(folder, name);
        removed += 1;
      } catch (error) {
        kept ??= readMessage(error);
      }
    }
  }
  return { kind: "expired", removed, kept };
}

/** Let go by the kernel when this process ends, however it does. */
function takeStoreLock({ folder, lockDirectory }: Pick<BackupRequest, "folder" | "lockDirectory">): void {
  takeLock({
    directory: lockDirectory,
    name: `backup-${sha256(`${folder.node}/${folder.service}/${folder.store}`).slice(0, 16)}`,
    what: `the backup of ${folder.service}/${folder.store}`,
    holder: { pid: process.pid, command: BACKUP_COMMAND, since: new Date().toISOString() },
  });
}

async function copyMissing(request: CopyRequest): Promise<ChildAnswer> {
  const { folder, from, to, backup } = request;
  takeStoreLock(request);
  const { makeUpCopy } = await import("./copy-backup.ts");
  await useRepository(from, (source) => useRepository(to, (target) => makeUpCopy(source, target, { folder, backup })));
  return { kind: "copied" };
}

/** A dump or a restore: one at a time for each store of this host, whichever agent asks. */
async function workOnStore(
  request: BackupRequest | VerifyRequest | FinishRequest | RestoreRequest | CopyOutRequest,
): Promise<ChildAnswer> {
  const { folder } = request;
  takeStoreLock(request);
  const engine = openEngine(
    request.socket,
    request.cgroupParent,
    request.bundles === undefined ? undefined : createImageIds(request.bundles),
  );
  try {
    await engine.oneShots.sweep(folder.node);
    await sweepSpool(request.spool);
    if (request.kind === "finish") {
      const run: RunInside = (argv, timeoutMs) => engine.exec.run(request.container, argv, timeoutMs);
      return { kind: "finished", warning: (await runHooks(request.hooks.after, run)).fault };
    }
    if (request.kind === "make") return await carryOut(request, engine);
    if (request.kind === "restore") {
      const { restoreData } = await import("./restore/restore-data.ts");
      return { kind: "restored", detail: await restoreData(request, engine) };
    }
    if (request.kind === "copy-out") {
      const { copyOut } = await import("./objects/objects-child.ts");
      return { kind: "copied-out", detail: await copyOut(request) };
    }
    const { verifyBackup } = await import("./verify/verify-backup.ts");
    return { kind: "judged", verdict: await verifyBackup(request, engine) };
  } finally {
    engine.close();
  }
}

/** What was begun before it is ended after it, whatever came of it. */
async function carryOut(request: BackupRequest, engine: Engine): Promise<ChildAnswer> {
  const { hooks, container, memoryDirectory } = request;
  sweepSecrets(memoryDirectory);
  if (request.checkOnly) {
    // A bucket is read while its service runs: nothing is stopped for it that would have to be looked at first.
    if (request.bucket === undefined) {
      const { kind, source } = await openStore(request, engine);
      await kind.listParts(source);
    }
    return { kind: "checked" };
  }
  const run: RunInside = (argv, timeoutMs) => engine.exec.run(container, argv, timeoutMs);
  const before = await runHooks(hooks.before, run);
  const made = await makeAfter(before, request, engine).catch((error: unknown) => ({ error }));
  const after = await runHooks(hooks.after, run);
  const isSaid = "error" in made && before.refused !== undefined;
  const warning = sayHooks(isSaid ? undefined : before.fault, after.fault);
  if (!("error" in made)) return { kind: "made", ...made, ...(warning === undefined ? {} : { warning }) };
  const { error } = made;
  const reason = readMessage(error);
  return {
    kind: "failed",
    reason: warning === undefined ? reason : `${reason}; ${warning}`,
    advice: findAdvice(error),
  };
}

type RunInside = (argv: readonly string[], timeoutMs: number) => ReturnType<Engine["exec"]["run"]>;

async function makeAfter({ refused, fault }: HooksEnd, request: BackupRequest, engine: Engine): Promise<MadeBackup> {
  if (refused !== undefined) throw new Error(`hook before it: ${fault}`);
  return makeRecord(request, engine);
}

function sayHooks(before: string | undefined, after: string | undefined): string | undefined {
  const said = [
    ...(before === undefined ? [] : [`hook before it: ${before}`]),
    ...(after === undefined ? [] : [`hook after it: ${after}`]),
  ];
  return said.length === 0 ? undefined : said.join("; ");
}

/** The store as its engine reads it, with the image whose programs do. */
async function openStore(
  request: BackupRequest,
  { oneShots, reader }: Engine,
): Promise<{ image: string; kind: StoreEngine; source: StoreSource }> {
  const own = await oneShots.findImage(request.container);
  const image = request.image === undefined ? own : await reader.findImage(request.image);
  if (image === undefined)
    throw new Error(`the image ${request.image} is not on this host: docker pull it, or leave backups.image out`);
  return { image, kind: findEngine(request.engine), source: openSource(request, image, oneShots) };
}

async function makeRecord(request: BackupRequest, engine: Engine): Promise<MadeBackup> {
  if (request.bucket !== undefined) {
    const { makeOfBucket } = await import("./objects/objects-child.ts");
    return makeOfBucket(request, request.bucket, await engine.oneShots.findImage(request.container));
  }
  const { folder, settings, trigger, recipients, repositories, maker } = request;
  const { image, kind, source } = await openStore(request, engine);
  return makeBackup(
    {
      folder,
      engine: request.engine,
      trigger,
      image,
      recipients,
      maker,
      keepUntilMs: request.keepMs === undefined ? undefined : Date.now() + request.keepMs,
      describeRestore: (files, encrypted) => kind.describeRestore(settings, files, encrypted),
    },
    {
      repositories: repositories.map((place) => ({
        name: place.name,
        open: async () => (await openRepository(place)).repository,
      })),
      nowMs: () => Date.now(),
      deadlineMs: request.deadlineMs,
      listParts: () => kind.listParts(source),
    },
  );
}
