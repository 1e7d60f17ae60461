// How a PostgreSQL is asked for its log: the clients of its own image, beside it at 127.0.0.1, with the user and password that dumps have.
// Used by the child for bases and by the agent for slots and receivers. Changes nothing on the server but the slot.

import { isAccessFault } from "../engines/postgres-access.ts";
import { quoteDatabase } from "../engines/postgres-words.ts";
import { readAll } from "../engines/source-program.ts";
import { SECRET_FOLDER, type RunHow, type StoreSettings, type StoreSource } from "../engines/store-engine.ts";
import type { RunningDump } from "../dump-port.ts";
import { askLook, parseLook, RECEIVER_NAME, type WalLook } from "./core/wal-look.ts";

/** Where the file with the password is, in a container that has one. */
const PASSFILE = "pgpass";

/** The server cannot be asked now: it does not run, or refuses who asks. */
export class NoServer extends Error {
  /** It lets nobody in who asks so, and a person has to say something there. */
  readonly isRefusal: boolean;

  constructor(message: string, isRefusal: boolean) {
    super(message);
    this.name = "NoServer";
    this.isRefusal = isRefusal;
  }
}

/** The file that libpq reads a password from ("The Password File"). */
export function writePassfile(password: string): { name: string; text: string } {
  return { name: PASSFILE, text: `*:*:*:*:${password.replaceAll(/[\\:]/g, String.raw`\$&`)}\n` };
}

/** What every client of the server gets: nothing secret. */
export function buildEnvironment({ password }: Pick<StoreSettings, "password">): Readonly<Record<string, string>> {
  const common = { PGAPPNAME: RECEIVER_NAME, PGCONNECT_TIMEOUT: "10", LC_ALL: "C" };
  return password === undefined ? common : { ...common, PGPASSFILE: `${SECRET_FOLDER}/${PASSFILE}` };
}

/** How a client reaches the server: right after the program's name. */
export function connectAs({ user }: Pick<StoreSettings, "user">): string[] {
  return ["-h", "127.0.0.1", "-U", user, "--no-password"];
}

/** The argv of one statement, for a container that has the environment of a client. */
export function buildStatement(settings: Pick<StoreSettings, "user" | "databases">, statement: string): string[] {
  return ["psql", ...connectAs(settings), ...listWords(settings, statement)];
}

function listWords({ databases }: Pick<StoreSettings, "databases">, statement: string): string[] {
  const database = quoteDatabase(databases?.[0] ?? "postgres");
  return ["--no-psqlrc", "-Atq", "-F", "\t", `--dbname=${database}`, `--command=${statement}`];
}

/** Runs a client in a container of its own. */
export function runClient(source: StoreSource, [program = "", ...parameters]: readonly string[]): Promise<RunningDump> {
  const { settings } = source;
  const how: RunHow = {
    env: buildEnvironment(settings),
    ...(settings.password === undefined ? {} : { secret: writePassfile(settings.password) }),
  };
  return source.run([program, ...connectAs(settings), ...parameters], how);
}

/** Asks one statement in a container of its own. Throws a `NoServer`. */
export async function askServer(source: StoreSource, statement: string): Promise<string> {
  const words = listWords(source.settings, statement);
  const { exitCode, stderr, text } = await readAll(await runClient(source, ["psql", ...words]));
  return readAnswer({ exitCode, output: exitCode === 0 ? text : stderr });
}

/** What a statement answered. Throws a `NoServer`. */
export function readAnswer({ exitCode, output }: { exitCode: number; output: string }): string {
  if (exitCode === 0) return output.trimEnd();
  throw new NoServer(`the server gave no answer: ${output.trim()}`, isAccessFault(output));
}

/** Looks at a server and at one slot of it. Throws a `NoServer`. */
export async function lookAtServer(source: StoreSource, slot: string): Promise<WalLook> {
  return expectLook(await askServer(source, askLook(slot)));
}

/** Reads a look. Throws a `NoServer`. */
export function expectLook(answer: string): WalLook {
  const look = parseLook(answer);
  if (look === undefined) throw new NoServer(`the server answered ${JSON.stringify(answer.slice(0, 200))}`, false);
  return look;
}
