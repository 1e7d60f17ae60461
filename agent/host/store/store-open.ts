// Opens the agent's state however the file and the disk are, and says what of it cannot be used. Used by the store alone.
// A damaged file is moved aside and begun anew; a disk that takes nothing leaves what it holds readable.

import { renameSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";

import { statePath } from "../state-layout.ts";
import { exitRecord } from "../../../shared/state/kept/memory-schema.ts";
import { readRelease } from "../../../shared/state/kept/release-schema.ts";
import type { Lost } from "../../../shared/state/kept/salvage.ts";
import { openChecked, openInMemory, StateDamagedError, StateTooNewError } from "./store-schema.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { makeDirectorySync } from "../files/make-directory.ts";

/** A state that is open. */
export interface OpenedDatabase {
  path: string;
  database: DatabaseSync;
  /** What was wrong with the file, in words. */
  trouble: string | undefined;
}

/** Parts set aside that are kept, and how long each may be. */
const KEPT_ASIDE = { rows: 200, characters: 65_536 };

/**
 * Opens the state in a directory, making it where it is missing.
 * Throws StateTooNewError for the state of a later version that this one must not use.
 */
export function openDatabase(stateDir: string, nowMs: number): OpenedDatabase {
  makeDirectorySync(stateDir, 0o700);
  const path = statePath(stateDir, "store");
  try {
    return { path, database: openChecked(path), trouble: undefined };
  } catch (error) {
    if (error instanceof StateTooNewError) throw error;
    const reason = readMessage(error);
    if (!(error instanceof StateDamagedError)) return openUnwritable(path, reason);
    const aside = `${path}.damaged-${nowMs}`;
    for (const suffix of ["", "-wal", "-shm"]) moveAside(`${path}${suffix}`, `${aside}${suffix}`);
    const trouble = `the state could not be read (${reason}); it was moved to ${aside} and begun anew`;
    return { path, database: openChecked(path), trouble };
  }
}

function openUnwritable(path: string, reason: string): OpenedDatabase {
  const database = openInMemory();
  const known = copyReadable(path, database) ? "what it holds is used" : "nothing of it could be read";
  const until = "until the agent is started again on a disk that takes it";
  const trouble = `the state in ${path} cannot be written (${reason}): ${known}, and what is new is kept in memory only, ${until}`;
  return { path, database, trouble };
}

/** Copies what can be read of a file that cannot be written, every table that this version has; false where nothing can. */
function copyReadable(path: string, to: DatabaseSync): boolean {
  try {
    const from = new DatabaseSync(path, { readOnly: true });
    for (const table of listNames(
      to,
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    ))
      copyTable(table, from, to);
    from.close();
    return true;
  } catch {
    return false;
  }
}

/** The file may be of a version before, which lacks a table or a column. */
function copyTable(table: string, from: DatabaseSync, to: DatabaseSync): void {
  const columns = `SELECT name FROM pragma_table_info('${table}')`;
  const there = listNames(from, columns);
  const both = listNames(to, columns).filter((column) => there.includes(column));
  if (both.length === 0) return;
  const into = `INSERT OR REPLACE INTO ${table} (${both.join(", ")}) VALUES (${both.map(() => "?").join(", ")})`;
  const insert = to.prepare(into);
  const select = from.prepare(`SELECT ${both.join(", ")} FROM ${table}`);
  select.setReadBigInts(true);
  for (const row of select.all()) insert.run(...Object.values(row));
}

function listNames(database: DatabaseSync, query: string): string[] {
  return database
    .prepare(query)
    .all()
    .map(({ name }) => String(name));
}

function moveAside(path: string, aside: string): void {
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

/** The JSON of a row; undefined where it is none. */
export function parseBody(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return undefined;
  }
}

/** Keeps what could not be read beside the rest. A disk that takes nothing costs no more than that. */
export function setAside(database: DatabaseSync, lost: readonly Lost[], nowMs: number): void {
  try {
    for (const { path, reason, value } of lost) {
      const body = (JSON.stringify(value) ?? "null").slice(0, KEPT_ASIDE.characters);
      database
        .prepare("INSERT INTO aside (at_ms, path, reason, body) VALUES (?, ?, ?, ?)")
        .run(Math.trunc(nowMs), path, reason, body);
    }
    database
      .prepare("DELETE FROM aside WHERE id NOT IN (SELECT id FROM aside ORDER BY id DESC LIMIT ?)")
      .run(KEPT_ASIDE.rows);
  } catch {
    // It is said all the same, and stays in its place until something is written over it.
  }
}

/** What is wrong with stored releases and exits. A bad row stays where it is, for a version that can use it, until newer ones have displaced it. */
export function listBadRows(database: DatabaseSync): string[] {
  const list = (table: "release" | "exit"): { service: string; body: string }[] =>
    database.prepare(`SELECT service, body FROM ${table} ORDER BY id`).all() as { service: string; body: string }[];
  const releases = list("release").flatMap(({ service, body }) => {
    const { release, fault } = readRelease(parseBody(body));
    const named =
      release === undefined ? `a stored release of ${service}` : `the release ${release.revision} of ${service}`;
    return fault === undefined ? [] : [`${named} could not be read (${fault}): it cannot be gone back to`];
  });
  const bad = list("exit").filter(({ body }) => !exitRecord.safeParse(parseBody(body)).success);
  const exits = [...new Set(bad.map(({ service }) => service))];
  return [...releases, ...exits.map((service) => `a stored exit of ${service} could not be read: it is passed over`)];
}
