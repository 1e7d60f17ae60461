// PostgreSQL restored into place: the service's own image makes an empty server with the service's own user, the backup is put into it
// as a verification does, and the password that the service knows today is that of its user afterwards too.

import type { ContainerShape } from "../../docker/restores.ts";
import type { BackupFile } from "../core/backup-record.ts";
import { refuseVersion } from "../core/server-version.ts";
import { readArchiveHead } from "../engines/postgres-archive.ts";
import { findSuperuser } from "../engines/postgres-words.ts";
import type { BoxAnswer, RestoreBox, RestoreInput, VerifyClock } from "../verify/restore-box.ts";
import { verifyPostgres } from "../verify/verify-postgres.ts";
import {
  endCleanly,
  expectGood,
  type FillWork,
  readHead,
  type Twin,
  type TwinPlan,
  whileTelling,
  withTwin,
} from "./fill-work.ts";

/** Until the server has ended, a machine that goes down costs the restore and no data: what makes writing safe against that may rest. */
export const RESTORE_SETTINGS: readonly string[] = [
  "full_page_writes=off",
  "synchronous_commit=off",
  "archive_mode=off",
  "autovacuum=off",
  "shared_buffers=32MB",
  "maintenance_work_mem=32MB",
  "max_connections=10",
  // What an extension would do in the background is not wanted before the service runs: jobs of pg_cron, say.
  "max_worker_processes=0",
];
/** Of a server whose log nobody reads: less of it is written. */
const SETTINGS = [...RESTORE_SETTINGS, "wal_level=minimal", "max_wal_senders=0"];
const READY_MS = 120_000;
const LOOK_MS = 250;
const STATEMENT_MS = 60_000;

/** Fills a volume with a PostgreSQL; answers what is in it. Throws where it cannot be used. */
export function fillPostgres(work: FillWork): Promise<string> {
  return withTwin(work, planTwin(work), async (twin) => {
    const restore = (): Promise<string> => restorePostgres(twin, work);
    const detail = await whileTelling(work, twin, { programs: ["pg_restore"], restore });
    await endCleanly(twin, work);
    return detail;
  });
}

function planTwin({ shape, files }: FillWork): TwinPlan {
  return {
    command: [...readCommand(shape), ...[...listKept(files), ...SETTINGS].flatMap((setting) => ["-c", setting])],
    // The databases are made as the backup has them.
    env: { POSTGRES_DB: "postgres" },
    // What the service's first start ran is in the backup already.
    without: ["/docker-entrypoint-initdb.d"],
  };
}

/** The service's own arguments stay, since extensions may have to be loaded at the start; what comes after them wins. */
export function readCommand({ command }: ContainerShape): readonly string[] {
  const [first] = command;
  return first === undefined || !(first === "postgres" || first.startsWith("-")) ? ["postgres"] : command;
}

/** Settings of the source without which some extensions cannot be made. */
function listKept(files: readonly BackupFile[]): string[] {
  const settings = files.find(({ facts }) => facts?.settings !== undefined)?.facts?.settings ?? {};
  return Object.entries(settings).map(([name, value]) => `${name}=${value}`);
}

async function restorePostgres(twin: Twin, work: FillWork): Promise<string> {
  const { input, clock } = work;
  await waitUntilReady(twin, input, clock);
  await expectVersion(twin, work);
  await run(twin, input, KEEP_PASSWORD);
  const detail = expectGood(await verifyPostgres(twin, input, clock));
  await run(twin, input, GIVE_PASSWORD);
  return detail;
}

async function expectVersion(twin: Twin, work: FillWork): Promise<void> {
  const { files, input } = work;
  const dump = files.find(({ kind }) => kind === "database");
  const text = dump === undefined ? undefined : readArchiveHead(await readHead(work, dump))?.server;
  const answer = await psql(twin, input, ["--command", "show server_version"]);
  const family = "PostgreSQL";
  const source = text === undefined ? undefined : { family, text };
  const refusal = answer.exitCode === 0 ? refuseVersion(source, { family, text: answer.output.trim() }) : undefined;
  if (refusal !== undefined) throw new Error(refusal);
}

/** The roles of the backup bring the password of that day; today's never leaves the server, not even into a list of processes. */
const KEEP_PASSWORD =
  "create schema orca_restore; create table orca_restore.own as select rolname, rolpassword from pg_authid where rolname = current_user";
const GIVE_PASSWORD =
  "do $$ declare own record; begin select * into own from orca_restore.own; " +
  "execute format('alter role %I password %L', own.rolname, own.rolpassword); end $$; drop schema orca_restore cascade; checkpoint";

async function run(box: RestoreBox, input: RestoreInput, statement: string): Promise<void> {
  const answer = await psql(box, input, ["--set", "ON_ERROR_STOP=1", "--command", statement]);
  if (answer.exitCode !== 0) throw new Error(`keep the password of ${input.settings.user}: ${answer.output.trim()}`);
}

function psql(box: RestoreBox, { settings, files }: RestoreInput, parameters: readonly string[]): Promise<BoxAnswer> {
  const user = findSuperuser(settings.user, files);
  const connect = ["psql", "-h", "127.0.0.1", "-U", user, "--no-psqlrc", "-At", "--dbname", "postgres"];
  return box.run([...connect, ...parameters], STATEMENT_MS);
}

/** An entrypoint starts the server once for itself before it is there for others: what is asked over TCP is the second one. */
async function waitUntilReady(box: RestoreBox, input: RestoreInput, clock: VerifyClock): Promise<void> {
  const untilMs = clock.monotonicMs() + READY_MS;
  while (clock.monotonicMs() < untilMs) {
    if (!(await box.isRunning())) throw new Error("the server that it is restored into has ended");
    const answer = await psql(box, input, ["--command", "select 1"]).catch(() => undefined);
    if (answer?.exitCode === 0) return;
    await clock.wait(LOOK_MS);
  }
  throw new Error("the server that it is restored into did not come up");
}
