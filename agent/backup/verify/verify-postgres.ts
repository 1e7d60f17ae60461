// Proves a PostgreSQL backup by restoring it: roles, then each database in three sections, stopping at the first failure, since
// post-data can end well after data has failed; extensions are looked for between pre-data and data; then what must be in it is looked
// for: the rows that the source had, no rows without their parent, and what the manifest names.

import type { BackupFile, SourceFacts } from "../core/backup-record.ts";
import { compareRows, findSuperuser, quoteDatabase } from "../engines/postgres-words.ts";
import { Allowlist, readRefusedKeys, UNCHECKED_KEYS } from "./postgres-orphans.ts";
import type { BoxAnswer, RestoreBox, RestoreInput, Verdict, VerifyClock } from "./restore-box.ts";
import { Finding, judgeProof, VerifySession } from "./verify-session.ts";
import { describeCount } from "../../../shared/text/count.ts";

type Section = "pre-data" | "data" | "post-data";
/** The machine's faults, in the words of PostgreSQL and libpq. */
export const POSTGRES_MACHINE =
  /server closed the connection unexpectedly|in recovery mode|crash of another server process/i;
/** An extension that the server could not make: its files are not in the image, or it must be loaded at the start. */
const NO_EXTENSION =
  /extension "([^"]+)" (?:is not available|has no installation script)|extension control file "[^"]*\/([^"/]+)\.control"|could not access file "\$libdir\/([^"]+)"|(\w+) (?:can only|must) be (?:loaded|created) (?:via|in)/i;
/** The archive is of a format that this pg_restore does not know. */
const OTHER_FORMAT = /unsupported version \([\d.]+\) in file header/;

/** Restores a backup in a box and says what came of it. Never throws. */
export function verifyPostgres(box: RestoreBox, input: RestoreInput, clock: VerifyClock): Promise<Verdict> {
  const proof = new PostgresProof(new VerifySession({ box, input, clock }, POSTGRES_MACHINE));
  return judgeProof(box, () => proof.prove());
}

/** Looks into databases that are there, as a proof of dumps does after its restore, and reads every row. Throws a `Finding`. */
export function lookIntoDatabases(session: VerifySession): Promise<string> {
  return new PostgresProof(session).look();
}

class PostgresProof {
  readonly #session: VerifySession;
  readonly #input: RestoreInput;
  readonly #allowlist: Allowlist;
  readonly #user: string;
  /** Extensions that came out of the dumps, and those that were made beside them. */
  readonly #dumped = new Set<string>();
  readonly #made = new Set<string>();

  constructor(session: VerifySession) {
    this.#session = session;
    this.#input = session.input;
    this.#user = findSuperuser(session.input.settings.user, session.input.files);
    this.#allowlist = new Allowlist(session.input.expectations.allowed, session.input.nowMs);
  }

  async prove(): Promise<string> {
    const { files } = this.#input;
    const databases = files.filter(({ kind }) => kind === "database");
    if (databases.length === 0) throw new Finding("bad", "it holds no database");
    await this.#session.waitUntilReady(["pg_isready", "-h", "127.0.0.1", "-U", this.#user]);
    for (const file of files.filter(({ kind }) => kind === "globals")) await this.#restoreRoles(file);
    const restored: string[] = [];
    for (const file of databases) {
      await this.#restoreDatabase(file);
      const tables = describeCount(await this.#countTables(file.content), "table");
      const rows = await this.#compareRows(file);
      restored.push(`${file.content} with ${tables}${rows}`);
      await this.#findOrphans(file.content);
    }
    await this.#meetExpectations(databases.map(({ content }) => content));
    const notes = this.#allowlist.notes.map((note) => `; ${note}`).join("");
    return `restored ${restored.join(", ")} in ${this.#session.took}${notes}`;
  }

  async look(): Promise<string> {
    const { databases: named } = this.#input.settings;
    const all = "select datname from pg_database where datallowconn and not datistemplate order by datname";
    const there = (await this.#ask("postgres", all)).split("\n");
    const absent = named?.find((name) => !there.includes(name));
    if (absent !== undefined) throw new Finding("bad", `the database ${absent} is not in it`);
    const databases = named ?? there;
    const found: string[] = [];
    for (const name of databases) {
      for (const extension of (await this.#ask(name, "select extname from pg_extension")).split("\n"))
        this.#dumped.add(extension);
      // What a damaged page holds nobody sees until it is read.
      const reading = ["pg_dump", ...this.#connect, "--file=/dev/null", "-d", quoteDatabase(name)];
      const answer = await this.#session.run(reading);
      if (/permission denied/.test(answer.output))
        throw new Finding("unknown", `${name}: ${this.#user} may not read all of it: ${answer.output.trim()}`);
      this.#judge(`${name}: read all rows`, answer);
      found.push(`${name} with ${describeCount(await this.#countTables(name), "table")}`);
      await this.#findOrphans(name);
    }
    await this.#meetExpectations(databases);
    return found.join(", ") + this.#allowlist.notes.map((note) => `; ${note}`).join("");
  }

  /** The box has its own superuser, so that one of them is there already. */
  async #restoreRoles(file: BackupFile): Promise<void> {
    const answer = await this.#psql("postgres", [
      "--file",
      this.#session.locate(file.file),
      "--set",
      "ON_ERROR_STOP=0",
    ]);
    this.#session.judge("the roles", answer);
    const lines = answer.output.split("\n");
    const first = lines.find((line) => /\bERROR:/.test(line) && !/already exists/.test(line));
    if (first !== undefined) throw new Finding("bad", `the roles: ${first.trim()}`);
  }

  async #restoreDatabase({ content, file, facts }: BackupFile): Promise<void> {
    const path = this.#session.locate(file);
    const list = await this.#session.run(["pg_restore", "--list", path]);
    this.#judge(`${content}: its table of contents`, list);
    const entries = /TOC Entries: (\d+)/.exec(list.output)?.[1];
    if (facts?.entries !== undefined && entries !== undefined && Number(entries) !== facts.entries)
      throw new Finding(
        "bad",
        `${content}: ${entries} entries are in its table of contents, and ${facts.entries} were`,
      );
    await this.#createDatabase(content, facts);
    let first = await this.#restoreSection("pre-data", { content, path });
    // A dump of chosen schemas makes that one too, which every new database has.
    if (first.exitCode !== 0 && /schema "public" already exists/.test(first.output) && content !== "postgres") {
      await this.#session.expect(`${content}: make it anew`, ["dropdb", ...this.#connect, "--", content]);
      await this.#createDatabase(content, facts);
      await this.#ask(content, "drop schema public");
      first = await this.#restoreSection("pre-data", { content, path });
    }
    this.#judge(`${content}: restore pre-data`, first);
    await this.#createExtensions(content);
    this.#judge(`${content}: restore data`, await this.#restoreSection("data", { content, path }));
    const last = await this.#restoreSection("post-data", { content, path });
    if (!this.#isAllowed(last)) this.#judge(`${content}: restore post-data`, last);
  }

  get #connect(): string[] {
    return ["-h", "127.0.0.1", "-U", this.#user];
  }

  /** As the source keeps its texts, where this image can; bytes that are no text in another encoding are no fault of a backup. */
  async #createDatabase(content: string, facts: SourceFacts | undefined): Promise<void> {
    if (content === "postgres") return;
    const make = (options: readonly string[]): Promise<BoxAnswer> =>
      this.#session.run(["createdb", ...this.#connect, "-T", "template0", ...options, "--", content]);
    const { encoding } = facts ?? {};
    if (encoding !== undefined) {
      const { name, collate, ctype } = encoding;
      if ((await make(["-E", name, `--lc-collate=${collate}`, `--lc-ctype=${ctype}`])).exitCode === 0) return;
      if ((await make(["-E", name, "--locale=C"])).exitCode === 0) return;
    }
    this.#judge(`${content}: create it`, await make([]));
  }

  /** One section; the last one goes on past foreign keys that may have orphans. */
  #restoreSection(section: Section, { content, path }: { content: string; path: string }): Promise<BoxAnswer> {
    const goesOn = section === "post-data" && !this.#allowlist.isEmpty;
    const stop = goesOn ? [] : ["--exit-on-error"];
    const database = quoteDatabase(content);
    return this.#session.run(["pg_restore", ...this.#connect, ...stop, `--section=${section}`, "-d", database, path]);
  }

  /** True where all that failed are foreign keys that may have orphans. */
  #isAllowed({ exitCode, output }: BoxAnswer): boolean {
    if (exitCode === 0 || this.#allowlist.isEmpty) return exitCode === 0;
    const { keys, ignored } = readRefusedKeys(output);
    const refused = keys.find((key) => !this.#allowlist.allows(key));
    if (refused !== undefined)
      throw new Finding(
        "bad",
        `rows have no parent by the foreign key ${refused.name}, ${refused.from} → ${refused.to}: it cannot be made`,
      );
    return ignored !== undefined && keys.length === ignored;
  }

  /** What the manifest names, before the rows that need it: a dump without it is found out at the end. */
  async #createExtensions(database: string): Promise<void> {
    const present = (await this.#ask(database, "select extname from pg_extension")).split("\n");
    for (const name of present) this.#dumped.add(name);
    for (const name of this.#input.expectations.extensions.filter((extension) => !present.includes(extension))) {
      const quoted = `"${name.replaceAll('"', '""')}"`;
      const answer = await this.#psql(database, ["--command", `create extension if not exists ${quoted} cascade`]);
      if (answer.exitCode === 0) this.#made.add(name);
    }
  }

  async #countTables(database: string): Promise<number> {
    const query = "select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')";
    return Number(await this.#ask(database, query));
  }

  /** What the source had in the dump's own snapshot. */
  async #compareRows({ content, facts }: BackupFile): Promise<string> {
    const rows = facts?.rows;
    if (rows === undefined) return "";
    for (const query of compareRows(rows)) {
      const line = await this.#ask(content, query);
      if (line === "") continue;
      const [table, had, has] = line.split("\t");
      throw new Finding("bad", `${content}: ${table} had ${describeCount(Number(had), "row")} and has ${has} here`);
    }
    const total = Object.values(rows).reduce((sum, count) => sum + count, 0);
    return ` and all ${describeCount(total, "row")} of the source`;
  }

  /** Foreign keys that were never validated are restored as they are: rows without their parent are looked for. */
  async #findOrphans(database: string): Promise<void> {
    // One after the other: what a command prints is kept up to a limit.
    for (let at = 0; ; at += 1) {
      const line = await this.#ask(database, `${UNCHECKED_KEYS} limit 1 offset ${at}`);
      if (line === "") return;
      const [name = "", from = "", to = "", query = ""] = line.split("\t");
      const count = Number(await this.#ask(database, query));
      if (count === 0 || this.#allowlist.allows({ name, from, to })) continue;
      const rows = describeCount(count, "row has", "rows have");
      throw new Finding("bad", `${database}: ${rows} no parent by the foreign key ${name}, ${from} → ${to}`);
    }
  }

  async #meetExpectations(databases: readonly string[]): Promise<void> {
    const { extensions, schemas, queries } = this.#input.expectations;
    const found = new Set<string>();
    for (const database of databases) {
      for (const name of (await this.#ask(database, "select distinct schemaname from pg_tables")).split("\n"))
        found.add(name);
    }
    const absent = extensions.find((name) => !this.#dumped.has(name));
    // It could not even be made: then the image lacks it, and nobody knows what the backup needs.
    if (absent !== undefined && !this.#made.has(absent)) throw new Finding("unknown", describeNoExtension(absent));
    if (absent !== undefined) throw new Finding("bad", `the extension ${absent} is not in it`);
    const noSchema = schemas.find((name) => !found.has(name));
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
    const connect = ["psql", "-h", "127.0.0.1", "-U", this.#user, "--no-psqlrc", "-Atq", "-F", "\t"];
    return this.#session.run([...connect, "--dbname", quoteDatabase(database), ...parameters]);
  }

  #judge(doing: string, answer: BoxAnswer): void {
    if (answer.exitCode !== 0 && !this.#session.isMachine(answer.output)) {
      const found = NO_EXTENSION.exec(answer.output);
      const extension = found?.slice(1).find((name) => name !== undefined);
      if (extension !== undefined) throw new Finding("unknown", `${doing}: ${describeNoExtension(extension)}`);
      if (OTHER_FORMAT.test(answer.output) && !this.#input.ownImage)
        throw new Finding("unknown", `${doing}: the image is older than the dump: name another one as verify.image`);
    }
    this.#session.judge(doing, answer);
  }
}

/** A finding of its own: no verdict on the backup. */
function describeNoExtension(name: string): string {
  return `the server that it is restored into has no extension ${name}: name an image that has it as verify.image`;
}
