// What every restorer fills volumes with: the backup's files, the engine, and how it tells how far it is; and the throw-away server that
// most of them have in common, from its start to its clean end. Runs in the child.

import { readdir, readFile, readlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { open } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";

import type { ContainerShape, Restores } from "../../docker/restores.ts";
import { systemClock } from "../../host/os/clock.ts";
import type { RestoreProgress } from "../../../shared/state/restore.ts";
import type { RestoreRequest } from "../backup-exchange.ts";
import type { BackupFile, BackupRecord } from "../core/backup-record.ts";
import type { Repository } from "../repository/repository-port.ts";
import type { RestoreInput, Verdict, VerifyClock } from "../verify/restore-box.ts";
import { writeProgress } from "./restore-record.ts";

/** Where a server sees the backup. */
export const BACKUP_MOUNT = "/orca-backup";
/** A server that ends cleanly writes what it still has in memory. */
const STOP_MS = 300_000;
/** How often the progress is looked at, and written at most. */
const LOOK_MS = 1_000;
/** Enough of a file to see which server wrote it. */
const HEAD_BYTES = 4_096;

/** A server that runs on a new volume. */
export type Twin = Awaited<ReturnType<Restores["openTwin"]>>;

/** One restore, as its restorer has it. */
export interface FillWork {
  request: RestoreRequest;
  restores: Pick<Restores, "openTwin" | "unpack">;
  shape: ContainerShape;
  /** What is restored, and from where. */
  record: BackupRecord;
  repository: Repository;
  files: readonly BackupFile[];
  /** Where they lie on this host. */
  directory: string;
  /** As a server sees them. */
  input: RestoreInput;
  clock: VerifyClock;
}

/** The server that fills a volume. */
export interface TwinPlan {
  command: readonly string[];
  env?: Readonly<Record<string, string>>;
  /** Mounts of the service that it must not have, by the start of their targets. */
  without?: readonly string[];
  binds?: readonly { source: string; target: string }[];
  /** A volume without a name, which goes with the server, in place of the one that is filled. */
  aside?: boolean;
  /** The volume begins as the image has it. */
  asImage?: boolean;
  put?: { directory: string; archive: AsyncIterable<Uint8Array> };
}

/** Starts a server, and removes it whatever comes of the work. */
export async function withTwin<T>(work: FillWork, plan: TwinPlan, use: (twin: Twin) => Promise<T>): Promise<T> {
  const { request, restores, shape, directory } = work;
  const [volume] = request.volumes;
  if (volume === undefined) throw new Error("no volume is named that could be filled");
  const twin = await restores.openTwin({
    job: nameRestore(request),
    node: request.folder.node,
    shape,
    command: plan.command,
    env: plan.env ?? {},
    without: ["/etc/hosts", ...(plan.without ?? [])],
    volume: { name: plan.aside === true ? undefined : volume.name, target: volume.target },
    asImage: plan.asImage ?? false,
    put: plan.put,
    binds: [{ source: directory, target: BACKUP_MOUNT }, ...(plan.binds ?? [])],
    memoryBytes: request.memoryBytes,
  });
  try {
    return await use(twin);
  } finally {
    await twin.remove();
  }
}

/** The job that its containers are marked with. */
export function nameRestore({ folder }: RestoreRequest): string {
  return `restore:${folder.service}/${folder.store}`;
}

/** The words of a verdict that is good; throws the others. */
export function expectGood({ verdict, detail }: Verdict): string {
  if (verdict !== "good") throw new Error(detail);
  return detail;
}

/** Ends a server so that nothing of what it has is lost. */
export async function endCleanly(twin: Twin, { request }: Pick<FillWork, "request">): Promise<void> {
  await openTeller(request.progressPath, "the server is ended cleanly", 0)(0);
  const exitCode = await twin.stop(STOP_MS);
  if (exitCode !== 0) throw new Error(`the server that was restored into ended with exit code ${exitCode}`);
}

/** Does the work while it is told how far the restoring programs have read their files. */
export async function whileTelling<T>(
  work: FillWork,
  twin: Twin,
  { programs, restore }: { programs: readonly string[]; restore: () => Promise<T> },
): Promise<T> {
  const watching = new AbortController();
  void watchReading(twin, { work, programs, signal: watching.signal });
  try {
    return await restore();
  } finally {
    watching.abort();
  }
}

interface Watched {
  work: FillWork;
  programs: readonly string[];
  signal: AbortSignal;
}

/** As the kernel has it: a program says nothing of that itself. Never throws. */
async function watchReading(twin: Twin, { work, programs, signal }: Watched): Promise<void> {
  const files = work.files.filter(({ kind }) => kind === "database");
  const totalBytes = files.reduce((sum, { plain }) => sum + plain.bytes, 0);
  const tell = openTeller(work.request.progressPath, "the backup is restored", totalBytes);
  let doneBytes = 0;
  while (!signal.aborted) {
    const reading = await findReading(twin, programs).catch(() => undefined);
    const at = files.findIndex(({ file }) => file === reading?.file);
    const before = files.slice(0, Math.max(0, at)).reduce((sum, { plain }) => sum + plain.bytes, 0);
    doneBytes = Math.max(doneBytes, before + (reading?.bytes ?? 0));
    await tell(Math.min(doneBytes, totalBytes)).catch(() => undefined);
    await wait(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function findReading(
  twin: Twin,
  programs: readonly string[],
): Promise<{ file: string; bytes: number } | undefined> {
  const pids = await Promise.all(programs.map((program) => twin.listProcesses(program)));
  for (const pid of pids.flat()) {
    for (const descriptor of await readdir(`/proc/${pid}/fd`)) {
      const path = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => "");
      if (!path.startsWith(`${BACKUP_MOUNT}/`)) continue;
      const text = await readFile(`/proc/${pid}/fdinfo/${descriptor}`, "latin1");
      return { file: basename(path), bytes: Number(/^pos:\s*(\d+)$/m.exec(text)?.[1] ?? 0) };
    }
  }
  return undefined;
}

/** Tells the progress of one thing that is done, at most once in a while. */
export function openTeller(path: string, doing: string, totalBytes: number): (doneBytes: number) => Promise<void> {
  const sinceMs = systemClock.nowMs();
  let toldMs = Number.NEGATIVE_INFINITY;
  return async (doneBytes) => {
    const nowMs = systemClock.monotonicMs();
    if (nowMs - toldMs < LOOK_MS) return;
    toldMs = nowMs;
    const progress: RestoreProgress = { doing, doneBytes, totalBytes, sinceMs };
    await writeProgress(path, progress);
  };
}

/** Reads a file of the backup to its end, and tells how far it is. */
export async function* readTelling({ request, directory }: FillWork, file: BackupFile): AsyncIterable<Uint8Array> {
  const tell = openTeller(request.progressPath, "the backup is restored", file.plain.bytes);
  const handle = await open(join(directory, file.file), "r");
  let doneBytes = 0;
  for await (const chunk of handle.createReadStream()) {
    const piece = chunk as Buffer;
    yield piece;
    doneBytes += piece.length;
    await tell(doneBytes).catch(() => undefined);
  }
}

/** The beginning of a file of the backup, as bytes that are one character each. */
export async function readHead({ directory }: Pick<FillWork, "directory">, { file }: BackupFile): Promise<Buffer> {
  const handle = await open(join(directory, file), "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
