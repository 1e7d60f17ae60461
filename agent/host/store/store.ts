// The agent's state on disk: SQLite in WAL mode, from the runtime itself. Losing it costs history and backoff, never a
// container. A damaged file is moved aside and begun anew; a full disk is reported and the agent goes on in memory.

import { existsSync, rmSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";

import { statePath } from "../state-layout.ts";
import type { ColdStartMemory } from "../../../shared/state/cold-start.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import type { InForce } from "../../../shared/state/in-force.ts";
import { readColdStarts } from "../../../shared/state/kept/cold-start-schema.ts";
import { readInForce } from "../../../shared/state/kept/in-force-schema.ts";
import { exitRecord, readNodeMemory } from "../../../shared/state/kept/memory-schema.ts";
import { mapFromStored, mapToStored } from "../../../shared/state/kept/service-parts.ts";
import { readRelease, type StoredRelease, writeRelease } from "../../../shared/state/kept/release-schema.ts";
import type { Lost } from "../../../shared/state/kept/salvage.ts";
import { EMPTY_MEMORY, type ExitRecord, type NodeMemory, type ReleaseRecord } from "../../../shared/state/memory.ts";
import { findKeptHash } from "../../../shared/state/file-content.ts";
import { addForeign, findForeign, type Foreign } from "./store-foreign.ts";
import { PromiseStore } from "./promise-store.ts";
import { listBadRows, openDatabase, type OpenedDatabase, parseBody, setAside } from "./store-open.ts";

/** Exits and releases kept for each service; a release keeps the content of its files. */
const KEPT_ROWS = { exit: 50, release: 10 };

/** What one turn saves: all of it or nothing. */
export interface Saved {
  memory: NodeMemory;
  coldStarts: ColdStartMemory;
  inForce: InForce | undefined;
  contents: ReadonlyMap<string, Uint8Array>;
  newExits: readonly ExitRecord[];
  newReleases: readonly NewRelease[];
}

/** A release that has settled, with everything that is needed to run it again. */
interface NewRelease extends ReleaseRecord {
  service: string;
  desired: DesiredService;
}

const READERS = { memory: readNodeMemory, "cold-starts": readColdStarts, "in-force": readInForce };

/** The state of one agent. */
export class Store {
  readonly #path: string;
  #database: DatabaseSync;
  #written = new Map<string, string>();
  #inForce: InForce | undefined;
  #foreign: Foreign | undefined;
  /** Releases that were looked for; a rollout asks for the same one at each turn. */
  readonly #found = new Map<string, DesiredService | undefined>();
  readonly #troubles: string[] = [];
  /** What promises are judged by. */
  readonly promises: PromiseStore;
  /** What has been run once is compiled once. */
  readonly #statements = new Map<string, StatementSync>();

  private constructor({ path, database, trouble }: OpenedDatabase) {
    this.#path = path;
    this.#database = database;
    this.promises = new PromiseStore(database);
    if (trouble !== undefined) this.#troubles.push(trouble);
  }

  /** Opens the state in a directory, making it where it is missing, and reads all of it once. Throws StateTooNewError. */
  static open(stateDir: string, nowMs: number): Store {
    const store = new Store(openDatabase(stateDir, nowMs));
    store.#checkDocuments(nowMs);
    store.#troubles.push(...listBadRows(store.#database));
    return store;
  }

  /** What was found wrong when it was opened, in words; empty where all is well. */
  get troubles(): readonly string[] {
    return this.#troubles;
  }

  /** What the agent remembers; empty where nothing is stored. */
  loadMemory(): NodeMemory {
    const stored = this.#readDocument("memory", []);
    if (stored === undefined) return EMPTY_MEMORY;
    const read = readNodeMemory(stored, []);
    this.#foreign = findForeign(read);
    return mapFromStored(read);
  }

  /** What is known of cold starts. */
  loadColdStarts(): ColdStartMemory | undefined {
    const stored = this.#readDocument("cold-starts", []);
    return stored === undefined ? undefined : readColdStarts(stored, []);
  }

  /** The inputs last accepted. */
  loadInForce(): InForce | undefined {
    const stored = this.#readDocument("in-force", []);
    return stored === undefined ? undefined : readInForce(stored, []);
  }

  /** The content of accepted files, by hash. */
  loadContents(): Map<string, Uint8Array> {
    const rows = this.#database.prepare("SELECT hash, body FROM content").all() as { hash: string; body: Uint8Array }[];
    return new Map(rows.map((row) => [row.hash, row.body]));
  }

  /** A service's last exits, newest first. */
  listExits(service: string, most: number): ExitRecord[] {
    const query = "SELECT body FROM exit WHERE service = ? ORDER BY finished_ms DESC, id DESC LIMIT ?";
    return this.#listBodies(query, service, most).flatMap((body) => {
      const exit = exitRecord.safeParse(body);
      return exit.success ? [exit.data] : [];
    });
  }

  /** A service's last good releases, newest first. */
  listReleases(service: string, most: number): ReleaseRecord[] {
    return this.#readReleases(service, most).map(({ desired: _desired, ...release }) => release);
  }

  /** A release as it ran, by its fingerprint; undefined where it is not kept. */
  findRelease(service: string, fingerprint: string): DesiredService | undefined {
    const key = `${service}\n${fingerprint}`;
    if (!this.#found.has(key)) {
      const rows = this.#readReleases(service, KEPT_ROWS.release);
      const found = rows.find((row) => row.fingerprint === fingerprint)?.desired;
      this.#found.set(key, found);
    }
    return this.#found.get(key);
  }

  /** The content of one file that was accepted once and that a kept release still needs. */
  findContent(hash: string): Uint8Array | undefined {
    const row = this.#database.prepare("SELECT body FROM content WHERE hash = ?").get(hash);
    return (row as { body: Uint8Array } | undefined)?.body;
  }

  /** Saves what a turn changed; throws when the disk does not take it, and has then saved nothing. */
  save(saved: Saved): void {
    const documents = new Map([
      ["memory", JSON.stringify(addForeign(mapToStored(saved.memory), this.#foreign))],
      ["cold-starts", writeOnce(saved.coldStarts)],
    ]);
    // It is large, and the same object as long as nothing new was read.
    if (saved.inForce !== undefined && saved.inForce !== this.#inForce)
      documents.set("in-force", JSON.stringify(saved.inForce));
    const changed = [...documents].filter(([name, body]) => this.#written.get(name) !== body);
    if (!changed.some(([name]) => name === "in-force")) this.#inForce = saved.inForce;
    if (changed.length === 0 && saved.newExits.length === 0 && saved.newReleases.length === 0) return;
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      for (const [name, body] of changed) {
        this.#run(
          "INSERT INTO document VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
          name,
          body,
        );
      }
      if (changed.some(([name]) => name === "in-force")) this.#saveContents(saved.contents);
      for (const exit of saved.newExits) this.#saveExit(exit);
      for (const { service, ...release } of saved.newReleases) this.#saveRelease(service, release);
      this.#database.exec("COMMIT");
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
    for (const [name, body] of changed) this.#written.set(name, body);
    this.#inForce = saved.inForce;
  }

  close(): void {
    this.#database.close();
  }

  /** Removes the state; used by `orca up --down`. */
  remove(): void {
    this.close();
    for (const suffix of ["", "-wal", "-shm"]) rmSync(`${this.#path}${suffix}`, { force: true });
  }

  /** A document as it is stored; one that is no JSON is put down in `lost`, and is as if it were not there. */
  #readDocument(name: string, lost: Lost[]): unknown {
    const row = this.#database.prepare("SELECT body FROM document WHERE name = ?").get(name);
    const body = (row as { body: string } | undefined)?.body;
    if (body === undefined) return undefined;
    this.#written.set(name, body);
    const value = parseBody(body);
    if (value === undefined) lost.push({ path: name, reason: "it is no JSON", value: body });
    return value;
  }

  #listBodies(query: string, ...values: (string | number)[]): unknown[] {
    return (this.#database.prepare(query).all(...values) as { body: string }[]).map((row) => parseBody(row.body));
  }

  #readReleases(service: string, most: number): StoredRelease[] {
    const query = "SELECT body FROM release WHERE service = ? ORDER BY settled_ms DESC, id DESC LIMIT ?";
    return this.#listBodies(query, service, most).flatMap((body) => readRelease(body).release ?? []);
  }

  /** What cannot be used is said at the start, not found in the bad hour. */
  #checkDocuments(nowMs: number): void {
    const lost: Lost[] = [];
    for (const [name, read] of Object.entries(READERS)) {
      const stored = this.#readDocument(name, lost);
      if (stored !== undefined) read(stored, lost);
    }
    for (const part of lost)
      this.#troubles.push(
        `the stored ${part.path} could not be read (${part.reason}): it was set aside in ${this.#path}`,
      );
    setAside(this.#database, lost, nowMs);
  }

  #saveContents(contents: ReadonlyMap<string, Uint8Array>): void {
    const stored = new Set(
      (this.#database.prepare("SELECT hash FROM content").all() as { hash: string }[]).map((row) => row.hash),
    );
    for (const [hash, body] of contents)
      if (!stored.has(hash)) this.#run("INSERT INTO content VALUES (?, ?)", hash, body);
    const kept = this.#listReleaseHashes();
    for (const hash of stored)
      if (!contents.has(hash) && !kept.has(hash)) this.#run("DELETE FROM content WHERE hash = ?", hash);
  }

  #listReleaseHashes(): Set<string> {
    const releases = this.#listBodies("SELECT body FROM release").map((body) => readRelease(body).release?.desired);
    return new Set(releases.flatMap((desired) => (desired === undefined ? [] : listHashes(desired))));
  }

  #saveExit(exit: ExitRecord): void {
    this.#run(
      "INSERT INTO exit (service, finished_ms, body) VALUES (?, ?, ?)",
      exit.service,
      exit.finishedMs,
      JSON.stringify(exit),
    );
    this.#trim("exit", exit.service);
  }

  #saveRelease(service: string, release: StoredRelease): void {
    this.#run(
      "INSERT INTO release (service, settled_ms, body) VALUES (?, ?, ?)",
      service,
      release.settledMs,
      JSON.stringify(writeRelease(release)),
    );
    this.#trim("release", service);
    this.#found.clear();
  }

  #trim(table: "exit" | "release", service: string): void {
    const newest = `SELECT id FROM ${table} WHERE service = ? ORDER BY id DESC LIMIT ${KEPT_ROWS[table]}`;
    this.#run(`DELETE FROM ${table} WHERE service = ? AND id NOT IN (${newest})`, service, service);
  }

  #run(query: string, ...values: (string | number | Uint8Array)[]): void {
    const statement = this.#statements.get(query) ?? this.#database.prepare(query);
    this.#statements.set(query, statement);
    statement.run(...values);
  }
}

/** What seldom changes is one object until it does. */
const written = new WeakMap<object, string>();
function writeOnce(value: object, text = written.get(value) ?? JSON.stringify(value)): string {
  written.set(value, text);
  return text;
}

/** The contents that a release needs, its front's too. */
function listHashes({ files, front }: DesiredService): string[] {
  return [...files, ...(front?.service.files ?? [])].flatMap(({ content }) => findKeptHash(content) ?? []);
}

/** The inputs in force as an agent has stored them, read beside it; undefined where they cannot be read. */
export function readStoredInForce(stateDir: string): InForce | undefined {
  return readBeside(stateDir, "in-force", readInForce);
}

/** What an agent remembers, read beside it; undefined where that cannot be read. */
export function readStoredMemory(stateDir: string): NodeMemory | undefined {
  const stored = readBeside(stateDir, "memory", readNodeMemory);
  return stored && mapFromStored(stored);
}

function readBeside<T>(
  stateDir: string,
  name: string,
  read: (value: unknown, lost: Lost[]) => T | undefined,
): T | undefined {
  const path = statePath(stateDir, "store");
  if (!existsSync(path)) return undefined;
  try {
    const database = new DatabaseSync(path, { readOnly: true });
    const row = database.prepare("SELECT body FROM document WHERE name = ?").get(name);
    database.close();
    return row === undefined ? undefined : read(parseBody((row as { body: string }).body), []);
  } catch {
    return undefined;
  }
}
