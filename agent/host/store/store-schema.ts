// The tables of the agent's state, their version, and whether a file of them can be trusted. Used by the store alone.
// A schema only ever grows: the version before must be able to open what this one writes, and finds what it knows in its place.

import { DatabaseSync } from "node:sqlite";

import { VERSION } from "../../../shared/version.ts";
import { makePrivate, takeFromOthers } from "../files/private-file.ts";

/**
 * What each version of the schema added. Version 1 is what was there before versions were counted; its statements run on every
 * file. Never changed once released: a later need is a later version.
 */
const MIGRATIONS: readonly { version: number; statements: string }[] = [
  {
    version: 1,
    statements: `
      CREATE TABLE IF NOT EXISTS document (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS content (hash TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS exit (
        id INTEGER PRIMARY KEY, service TEXT NOT NULL, finished_ms INTEGER NOT NULL, body TEXT NOT NULL
      ) STRICT;
      CREATE INDEX IF NOT EXISTS exit_by_service ON exit (service, finished_ms);
      CREATE TABLE IF NOT EXISTS release (
        id INTEGER PRIMARY KEY, service TEXT NOT NULL, settled_ms INTEGER NOT NULL, body TEXT NOT NULL
      ) STRICT;
      CREATE INDEX IF NOT EXISTS release_by_service ON release (service, settled_ms);`,
  },
  {
    // What could not be read, so that nothing is lost by being left out.
    version: 2,
    statements: `
      CREATE TABLE IF NOT EXISTS aside (
        id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, path TEXT NOT NULL, reason TEXT NOT NULL, body TEXT NOT NULL
      ) STRICT;`,
  },
  {
    // How long each service was up, when nobody looked, incidents, and when other nodes were lost.
    version: 3,
    statements: `
      CREATE TABLE IF NOT EXISTS availability (
        id INTEGER PRIMARY KEY, service TEXT NOT NULL, hour_ms INTEGER NOT NULL,
        up_ms INTEGER NOT NULL, down_ms INTEGER NOT NULL, unknown_ms INTEGER NOT NULL, UNIQUE (service, hour_ms)
      ) STRICT;
      CREATE TABLE IF NOT EXISTS gap (
        id INTEGER PRIMARY KEY, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, services TEXT NOT NULL,
        down_from INTEGER, down_to INTEGER
      ) STRICT;
      CREATE TABLE IF NOT EXISTS incident (
        id INTEGER PRIMARY KEY, service TEXT NOT NULL, began_ms INTEGER NOT NULL, ended_ms INTEGER,
        took_ms INTEGER NOT NULL, state TEXT NOT NULL
      ) STRICT;
      CREATE TABLE IF NOT EXISTS loss (
        id INTEGER PRIMARY KEY, node TEXT NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER
      ) STRICT;`,
  },
];

/** The schema that this version of Orca writes. */
export const SCHEMA_VERSION = 3;
/** The oldest schema whose versions of Orca can use a file of this one. Raised only where a meaning changes. */
const READABLE_FROM = 1;

/** What a file says of itself, in the document `schema`; a file from before says nothing, and is version 1. */
interface SchemaMark {
  version: number;
  readableFrom: number;
  /** The version of Orca that brought the file to this schema. */
  writtenBy: string;
}

/** Primary result codes of SQLite that say that the file itself is bad (sqlite.org/rescode.html): SQLITE_CORRUPT, SQLITE_NOTADB. */
const BAD_FILE = new Set([11, 26]);

/** The file is no database any more. */
export class StateDamagedError extends Error {
  override name = "StateDamagedError";
}

/** A later version wrote the file, and says that this one would misread it. */
export class StateTooNewError extends Error {
  override name = "StateTooNewError";
}

/**
 * Opens the file, making its tables and bringing it to this version's schema.
 * Throws StateDamagedError for a file that is none, StateTooNewError for one that this version must not use, and the engine's
 * own error where the disk does not let it (full, read-only).
 */
export function openChecked(path: string): DatabaseSync {
  // What SQLite makes beside it has the mode of the file itself.
  makePrivate(path);
  for (const suffix of ["-wal", "-shm"]) takeFromOthers(`${path}${suffix}`);
  const database = new DatabaseSync(path);
  try {
    // Before anything is written: a file of a later version stays as it is.
    refuseNewer(path, readMark(database));
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
    const check = database.prepare("PRAGMA quick_check").get() as { quick_check?: string } | undefined;
    if (check?.quick_check !== "ok") throw new StateDamagedError(check?.quick_check ?? "quick_check gave no answer");
    migrate(database);
    return database;
  } catch (error) {
    database.close();
    throw nameDamage(error);
  }
}

/** An empty store that lives in memory, for an agent whose disk takes nothing. */
export function openInMemory(): DatabaseSync {
  const database = new DatabaseSync(":memory:");
  migrate(database);
  return database;
}

function migrate(database: DatabaseSync): void {
  const mark = readMark(database);
  for (const { version, statements } of MIGRATIONS) {
    if (version > 1 && version <= (mark?.version ?? 1)) continue;
    database.exec(`BEGIN IMMEDIATE; ${statements} COMMIT;`);
  }
  // A file of a later schema keeps its mark: what that version added is still in it.
  if (mark !== undefined && mark.version >= SCHEMA_VERSION) return;
  const body = JSON.stringify({ version: SCHEMA_VERSION, readableFrom: READABLE_FROM, writtenBy: VERSION });
  database
    .prepare("INSERT INTO document VALUES ('schema', ?) ON CONFLICT DO UPDATE SET body = excluded.body")
    .run(body);
}

function readMark(database: DatabaseSync): SchemaMark | undefined {
  const table = database.prepare("SELECT name FROM sqlite_schema WHERE name = 'document'").get();
  if (table === undefined) return undefined;
  const row = database.prepare("SELECT body FROM document WHERE name = 'schema'").get();
  try {
    const mark = JSON.parse((row as { body: string } | undefined)?.body ?? "null") as Partial<SchemaMark> | null;
    if (typeof mark?.version !== "number" || typeof mark.readableFrom !== "number") return undefined;
    return { version: mark.version, readableFrom: mark.readableFrom, writtenBy: String(mark.writtenBy) };
  } catch {
    return undefined;
  }
}

function refuseNewer(path: string, mark: SchemaMark | undefined): void {
  if (mark === undefined || mark.readableFrom <= SCHEMA_VERSION) return;
  throw new StateTooNewError(
    `the state in ${path} was written by Orca ${mark.writtenBy} and can be used from schema ${mark.readableFrom} on; ` +
      `this is Orca ${VERSION}, which knows schema ${SCHEMA_VERSION}. Install Orca ${mark.writtenBy} or a later one. ` +
      `(Or move the file away: containers run on, but backoff, history and what a person stopped or paused is forgotten.)`,
  );
}

function nameDamage(error: unknown): unknown {
  const code = (error as { errcode?: unknown }).errcode;
  if (typeof code !== "number" || !BAD_FILE.has(code & 0xff)) return error;
  return new StateDamagedError((error as Error).message, { cause: error });
}
