// Proves a PostgreSQL backup by restoring it: roles, then each database in three sections, stopping at the first failure, since
// post-data can end well after data has failed; then what must be in it is looked for. A failure that is the machine's and not the
// backup's is told apart: no false alarm is worse than a bad backup that nobody believes.

import type { BackupFile } from "../core/backup-record.ts";
import type { BoxAnswer, Expectations, RestoreBox, Verdict } from "./restore-box.ts";

/** A backup's files as the box sees them. */
export interface RestoreInput {
  /** Where they lie in the box. */
  directory: string;
  files: readonly BackupFile[];
  /** The superuser of the box's server. */
  user: string;
  expectations: Expectations;
  deadlineMs: number;
}

/** What is used of time. */
export interface VerifyClock {
  monotonicMs(): number;
  wait(ms: number): Promise<void>;
}

const READY_MS = 120_000;
const LOOK_MS = 250;
const SECTIONS = ["pre-data", "data", "post-data"] as const;
/** The machine's faults, in the words of PostgreSQL, libpq and the kernel. */
const MACHINE =
  /no space left on device|out of memory|cannot allocate memory|too many open files|could not fork|server closed the connection unexpectedly|in recovery mode|crash of another server process/i;

/** One step that did not go well. */
class Finding extends Error {
  readonly verdict: "bad" | "unknown";
  constructor(verdict: "bad" | "unknown", message: string) {
    super(message);
    this.verdict = verdict;
  }
}

/** Restores a backup in a box and says what came of it. Never throws. */
export async function verifyPostgres(box: RestoreBox, input: RestoreInput, clock: VerifyClock): Promise<Verdict> {
  const session = new Session(box, input, clock);
  try {
    return { verdict: "good", detail: await session.verify() };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (!(error instanceof Finding)) return { verdict: "unknown", detail: message };
    // A backend that the kernel has ended looks like a bad dump.
    const oom = error.verdict === "bad" && (await box.ranOutOfMemory().catch(() => false));
    return oom
      ? { verdict: "unknown", detail: `the server ran out of memory while it was restored: ${message}` }
      : { verdict: error.verdict, detail: message };
  }
}

class Session {
  readonly #box: RestoreBox;
  readonly #input: RestoreInput;
  readonly #clock: VerifyClock;
  readonly #endMs: number;

  constructor(box: RestoreBox, input: RestoreInput, clock: VerifyClock) {
    this.#box = box;
    this.#input = input;
    this.#clock = clock;
    this.#endMs = clock.monotonicMs() + input.deadlineMs;
  }

  async verify(): Promise<string> {
    const beganMs = this.#clock.monotonicMs();
    const { files } = this.#input;
    await this.#waitUntilReady();
    for (const file of files.filter(({ kind }) => kind === "globals")) await this.#restoreRoles(file);
    const databases = files.filter(({ kind }) => kind === "database");
    if (databases.length === 0) throw new Finding("bad", "it holds no database");
    const tables: string[] = [];
    for (const file of databases) {
      await this.#restoreDatabase(file);
      tables.push(`${file.content} with ${await this.#countTables(file.content)} tables`);
      await this.#findOrphans(file.content);
    }
    await this.#meetExpectations(databases.map(({ content }) => content));
    const tookMs = this.#clock.monotonicMs() - beganMs;
    return `restored ${tables.join(", ")} in ${(tookMs / 1_000).toFixed(1)} s`;
  }

  async #waitUntilReady(): Promise<void> {
    const untilMs = Math.min(this.#endMs, this.#clock.monotonicMs() + READY_MS);
    while (this.#clock.monotonicMs() < untilMs) {
      if (!(await this.#box.isRunning())) throw new Finding("unknown", "the server that it is restored into has ended");
      const answer = await this.#run(["pg_isready", "-h", "127.0.0.1", "-U", this.#input.user]).catch(() => undefined);
      if (answer?.exitCode === 0) return;
      await this.#clock.wait(LOOK_MS);
    }
    throw new Finding("unknown", "the server that it is restored into did not come up");
  }

  /** The box has its own superuser, so that one of them is there already. */
  async #restoreRoles(file: BackupFile): Promise<void> {
    const path = `${this.#input.directory}/${file.file}`;
    const answer = await this.#psql("postgres", ["--file", path, "--set", "ON_ERROR_STOP=0"]);
    this.#judge("the roles", answer);
    const lines = answer.output.split("\n");
    const first = lines.find((line) => /\bERROR:/.test(line) && !/already exists/.test(line));
    if (first !== undefined) throw new Finding("bad", `the roles: ${first.trim()}`);
  }

  async #restoreDatabase({ content, file }: BackupFile): Promise<void> {
    const path = `${this.#input.directory}/${file}`;
    this.#judge(`${content}: its table of contents`, await this.#run(["pg_restore", "--list", path]));
    const connect = ["-h", "127.0.0.1", "-U", this.#input.user];
    if (content !== "postgres")
      this.#judge(`${content}: create it`, await this.#run(["createdb", ...connect, "-T", "template0", "--", content]));
    for (const section of SECTIONS) {
      const restore = [
        "pg_restore",
        ...connect,
        "--exit-on-error",
        `--section=${section}`,
        "--dbname",
        quoteName(content),
        path,
      ];
      this.#judge(`${content}: restore ${section}`, await this.#run(restore));
    }
  }

  async #countTables(database: string): Promise<number> {
    const query = "select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')";
    return Number(await this.#ask(database, query));
  }

  /** Foreign keys that were never validated are restored as they are: rows without their parent are looked for. */
  async #findOrphans(database: string): Promise<void> {
    // One after the other: what a command prints is kept up to a limit.
    for (let at = 0; ; at += 1) {
      const line = await this.#ask(database, `${ORPHAN_QUERIES} limit 1 offset ${at}`);
      if (line === "") return;
      const [name = "", query = ""] = line.split("\t");
      const count = Number(await this.#ask(database, query));
      if (count > 0) throw new Finding("bad", `${database}: ${count} rows have no parent by the foreign key ${name}`);
    }
  }

  async #meetExpectations(databases: readonly string[]): Promise<void> {
    const { extensions, schemas, queries } = this.#input.expectations;
    const found = { extensions: new Set<string>(), schemas: new Set<string>() };
    for (const database of databases) {
      for (const name of (await this.#ask(database, "select extname from pg_extension")).split("\n"))
        found.extensions.add(name);
      for (const name of (await this.#ask(database, "select distinct schemaname from pg_tables")).split("\n"))
        found.schemas.add(name);
    }
    const noExtension = extensions.find((name) => !found.extensions.has(name));
    if (noExtension !== undefined) throw new Finding("bad", `the extension ${noExtension} is not in it`);
    const noSchema = schemas.find((name) => !found.schemas.has(name));
    if (noSchema !== undefined) throw new Finding("bad", `the schema ${noSchema} has no table in it`);
    for (const query of queries) {
      const answers: string[] = [];
      for (const database of databases) {
        const answer = await this.#psql(database, ["--command", query]);
        answers.push(answer.exitCode === 0 ? answer.output.trim() : "");
      }
      if (!answers.includes("t")) throw new Finding("bad", `no database answers true to: ${query}`);
    }
  }

  async #ask(database: string, query: string): Promise<string> {
    const answer = await this.#psql(database, ["--command", query]);
    this.#judge(`${database}: look into it`, answer);
    return answer.output.trim();
  }

  #psql(database: string, parameters: readonly string[]): Promise<BoxAnswer> {
    const connect = ["psql", "-h", "127.0.0.1", "-U", this.#input.user, "--no-psqlrc", "-At", "-F", "\t"];
    return this.#run([...connect, "--dbname", quoteName(database), ...parameters]);
  }

  #judge(doing: string, { exitCode, output }: BoxAnswer): void {
    if (exitCode === 0) return;
    const lines = output.trim().split("\n");
    const first = lines.findIndex((line) => /\berror\b/i.test(line));
    // The error and what explains it; the rest is the command.
    const words = (first === -1 ? lines.slice(-2) : lines.slice(first, first + 2)).join(" ");
    if (MACHINE.test(output)) throw new Finding("unknown", `${doing}: ${words}`);
    const extension = /extension "([^"]+)" is not available|could not open extension control file/.exec(output);
    if (extension !== null) throw new Finding("bad", `${doing}: the image has no such extension: ${words}`);
    throw new Finding("bad", `${doing}: ${words === "" ? `exit code ${exitCode}` : words}`);
  }

  async #run(argv: readonly string[]): Promise<BoxAnswer> {
    const leftMs = this.#endMs - this.#clock.monotonicMs();
    if (leftMs <= 0) throw new Finding("unknown", "it was not restored within verify.timeout");
    try {
      return await this.#box.run(argv, leftMs);
    } catch (error) {
      throw new Finding("unknown", error instanceof Error ? error.message : String(error));
    }
  }
}

/** A name with a `=` would be read as a connection string (libpq, "Connection Strings"). */
function quoteName(database: string): string {
  return /[=:/\s'\\]/.test(database) ? `dbname='${database.replaceAll(/['\\]/g, String.raw`\$&`)}'` : database;
}

/** One row for each foreign key that is not validated: its name and the query that counts its orphans (pg_constraint, PostgreSQL 15). */
const ORPHAN_QUERIES = `
select c.conname, format('select count(*) from %s c where %s and not exists (select 1 from %s p where %s)',
  c.conrelid::regclass,
  string_agg(format('c.%I is not null', a.attname), ' and '),
  c.confrelid::regclass,
  string_agg(format('p.%I = c.%I', f.attname, a.attname), ' and '))
from pg_constraint c
cross join lateral unnest(c.conkey, c.confkey) as k(own, theirs)
join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.own
join pg_attribute f on f.attrelid = c.confrelid and f.attnum = k.theirs
where c.contype = 'f' and not c.convalidated
group by c.oid, c.conname, c.conrelid, c.confrelid
order by c.conname, c.oid`.replaceAll(/\s+/g, " ");
