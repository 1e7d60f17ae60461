// Proves a MariaDB or MySQL backup by restoring it: its databases, then its accounts; then every table is checked, rows without their
// parent are looked for, since a dump is loaded without looking at foreign keys, and so is what the manifest names.

import type { BackupFile } from "../core/backup-record.ts";
import type { RestoreBox, RestoreInput, Verdict, VerifyClock } from "./restore-box.ts";
import { Finding, judgeProof, VerifySession } from "./verify-session.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** The machine's faults, in the words of client and server. */
export const MYSQL_MACHINE =
  /lost connection to|server has gone away|can't create\/write to file|error on write|disk full/i;
const HOST = ["-h", "127.0.0.1"];
const CLIENTS = ["mariadb", "mysql"];
const END = "-- Dump completed";
/** Enough for its last line. */
const END_BYTES = 200;

/**
 * Restores a backup in a box and says what came of it. Never throws.
 * @param user who is let in there without a password
 */
export function verifyMysql(box: RestoreBox, input: RestoreInput, clock: VerifyClock, user = "root"): Promise<Verdict> {
  const proof = new MysqlProof(new VerifySession({ box, input, clock }, MYSQL_MACHINE), user);
  return judgeProof(box, () => proof.prove());
}

/** The client that the image has. */
interface MysqlClient {
  name: string;
  isMariadb: boolean;
}

/** Finds it; throws a finding where there is none. */
export async function findMysqlClient(session: VerifySession): Promise<MysqlClient> {
  let first: unknown;
  for (const name of CLIENTS) {
    try {
      const { exitCode, output } = await session.run([name, "--version"]);
      if (exitCode === 0) return { name, isMariadb: output.includes("MariaDB") };
    } catch (error) {
      first ??= error;
    }
  }
  throw first instanceof Error ? first : new Finding("unknown", "the image has no mariadb and no mysql");
}

class MysqlProof {
  readonly #session: VerifySession;
  readonly #login: readonly string[];
  #client = CLIENTS[0] ?? "";
  #isMariadb = false;

  constructor(session: VerifySession, user: string) {
    this.#session = session;
    this.#login = [...HOST, `-u${user}`];
  }

  async prove(): Promise<string> {
    const { files } = this.#session.input;
    const databases = files.filter(({ kind }) => kind === "database");
    if (databases.length === 0) throw new Finding("bad", "it holds no database");
    for (const file of files) await this.#findEnd(file);
    const client = await findMysqlClient(this.#session);
    [this.#client, this.#isMariadb] = [client.name, client.isMariadb];
    await this.#session.waitUntilReady([this.#client, ...this.#login, "-e", "select 1"]);
    const restored: string[] = [];
    for (const file of databases) {
      await this.#load(file);
      restored.push(await this.#look(file));
    }
    await this.#meetExpectations(databases.map(({ content }) => content));
    // Last: with them come the passwords of the source, and nobody gets in without them.
    for (const file of files.filter(({ kind }) => kind === "globals")) await this.#load(file);
    return `restored ${restored.join(", ")} in ${this.#session.took}`;
  }

  /** A text that was cut between two statements can be loaded: its last line says whether it is whole. */
  async #findEnd({ file, content }: BackupFile): Promise<void> {
    const path = this.#session.locate(file);
    const end = await this.#session.expect(`${content}: read its end`, ["tail", "-c", String(END_BYTES), path]);
    if (!end.includes(END)) throw new Finding("bad", `${content}: its end is missing`);
  }

  /** The first error is the last: MariaDB's client has to be told so. */
  async #load({ content, file }: BackupFile): Promise<void> {
    const path = this.#session.locate(file);
    await this.#session.expect(`${content}: restore`, [
      this.#client,
      ...this.#login,
      ...(this.#isMariadb ? ["--abort-source-on-error"] : []),
      "-e",
      `source ${path}`,
    ]);
  }

  async #look({ content, facts }: BackupFile): Promise<string> {
    const name = quoteSql(content);
    const tables = await this.#list(
      `select concat('\`', replace(table_name, '\`', '\`\`'), '\`') from information_schema.tables where table_schema = '${name}' and table_type = 'BASE TABLE' order by 1`,
    );
    const [entries = "0"] = await this.#list(
      `select count(*) from information_schema.tables where table_schema = '${name}'`,
    );
    if (facts?.entries !== undefined && Number(entries) !== facts.entries)
      throw new Finding(
        "bad",
        `${content}: of ${describeCount(facts.entries, "table or view", "tables and views")} it has ${entries}`,
      );
    for (const table of tables) await this.#check(content, table);
    await this.#findOrphans(content);
    return `${content} with ${describeCount(tables.length, "table")}`;
  }

  /** `Table Op Msg_type Msg_text`: the last row of a table says OK. */
  async #check(database: string, table: string): Promise<void> {
    const rows = await this.#list(`check table \`${quoteName(database)}\`.${table}`);
    const wrong = rows.find((row) => /\t(?:error|warning)\t/i.test(row)) ?? rows.find((row) => !row.endsWith("\tOK"));
    if (wrong !== undefined) throw new Finding("bad", `${database}: check table: ${wrong.replaceAll("\t", " ")}`);
  }

  async #findOrphans(database: string): Promise<void> {
    for (let at = 0; ; at += 1) {
      const [line] = await this.#list(`${listKeys(database)} limit 1 offset ${at}`);
      if (line === undefined) return;
      const [name = "", query = ""] = line.split("\t");
      const [count = "0"] = await this.#list(query);
      if (Number(count) > 0)
        throw new Finding(
          "bad",
          `${database}: ${describeCount(Number(count), "row has", "rows have")} no parent by the foreign key ${name}`,
        );
    }
  }

  async #meetExpectations(databases: readonly string[]): Promise<void> {
    const { schemas, queries } = this.#session.input.expectations;
    const noSchema = schemas.find((name) => !databases.includes(name));
    if (noSchema !== undefined) throw new Finding("bad", `the schema ${noSchema} is not in it`);
    for (const query of queries) {
      const answers: string[] = [];
      for (const database of databases) {
        const answer = await this.#session.run([this.#client, ...this.#login, "-N", "-B", "-D", database, "-e", query]);
        answers.push(answer.exitCode === 0 ? answer.output.trim() : "");
      }
      if (!answers.includes("1")) throw new Finding("bad", `no database answers true to: ${query}`);
    }
  }

  async #list(query: string): Promise<string[]> {
    const text = await this.#session.expect("look into it", [
      this.#client,
      ...this.#login,
      "-N",
      "-B",
      "--raw",
      "-e",
      query,
    ]);
    return text.split("\n").filter((line) => line !== "");
  }
}

function quoteSql(text: string): string {
  return text.replaceAll(/['\\]/g, String.raw`\$&`);
}

function quoteName(text: string): string {
  return text.replaceAll("`", "``");
}

/** One row for each foreign key: its name and the query that counts its orphans (information_schema.key_column_usage). */
function listKeys(database: string): string {
  const quote = (column: string): string => `concat('\`', replace(${column}, '\`', '\`\`'), '\`')`;
  return `
select constraint_name, concat('select count(*) from ', ${quote("table_schema")}, '.', ${quote("table_name")}, ' c where ',
  group_concat(concat('c.', ${quote("column_name")}, ' is not null') order by ordinal_position separator ' and '),
  ' and not exists (select 1 from ', ${quote("referenced_table_schema")}, '.', ${quote("referenced_table_name")}, ' p where ',
  group_concat(concat('p.', ${quote("referenced_column_name")}, ' = c.', ${quote("column_name")}) order by ordinal_position separator ' and '), ')')
from information_schema.key_column_usage where table_schema = '${quoteSql(database)}' and referenced_table_name is not null
group by table_schema, table_name, constraint_name, referenced_table_schema, referenced_table_name
order by table_name, constraint_name`.replaceAll(/\s*\n\s*/g, " ");
}
