// PostgreSQL: `pg_dump -Fc` of each database and the roles of the server, read by the service's own image from inside the server's
// network namespace, at 127.0.0.1, which stock images trust, or with a user and a password. Each database is dumped and counted in one
// snapshot, so that a restore can be held against what the source had at that moment.

import type { SourceFacts } from "../core/backup-record.ts";
import type { DumpForm, DumpPart, RunningDump } from "../dump-port.ts";
import { readEntryCount, HEAD_BYTES } from "./postgres-archive.ts";
import { COUNT_ROWS, quoteDatabase, quoteLiteral } from "./postgres-words.ts";
import { describePostgresAccess, isAccessFault } from "./postgres-access.ts";
import { AccessRefused, readAll } from "./source-program.ts";
import { type RunHow, SECRET_FOLDER, type StoreSource } from "./store-engine.ts";

const HOST = "127.0.0.1";
/** The head of a custom-format archive (pg_dump's own, "PGDMP"). */
const ARCHIVE: DumpForm = { heads: [{ at: 0, text: "PGDMP" }], tail: "", minBytes: 512, warnCodes: [] };
/** pg_dumpall ends a whole dump with this line. */
const GLOBALS: DumpForm = {
  heads: [{ at: 0, text: "--\n-- PostgreSQL database cluster dump\n" }],
  tail: "PostgreSQL database cluster dump complete",
  minBytes: 64,
  warnCodes: [],
};
/** Counting takes no longer than that; what is not counted is not compared. */
const COUNT_MS = 300_000;
/** Settings without which what an extension keeps cannot be restored: they go with the backup (pg_cron's own documentation). */
const KEPT_SETTINGS = ["shared_preload_libraries", "cron.database_name"];

/** Some settings are not shown to everybody; who may only read the data dumps without them. */
const MAY_READ = "current_setting('is_superuser') = 'on' or pg_has_role('pg_read_all_settings', 'usage')";

/** What there is to dump: asked of the server, so that a database made yesterday is not forgotten. */
export async function listPostgresParts(source: StoreSource): Promise<DumpPart[]> {
  const server = new PostgresSource(source);
  const look = await server.look();
  const databases = source.settings.databases ?? (await server.listDatabases());
  if (databases.length === 0) throw new Error("the server has no database to dump");
  // The one that the server is there for keeps the plain name.
  const own = databases.filter((name) => name !== "postgres");
  const main = databases.length === 1 ? databases[0] : own.length === 1 ? own[0] : undefined;
  const minBytes = Math.max(ARCHIVE.minBytes, source.settings.minBytes ?? 0);
  const dumps = databases.map((database): DumpPart => ({
    kind: "database",
    content: database,
    label: database === main ? "" : database,
    ending: ".dump",
    // The smallest that is taken is asked of the one that the server is there for.
    form: { ...ARCHIVE, minBytes: database === main ? minBytes : ARCHIVE.minBytes },
    begin: () => server.dump(database, look),
  }));
  const globals: DumpPart = {
    kind: "globals",
    content: "globals",
    label: "globals",
    ending: ".sql",
    form: GLOBALS,
    // Only a superuser may read the passwords of roles.
    begin: () => server.run(["pg_dumpall", "--globals-only", ...(look.isSuperuser ? [] : ["--no-role-passwords"])]),
  };
  return [globals, ...dumps];
}

class PostgresSource {
  readonly #source: StoreSource;
  readonly #how: RunHow;

  constructor(source: StoreSource) {
    const { password } = source.settings;
    this.#source = source;
    // libpq reads it from there, and takes no file that others may read ("The Password File").
    const text = `*:*:*:*:${password?.replaceAll(/[\\:]/g, String.raw`\$&`)}\n`;
    this.#how =
      password === undefined
        ? {}
        : { secret: { name: "pgpass", text }, env: { PGPASSFILE: `${SECRET_FOLDER}/pgpass` } };
  }

  /** The first word is the program; how the server is reached comes right after it. */
  run([program = "", ...parameters]: readonly string[], how: RunHow = {}): Promise<RunningDump> {
    const connect = ["-h", HOST, "-U", this.#source.settings.user, "--no-password"];
    return this.#source.run([program, ...connect, ...parameters], { ...this.#how, ...how });
  }

  psql(database: string, parameters: readonly string[], how?: RunHow): Promise<RunningDump> {
    return this.run(
      ["psql", "--no-psqlrc", "-Atq", "-F", "\t", `--dbname=${quoteDatabase(database)}`, ...parameters],
      how,
    );
  }

  /** Whoever may not even ask this may not dump. */
  async look(): Promise<ServerLook> {
    const { databases = ["postgres"] } = this.#source.settings;
    const query = [
      "select 'is_superuser', current_setting('is_superuser')",
      // The one that initdb made (PostgreSQL, BOOTSTRAP_SUPERUSERID): grants in the roles' dump are in its name.
      "select 'superuser', rolname from pg_roles where oid = 10",
      ...KEPT_SETTINGS.map(
        (name) => `select 'set ${name}', case when ${MAY_READ} then current_setting('${name}', true) end`,
      ),
      "select 'texts ' || datname, pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype from pg_database",
    ].join(" union all ");
    const text = await this.#readOr(
      "look at the server",
      await this.psql(databases[0] ?? "postgres", [`--command=${query}`]),
    );
    const found = new Map(
      text.split("\n").flatMap((line) => {
        const [name = "", value = ""] = line.split("\t");
        return value === "" ? [] : [[name, value] as const];
      }),
    );
    const settings = KEPT_SETTINGS.flatMap((name) => {
      const value = found.get(`set ${name}`);
      return value === undefined ? [] : [[name, value] as const];
    });
    return {
      isSuperuser: found.get("is_superuser") === "on",
      superuser: found.get("superuser"),
      settings: Object.fromEntries(settings),
      texts: (database) => found.get(`texts ${database}`),
    };
  }

  async listDatabases(): Promise<string[]> {
    const dump = await this.psql("postgres", ["--record-separator-zero", `--command=${LIST_DATABASES}`]);
    const text = await this.#readOr("list databases", dump);
    return text.split("\0").filter((name) => name !== "");
  }

  /** A database in one snapshot. Where the server gives none, it is dumped all the same, and nothing is counted. */
  async dump(database: string, look: ServerLook): Promise<RunningDump> {
    const held = await this.#holdSnapshot(database);
    try {
      const dump = await this.run([
        "pg_dump",
        "--format=custom",
        "--compress=6",
        ...(held === undefined ? [] : [`--snapshot=${held.name}`]),
        `--dbname=${quoteDatabase(database)}`,
      ]);
      const head = new HeadCopy(dump.output);
      return {
        output: head.output,
        ended: dump.ended,
        measure: async () => {
          const rows = held === undefined ? undefined : await this.#countRows(database, held.name);
          await held?.cancel();
          return buildFacts(database, look, { entries: readEntryCount(head.bytes), rows });
        },
        cancel: async () => {
          await held?.cancel();
          await dump.cancel();
        },
      };
    } catch (error) {
      await held?.cancel();
      throw error;
    }
  }

  /** A session that waits for more input holds it; it ends with the one who would write that, whatever happens to it. */
  async #holdSnapshot(database: string): Promise<{ name: string; cancel(): Promise<void> } | undefined> {
    const session = await this.psql(database, ["--set", "ON_ERROR_STOP=1"], { input: HOLD_SNAPSHOT, hold: true });
    const cancel = (): Promise<void> => session.cancel().catch(() => undefined);
    // Not by a loop that ends early: that would close what it reads from, and with it the session.
    const reader = session.output[Symbol.asyncIterator]();
    let said = "";
    for (let piece = await reader.next(); piece.done !== true; piece = await reader.next()) {
      said += Buffer.from(piece.value).toString("utf8");
      const name = /^([0-9A-F-]+)\n/.exec(said)?.[1];
      if (name !== undefined) return { name, cancel };
    }
    await cancel();
    return undefined;
  }

  async #countRows(database: string, snapshot: string): Promise<Record<string, number> | undefined> {
    const dump = await this.psql(database, [
      "--set",
      "ON_ERROR_STOP=1",
      "--command=begin isolation level repeatable read read only",
      `--command=set transaction snapshot ${quoteLiteral(snapshot)}`,
      `--command=set local statement_timeout = ${COUNT_MS}`,
      "--command=set local row_security = off",
      `--command=${COUNT_ROWS}`,
    ]);
    const { exitCode, text } = await readAll(dump).catch(() => ({ exitCode: -1, text: "" }));
    if (exitCode !== 0) return undefined;
    return Object.fromEntries(
      text.split("\n").flatMap((line) => {
        const [table = "", count] = line.split("\t");
        return count === undefined ? [] : [[table, Number(count)] as const];
      }),
    );
  }

  async #readOr(doing: string, dump: RunningDump): Promise<string> {
    const { exitCode, stderr, text } = await readAll(dump);
    if (exitCode === 0) return text;
    const reason = `${doing}: exit code ${exitCode}: ${stderr.trim()}`;
    if (isAccessFault(stderr)) throw new AccessRefused(reason, describePostgresAccess(this.#source.settings, stderr));
    throw new Error(reason);
  }
}

/** It waits as long as the dump takes: no server ends it for that. */
const HOLD_SNAPSHOT = `set idle_in_transaction_session_timeout = 0;
begin isolation level repeatable read read only;
select pg_export_snapshot();
`;

/** What a server is asked once. */
interface ServerLook {
  isSuperuser: boolean;
  superuser: string | undefined;
  settings: Readonly<Record<string, string>>;
  /** Encoding, collation and character type of a database, with blanks between. */
  readonly texts: (database: string) => string | undefined;
}

function buildFacts(
  database: string,
  { settings, superuser, texts }: ServerLook,
  { entries, rows }: { entries: number | undefined; rows: Record<string, number> | undefined },
): SourceFacts {
  const [name, collate, ctype] = texts(database)?.split(" ") ?? [];
  const hasTexts = name !== undefined && collate !== undefined && ctype !== undefined;
  return {
    ...(entries === undefined ? {} : { entries }),
    ...(rows === undefined ? {} : { rows }),
    ...(superuser === undefined ? {} : { superuser }),
    ...(hasTexts ? { encoding: { name, collate, ctype } } : {}),
    ...(Object.keys(settings).length === 0 ? {} : { settings: { ...settings } }),
  };
}

/** Keeps the first bytes of what goes through. */
class HeadCopy {
  readonly output: AsyncIterable<Uint8Array>;
  bytes = Buffer.alloc(0);

  constructor(output: AsyncIterable<Uint8Array>) {
    this.output = this.#copy(output);
  }

  async *#copy(output: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const chunk of output) {
      const missing = HEAD_BYTES - this.bytes.length;
      if (missing > 0) this.bytes = Buffer.concat([this.bytes, chunk.subarray(0, missing)]);
      yield chunk;
    }
  }
}

/**
 * Asked in `postgres`, so that what is in it can be seen: it is the server's own, mostly empty, and dumped where somebody has put
 * something into it; it is named alone where there is no other.
 */
const LIST_DATABASES = `
with own as (select exists (
  select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
) or exists (
  select from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
) as used)
select datname from pg_database d, own where datallowconn and not datistemplate and (datname <> 'postgres' or own.used or not exists (
  select from pg_database o where o.datallowconn and not o.datistemplate and o.datname <> 'postgres'
)) order by datname`.replaceAll(/\s+/g, " ");
