// PostgreSQL as a kind of store: its dump, its restore by hand, and its proof.

import { randomBytes } from "node:crypto";

import type { BackupFile } from "../core/backup-record.ts";
import { verifyPostgres } from "../verify/verify-postgres.ts";
import { listPostgresParts } from "./postgres-dump.ts";
import { findSuperuser, quoteDatabase } from "./postgres-words.ts";
import { quoteShell, readFileBy } from "./restore-lines.ts";
import type { StoreEngine } from "./store-engine.ts";

/** Nothing of the throw-away server is kept: it may be fast instead of safe. */
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
  // What an extension would do in the background on restored data is not wanted here: jobs of pg_cron, say.
  "max_worker_processes=0",
];

export const postgres: StoreEngine = {
  listParts: listPostgresParts,
  describeRestore: ({ user }, files, encrypted) => describePostgresRestore(user, files, encrypted),
  planBox: ({ user }, { scratch, files }) => ({
    argv: ["postgres", ...[...SETTINGS, ...listKeptSettings(files)].flatMap((setting) => ["-c", setting])],
    env: {
      PGDATA: `${scratch}/data`,
      POSTGRES_USER: findSuperuser(user, files),
      POSTGRES_PASSWORD: randomBytes(16).toString("hex"),
      POSTGRES_HOST_AUTH_METHOD: "trust",
      // The databases are made as the backup has them.
      POSTGRES_DB: "postgres",
    },
  }),
  verify: verifyPostgres,
};

/** Without them some extensions cannot be created; the same for all databases, since they are the server's. */
function listKeptSettings(files: readonly BackupFile[]): string[] {
  const settings = files.find(({ facts }) => facts?.settings !== undefined)?.facts?.settings ?? {};
  return Object.entries(settings).map(([name, value]) => `${name}=${value}`);
}

/** How a person restores these files with stock programs alone. */
function describePostgresRestore(user: string, files: readonly BackupFile[], encrypted: boolean): string[] {
  const connect = `-h 127.0.0.1 -U ${quoteShell(user)}`;
  return files.flatMap(({ file, kind, content }) => {
    const read = readFileBy(file, encrypted);
    if (kind === "globals") return [`${read} | psql ${connect} -v ON_ERROR_STOP=0 -d postgres`];
    const restore = `${read} | pg_restore ${connect} --clean --if-exists --exit-on-error -d ${quoteShell(quoteDatabase(content))}`;
    // A server that was made with the database has it already: that line then says so, and the next one restores.
    return content === "postgres" ? [restore] : [`createdb ${connect} -T template0 -- ${quoteShell(content)}`, restore];
  });
}
