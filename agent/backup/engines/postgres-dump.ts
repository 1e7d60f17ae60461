// PostgreSQL: `pg_dump -Fc` of each database and the roles of the server, read by the service's own image from inside the server's
// network namespace, at 127.0.0.1, which stock images trust. Which form a dump has, and how a person restores it.

import type { BackupFile } from "../core/backup-record.ts";
import type { DumpForm, DumpPart, RunningDump } from "../dump-port.ts";

/** How the server is reached. */
export interface PostgresSource {
  user: string;
  /** Only these; every one that takes connections where it is left out. */
  databases: readonly string[] | undefined;
  /** Runs a program of the image beside the server; not begun before it is called. */
  run(argv: readonly string[]): Promise<RunningDump>;
}

const HOST = "127.0.0.1";
/** The head of a custom-format archive (pg_dump's own, "PGDMP"). */
const ARCHIVE: DumpForm = { magic: Buffer.from("PGDMP"), tail: "", minBytes: 512, warnCodes: [] };
/** pg_dumpall ends a whole dump with this line. */
const GLOBALS: DumpForm = {
  magic: Buffer.from("--\n-- PostgreSQL database cluster dump\n"),
  tail: "PostgreSQL database cluster dump complete",
  minBytes: 64,
  warnCodes: [],
};
/** A list of names is short; more is not one. */
const LARGEST_LIST_BYTES = 1024 * 1024;

/** What there is to dump: asked of the server, so that a database made yesterday is not forgotten. */
export async function listPostgresParts(source: PostgresSource): Promise<DumpPart[]> {
  const databases = source.databases ?? (await listDatabases(source));
  if (databases.length === 0) throw new Error("the server has no database to dump");
  const connect = ["-h", HOST, "-U", source.user, "--no-password"];
  const dumps = databases.map((database): DumpPart => ({
    content: database,
    label: databases.length === 1 ? "" : database,
    ending: ".dump",
    form: ARCHIVE,
    begin: () =>
      source.run(["pg_dump", ...connect, "--format=custom", "--compress=6", `--dbname=${quoteName(database)}`]),
  }));
  const globals: DumpPart = {
    content: "globals",
    label: "globals",
    ending: ".sql",
    form: GLOBALS,
    begin: () => source.run(["pg_dumpall", ...connect, "--globals-only"]),
  };
  return [globals, ...dumps];
}

/** A name with a `=` would be read as a connection string (libpq, "Connection Strings"). */
function quoteName(database: string): string {
  return /[=:/\s'\\]/.test(database) ? `dbname='${database.replaceAll(/['\\]/g, String.raw`\$&`)}'` : database;
}

/** `postgres` is the server's own, and dumped where it is the only one. */
async function listDatabases(source: PostgresSource): Promise<string[]> {
  const query = "select datname from pg_database where datallowconn and not datistemplate order by datname";
  const dump = await source.run([
    "psql",
    "-h",
    HOST,
    "-U",
    source.user,
    "--no-password",
    "--no-psqlrc",
    "--tuples-only",
    "--no-align",
    "--record-separator-zero",
    "--dbname=postgres",
    `--command=${query}`,
  ]);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of dump.output) {
    bytes += chunk.length;
    if (bytes <= LARGEST_LIST_BYTES) chunks.push(Buffer.from(chunk));
  }
  const { exitCode, stderr } = await dump.ended;
  if (exitCode !== 0) throw new Error(`list databases: exit code ${exitCode}: ${stderr.trim()}`);
  const names = Buffer.concat(chunks)
    .toString("utf8")
    .split("\0")
    .filter((name) => name !== "");
  const own = names.filter((name) => name !== "postgres");
  return own.length === 0 ? names : own;
}

/** How a person restores these files with stock programs alone. */
export function describePostgresRestore(files: readonly BackupFile[], encrypted: boolean): string[] {
  return files.map(({ file, content }) => {
    const read = encrypted ? `age -d -i KEY ${file}` : `cat ${file}`;
    if (content === "globals") return `${read} | psql -v ON_ERROR_STOP=0 -d postgres`;
    return `createdb -T template0 ${quoteShell(content)} && ${read} | pg_restore --exit-on-error -d ${quoteShell(content)}`;
  });
}

function quoteShell(text: string): string {
  return /^[A-Za-z0-9_-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
