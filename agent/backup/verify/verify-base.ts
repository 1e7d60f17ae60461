// Proves a base of PostgreSQL with its log: all that is stored since is fetched, a throw-away server without any network replays it to its
// newest position, and is looked into as the proof of a dump does. Runs in the child; called by verify-backup.ts.

import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

import type { Engine } from "../../docker/engine.ts";
import { systemClock } from "../../host/os/clock.ts";
import type { JudgedBackup, VerifyRequest } from "../backup-exchange.ts";
import type { BackupRecord } from "../core/backup-record.ts";
import type { Repository } from "../repository/repository-port.ts";
import { repackBase } from "../restore/base-archive.ts";
import { findEarlyEnd } from "../restore/early-end.ts";
import { type FetchedLog, fetchLog, LogDamage } from "../restore/replay-log.ts";
import { RESTORE_SETTINGS } from "../restore/restore-postgres.ts";
import type { StagedBackup } from "../staging.ts";
import { formatPosition, parsePosition } from "../wal/core/wal-position.ts";
import type { RestoreInput } from "./restore-box.ts";
import { lookIntoDatabases, POSTGRES_MACHINE } from "./verify-postgres.ts";
import { Finding, judgeProof, VerifySession } from "./verify-session.ts";

const LOG_MOUNT = "/orca-wal";
const SCRATCH = "/orca-restore";
const DATA = "data";
const HBA = "hba.conf";
/** Whoever is in the box may look: it has no network, and nobody else is there. */
const TRUST = "host all all 127.0.0.1/32 trust\n";

/** What the data directory says of the machine that it comes from does not hold in the box. */
const SETTINGS = [
  ...RESTORE_SETTINGS,
  "fsync=off",
  "hot_standby=off",
  "huge_pages=off",
  "ssl=off",
  "logging_collector=off",
  "listen_addresses=127.0.0.1",
  "port=5432",
  "synchronous_standby_names=",
  `hba_file=${SCRATCH}/${HBA}`,
  `restore_command=cp ${LOG_MOUNT}/%f %p`,
  "recovery_target_timeline=current",
];

interface Proving {
  record: BackupRecord;
  repository: Repository;
  staged: StagedBackup;
  /** The server's; it is on this host. */
  image: string;
}

/** Proves it. Rejects only where the engine cannot be asked. */
export async function proveBase(request: VerifyRequest, proving: Proving, engine: Engine): Promise<JudgedBackup> {
  const { spool, identities, folder } = request;
  const { area: _base, ...own } = folder;
  const { record: base, repository } = proving;
  const order = { repository, folder: own, base, spool, identities, atMs: Number.POSITIVE_INFINITY, wholly: true };
  const log = await fetchLog(order).catch((error: unknown) => ({ error }));
  if ("error" in log) {
    const { error } = log;
    const detail = error instanceof Error ? error.message : String(error);
    // What lies there is at fault, and may be whole elsewhere.
    if (error instanceof LogDamage) return { verdict: "bad", detail, about: "copy", reach: error.reach };
    return { verdict: "unknown", detail };
  }
  try {
    return await replay(request, { ...proving, log }, engine);
  } finally {
    await log.remove();
  }
}

async function replay(
  request: VerifyRequest,
  { staged, image, log }: Pick<Proving, "staged" | "image"> & { log: FetchedLog },
  engine: Engine,
): Promise<JudgedBackup> {
  const { folder, settings, expectations, timeoutMs } = request;
  const [file] = staged.files;
  if (file === undefined) return { verdict: "bad", detail: "it does not say what it needs of the log" };
  const archive = repackBase(join(staged.directory, file.file), DATA, { [HBA]: TRUST });
  const box = await engine.oneShots.openBox({
    job: `verify:${folder.service}/${folder.store}`,
    node: folder.node,
    image,
    argv: ["postgres", ...SETTINGS.flatMap((setting) => ["-c", setting])],
    env: { PGDATA: `${SCRATCH}/${DATA}` },
    memoryBytes: request.memoryBytes,
    binds: [{ source: log.directory, target: LOG_MOUNT }],
    scratch: SCRATCH,
    put: { directory: SCRATCH, archive },
  });
  try {
    const input: RestoreInput = {
      directory: LOG_MOUNT,
      files: staged.files,
      settings,
      expectations,
      deadlineMs: timeoutMs,
      scratch: SCRATCH,
      nowMs: systemClock.nowMs(),
      image,
      ownImage: request.image === undefined,
    };
    const clock = { monotonicMs: () => systemClock.monotonicMs(), wait: (ms: number) => wait(ms) };
    const session = new VerifySession({ box, input, clock }, POSTGRES_MACHINE);
    let reach: string | undefined;
    const end = formatPosition(log.end);
    const verdict = await judgeProof(box, async () => {
      const at = await replayAll(session, timeoutMs);
      reach = at;
      const fault = await findEarlyEnd(log, parsePosition(at) ?? 0n);
      if (fault !== undefined) throw new Finding("bad", fault);
      const found = await lookIntoDatabases(session);
      reach = end;
      const shipped = new Date(log.shippedMs).toISOString();
      return `replayed to ${end}, stored at ${shipped}: ${found} in ${session.took}`;
    });
    return reach === undefined || verdict.verdict === "unknown" || (reach === end && verdict.verdict === "bad")
      ? verdict
      : { ...verdict, reach };
  } finally {
    await box.remove();
  }
}

/** Until it takes connections, which it does at the end of the log alone; answers where that was. */
async function replayAll(session: VerifySession, timeoutMs: number): Promise<string> {
  const { user } = session.input.settings;
  const ask = (statement: string): string[] => [
    "psql",
    "-h",
    "127.0.0.1",
    "-U",
    user,
    "--no-psqlrc",
    "-Atq",
    "-d",
    "postgres",
    "-c",
    statement,
  ];
  const isOut = ask("select pg_is_in_recovery()");
  await session.waitUntilReady(isOut, ({ exitCode, output }) => exitCode === 0 && output.trim() === "f", timeoutMs);
  return session.expect("ask where the log ended", ask("select pg_last_wal_replay_lsn()"));
}
