// The tables of the agent's state, and whether a file of them can be trusted. Used by the store alone.

import { DatabaseSync } from "node:sqlite";

import { makePrivate, takeFromOthers } from "./private-file.ts";

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS document (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS content (hash TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS exit (
    id INTEGER PRIMARY KEY, service TEXT NOT NULL, finished_ms INTEGER NOT NULL, body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS exit_by_service ON exit (service, finished_ms);
  CREATE TABLE IF NOT EXISTS release (
    id INTEGER PRIMARY KEY, service TEXT NOT NULL, settled_ms INTEGER NOT NULL, body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS release_by_service ON release (service, settled_ms);
`;

/** Opens the file, making its tables where there are none. Throws where it is damaged. */
export function openChecked(path: string): DatabaseSync {
  // What SQLite makes beside it has the mode of the file itself.
  makePrivate(path);
  for (const suffix of ["-wal", "-shm"]) takeFromOthers(`${path}${suffix}`);
  const database = new DatabaseSync(path);
  try {
    database.exec(SCHEMA);
    const check = database.prepare("PRAGMA quick_check").get() as { quick_check?: string } | undefined;
    if (check?.quick_check !== "ok") throw new Error(check?.quick_check ?? "quick_check gave no answer");
    for (const row of database.prepare("SELECT body FROM document").all() as { body: string }[]) JSON.parse(row.body);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}
