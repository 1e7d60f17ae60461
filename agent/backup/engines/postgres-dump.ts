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
  // The one that the server is there for keeps the plain name.
  const own = databases.filter((name) => name !== "postgres");
  const main = databases.length === 1 ? databases[0] : own.length === 1 ? own[0] : undefined;
  const connect = ["-h", HOST, "-U", source.user, "--no-password"];
  const dumps = databases.map((database): DumpPart => ({
    kind: "database",
    content: database,
    label: database === main ? "" : database,
    ending: ".dump",
    form: ARCHIVE,
    begin: () =>
      source.run(["pg_dump", ...connect, "--format=custom", "--compress=6", `--dbname=${quoteName(database)}`]),
  }));
  const globals: DumpPart = {
    kind: "globals",
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

/** `postgres` is the server's own, and mostly empty: it is dumped where somebody has put something into it. */
async function listDatabases(source: PostgresSource): Promise<string[]> {
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
    `--command=${LIST_DATABASES}`,
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
  return names;
}

/** Asked in `postgres`, so that what is in it can be seen; it is named alone where there is no other. */
const LIST_DATABASES = `
with own as (select exists (
  select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
) or exists (
  select from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
) as used)
select datname from pg_database d, own where datallowconn and not datistemplate and (datname <> 'postgres' or own.used or not exists (
  select from pg_database o where o.datallowconn and not o.datistemplate and o.datname <> 'postgres'
)) order by datname`.replaceAll(/\s+/g, " ");

/** How a person restores these files with stock programs alone. */
export function describePostgresRestore(user: string, files: readonly BackupFile[], encrypted: boolean): string[] {
  const connect = `-h ${HOST} -U ${quoteShell(user)}`;
  return files.flatMap(({ file, kind, content }) => {
    const read = encrypted ? `age -d -i KEY ${file}` : `cat ${file}`;
    if (kind === "globals") return [`${read} | psql ${connect} -v ON_ERROR_STOP=0 -d postgres`];
    const restore = `${read} | pg_restore ${connect} --clean --if-exists --exit-on-error -d ${quoteShell(quoteName(content))}`;
    // A server that was made with the database has it already: that line then says so, and the next one restores.
    return content === "postgres" ? [restore] : [`createdb ${connect} -T template0 -- ${quoteShell(content)}`, restore];
  });
}

function quoteShell(text: string): string {
  return /^[A-Za-z0-9_-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
