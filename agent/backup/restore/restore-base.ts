// PostgreSQL restored to a moment: the base is unpacked into the new volume, the log since is fetched whole before anything starts, and a
// server of the service's own image replays it until then. A moment after the last commit that is stored ends there, and that is said.

import { join, posix } from "node:path";

import { repackBase } from "./base-archive.ts";
import { endCleanly, type FillWork, openTeller, type Twin, type TwinPlan, withTwin } from "./fill-work.ts";
import { readCommand, RESTORE_SETTINGS } from "./restore-postgres.ts";
import { findEarlyEnd } from "./early-end.ts";
import { describeEnd } from "./replay-end.ts";
import { type FetchedLog, fetchLog } from "./replay-log.ts";
import { parsePosition, type WalPosition } from "../wal/core/wal-position.ts";

/** Where the server sees the log; what it runs copies from there (PostgreSQL, "restore_command"). */
const LOG_MOUNT = "/orca-wal";
const LOOK_MS = 500;
const STATEMENT_MS = 60_000;
/** Commits have microseconds, and a moment that people write has not. */
const ROUNDING_MS = 1;

/** How the replay ended. */
interface Replayed {
  /** Undefined where nothing was committed since the base. */
  lastCommitMs: number | undefined;
  databases: number;
  /** What was replayed ends here; undefined where the server does not say. */
  end: WalPosition | undefined;
}

/** Fills a volume; answers up to where. Throws where it cannot be used. */
export async function fillBase(work: FillWork): Promise<string> {
  const { repository, request, record } = work;
  const { folder, spool, identities, moment } = request;
  if (moment === undefined) throw new Error("a base is restored to a moment, and none is named");
  const { area: _base, ...own } = folder;
  const fetchUntil = async (all: boolean): Promise<FetchedLog> => {
    await openTeller(request.progressPath, "the log is fetched", 0)(0);
    return fetchLog({ repository, folder: own, base: record, atMs: moment.atMs, spool, identities, all });
  };
  return replay(work, { fetchUntil, ...moment });
}

interface Replay {
  fetchUntil: (all: boolean) => Promise<FetchedLog>;
  atMs: number;
  wholeMs?: number | undefined;
}

/** That a server comes to the moment is the proof that the log was long enough: without it, all that is stored is read. */
async function replay(work: FillWork, { fetchUntil, atMs, wholeMs = 0 }: Replay): Promise<string> {
  const run = (log: FetchedLog, target: number | undefined, put: boolean): Promise<Replayed | undefined> =>
    withTwin(work, planTwin(work, { log, target, put }), (twin) => follow(twin, work));
  let log = await fetchUntil(false);
  try {
    let reached = await run(log, atMs, true);
    if (reached === undefined && log.isCut) {
      await log.remove();
      log = await fetchUntil(true);
      reached = await run(log, atMs, false);
    }
    if (reached !== undefined) return describe(reached, atMs);
    // A server ends where the log does before it has seen a commit after the moment (PostgreSQL 13, "recovery_target_time"): the moment is
    // after the last commit then, and it may replay what there is.
    const all = await run(log, undefined, false);
    if (all === undefined) throw new Error("the server that replays the log has ended");
    if (all.lastCommitMs !== undefined && all.lastCommitMs > atMs + ROUNDING_MS)
      throw new Error("the server ended before it came to that moment, and there are commits after it in the log");
    const fault = all.end === undefined ? undefined : await findEarlyEnd(log, all.end);
    if (fault !== undefined)
      throw new Error(`${fault}: ${describe(all, atMs)}. Name the time of that commit to get it`);
    return `${describe(all, atMs)}; ${describeEnd({ end: log.end, knownMs: Math.max(wholeMs, log.shippedMs), atMs })}`;
  } finally {
    await log.remove();
  }
}

function describe({ lastCommitMs, databases }: Replayed, atMs: number): string {
  const last =
    lastCommitMs === undefined
      ? "nothing was committed since the base"
      : `the last commit is of ${new Date(lastCommitMs).toISOString()}`;
  return `replayed to ${new Date(atMs).toISOString()}: ${last}, databases: ${databases}`;
}

function planTwin(
  work: FillWork,
  { log, target, put }: { log: FetchedLog; target: number | undefined; put: boolean },
): TwinPlan {
  const { shape, files, request } = work;
  const data = shape.env["PGDATA"] ?? "/var/lib/postgresql/data";
  const mount = request.volumes[0]?.target ?? data;
  const inside = posix.relative(mount, data);
  const settings = [
    ...RESTORE_SETTINGS,
    "hot_standby=off",
    `restore_command=cp ${LOG_MOUNT}/%f %p`,
    "recovery_target_timeline=current",
    "recovery_target_action=promote",
    ...(target === undefined ? [] : [`recovery_target_time=${writeTime(target)}`]),
  ];
  const [file] = files;
  if (file === undefined) throw new Error("the backup holds no base");
  return {
    command: [...readCommand(shape), ...settings.flatMap((setting) => ["-c", setting])],
    without: ["/docker-entrypoint-initdb.d"],
    binds: [{ source: log.directory, target: LOG_MOUNT }],
    ...(put ? { put: { directory: mount, archive: repackBase(join(work.directory, file.file), inside) } } : {}),
  };
}

/** With its zone: a server has one of its own. */
function writeTime(ms: number): string {
  return `${new Date(ms).toISOString().replace("T", " ").replace("Z", "")}+00`;
}

/** Until it has come to its end and takes writes; undefined where it ends before. Nothing of its log is parsed. */
async function follow(twin: Twin, work: FillWork): Promise<Replayed | undefined> {
  const { input, clock, request } = work;
  const tell = openTeller(request.progressPath, "the server replays the log", 0);
  const untilMs = clock.monotonicMs() + input.deadlineMs;
  const ask = async (statement: string, database = "postgres"): Promise<string | undefined> => {
    const connect = ["psql", "-h", "127.0.0.1", "-U", input.settings.user, "--no-psqlrc", "-Atq", "-d", database];
    const answer = await twin.run([...connect, "-c", statement], STATEMENT_MS).catch(() => undefined);
    return answer?.exitCode === 0 ? answer.output.trim() : undefined;
  };
  while (clock.monotonicMs() < untilMs) {
    await tell(0).catch(() => undefined);
    if (!(await twin.isRunning())) {
      if (await twin.ranOutOfMemory()) throw new Error("the server ran out of memory: raise memory under [[backups]]");
      return undefined;
    }
    if ((await ask("select pg_is_in_recovery()")) === "f") {
      const last = await ask("select extract(epoch from pg_last_xact_replay_timestamp()) * 1000");
      const databases = Number(await ask("select count(*) from pg_database where not datistemplate"));
      const end = parsePosition((await ask("select pg_last_wal_replay_lsn()")) ?? "");
      await ask("checkpoint");
      await endCleanly(twin, work);
      return { lastCommitMs: last === undefined || last === "" ? undefined : Number(last), databases, end };
    }
    await clock.wait(LOOK_MS);
  }
  throw new Error("the server did not come to the end of the log in time");
}
