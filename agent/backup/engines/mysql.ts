// MariaDB and MySQL as a kind of store: one dump for each database, in one transaction, and the accounts where the program can. Which
// of the two programs the image has is found out.

import type { BackupFile } from "../core/backup-record.ts";
import type { DumpForm, DumpPart, RunningDump } from "../dump-port.ts";
import { describeMysqlAccess, isMysqlAccessFault } from "./mysql-access.ts";
import { quoteShell, readFileBy } from "./restore-lines.ts";
import { AccessRefused, findProgram, readAll } from "./source-program.ts";
import { type RunHow, SECRET_FOLDER, type StoreEngine, type StoreSettings, type StoreSource } from "./store-engine.ts";
import { verifyMysql } from "../verify/verify-mysql.ts";

const HOST = "127.0.0.1";
const CLIENTS = ["mariadb", "mysql"];
const DUMPERS = ["mariadb-dump", "mysqldump"];
/** The first line of each: MariaDB since 10.11.8 (its sandbox), MariaDB before, MySQL. */
const FORM: DumpForm = {
  heads: [
    "/*M!999999\\- enable the sandbox mode",
    "/*!999999\\- enable the sandbox mode",
    "-- MariaDB dump",
    "-- MySQL dump",
  ].map((text) => ({ at: 0, text })),
  // It stands in the last line of a dump that is whole.
  tail: "-- Dump completed",
  minBytes: 256,
  warnCodes: [],
};
/** The server's own; their accounts are dumped as statements. */
const OWN_DATABASES = new Set(["information_schema", "performance_schema", "mysql", "sys"]);

export const mysql: StoreEngine = {
  listParts: listMysqlParts,
  describeRestore: describeMysqlRestore,
  planBox: (_settings, { scratch }) => ({
    argv: [
      // Its own words begin with a dash: both official images then start their server.
      `--datadir=${scratch}/data`,
      "--skip-log-bin",
      "--innodb-flush-log-at-trx-commit=0",
      "--innodb-doublewrite=0",
      "--innodb-buffer-pool-size=64M",
      "--max-connections=10",
      "--performance-schema=off",
    ],
    env: {
      MARIADB_ALLOW_EMPTY_ROOT_PASSWORD: "1",
      MYSQL_ALLOW_EMPTY_PASSWORD: "1",
    },
  }),
  verify: verifyMysql,
};

async function listMysqlParts(source: StoreSource): Promise<DumpPart[]> {
  const server = new MysqlSource(source);
  const [client, dumper] = [await findProgram(source, CLIENTS), await findProgram(source, DUMPERS)];
  const all = await server.list(client, `select schema_name from information_schema.schemata order by 1`);
  const databases = source.settings.databases ?? all.filter((name) => !OWN_DATABASES.has(name));
  if (databases.length === 0) throw new Error("the server has no database to dump");
  const gone = databases.find((name) => !all.includes(name));
  if (gone !== undefined) throw new Error(`the server has no database ${gone}`);
  const minBytes = Math.max(FORM.minBytes, source.settings.minBytes ?? 0);
  const dumps = databases.map((database): DumpPart => ({
    kind: "database",
    content: database,
    label: databases.length === 1 ? "" : database,
    ending: ".sql",
    form: { ...FORM, minBytes: databases.length === 1 ? minBytes : FORM.minBytes },
    begin: async () => {
      const before = await server.countTables(client, database);
      const dump = await server.run([dumper], [...DUMP_OPTIONS, "--databases", database]);
      return {
        ...dump,
        // Tables that came or went while it was dumped are in doubt: only what did not change is held against a restore.
        measure: async () => {
          const entries = await server.countTables(client, database);
          return { client, ...(entries === undefined || entries !== before ? {} : { entries }) };
        },
      };
    },
  }));
  // MySQL's own program cannot.
  if (dumper !== "mariadb-dump" || !(await server.canDumpAccounts(dumper))) return dumps;
  const accounts: DumpPart = {
    kind: "globals",
    content: "accounts",
    label: "accounts",
    ending: ".sql",
    form: FORM,
    begin: () => server.run([dumper], ["--system=users", "--insert-ignore"]),
  };
  return [accounts, ...dumps];
}

const DUMP_OPTIONS = ["--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob"];

class MysqlSource {
  readonly #source: StoreSource;
  readonly #how: RunHow;
  readonly #options: string[];

  constructor(source: StoreSource) {
    const { password } = source.settings;
    this.#source = source;
    const text = `[client]\npassword="${quoteOption(password ?? "")}"\n`;
    this.#how = password === undefined ? {} : { secret: { name: "my.cnf", text } };
    // It must be the first option ("Command-Line Options that Affect Option-File Handling").
    this.#options = password === undefined ? [] : [`--defaults-extra-file=${SECRET_FOLDER}/my.cnf`];
  }

  run(program: readonly string[], parameters: readonly string[]): Promise<RunningDump> {
    const connect = ["-h", HOST, "-u", this.#source.settings.user];
    return this.#source.run([...program, ...this.#options, ...connect, ...parameters], this.#how);
  }

  async list(client: string, query: string): Promise<string[]> {
    const { exitCode, stderr, text } = await readAll(await this.run([client], ["-N", "-B", "--raw", "-e", query]));
    if (exitCode === 0) return text.split("\n").filter((line) => line !== "");
    const reason = `look at the server: exit code ${exitCode}: ${stderr.trim()}`;
    if (isMysqlAccessFault(stderr)) throw new AccessRefused(reason, describeMysqlAccess(this.#source.settings, stderr));
    throw new Error(reason);
  }

  /** Tables and views; undefined where nobody can say. */
  async countTables(client: string, database: string): Promise<number | undefined> {
    const query = `select count(*) from information_schema.tables where table_schema = '${quoteSql(database)}'`;
    const [count] = await this.list(client, query).catch(() => []);
    return count === undefined ? undefined : Number(count);
  }

  /** Older programs do not know the option, and not every account may read the others. */
  async canDumpAccounts(dumper: string): Promise<boolean> {
    const dump = await this.run([dumper], ["--system=users", "--insert-ignore"]);
    return (await readAll(dump)).exitCode === 0;
  }
}

/** A value inside quotation marks of an option file ("Option File Syntax"). */
function quoteOption(text: string): string {
  return text
    .replaceAll(/[\\"]/g, String.raw`\$&`)
    .replaceAll("\n", String.raw`\n`)
    .replaceAll("\t", String.raw`\t`);
}

function quoteSql(text: string): string {
  return text.replaceAll(/['\\]/g, String.raw`\$&`);
}

/** How a person restores these files with stock programs alone. The databases come first: accounts have rights in them. */
function describeMysqlRestore({ user }: StoreSettings, files: readonly BackupFile[], encrypted: boolean): string[] {
  const databases = files.filter(({ kind }) => kind === "database");
  const accounts = files.filter(({ kind }) => kind === "globals");
  // Of a backup of an earlier version nobody has said which it is.
  const { client = "mariadb" } = databases.find(({ facts }) => facts?.client !== undefined)?.facts ?? {};
  return [...databases, ...accounts].map(
    ({ file }) => `${readFileBy(file, encrypted)} | ${client} -h ${HOST} -u ${quoteShell(user)} -p`,
  );
}
