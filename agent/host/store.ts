// The agent's state on disk: SQLite in WAL mode, from the runtime itself. Losing it costs history and backoff, never a
// container. A damaged file is moved aside and begun anew; a full disk is reported and the agent goes on in memory.

import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import type { ColdStartMemory } from "../cold-starts.ts";
import type { DesiredService } from "../../shared/desired-state.ts";
import type { InForce } from "../../shared/in-force.ts";
import { EMPTY_MEMORY, type ExitRecord, type NodeMemory, type ReleaseRecord } from "../../shared/memory.ts";
import { nameContent } from "../../shared/secret-facts.ts";
import { openChecked } from "./store-schema.ts";

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

/** A release as it is stored; one of an older version has no `desired`, and cannot be gone back to. */
type ReleaseBody = ReleaseRecord & { desired?: DesiredService };

/** The state of one agent. */
export class Store {
  readonly #path: string;
  #database: DatabaseSync;
  #written = new Map<string, string>();
  #inForce: InForce | undefined;
  /** The release last looked for; a rollout asks for the same one at each turn. */
  #found: { key: string; desired: DesiredService | undefined } | undefined;
  /** What was found wrong when it was opened, in words. */
  readonly trouble: string | undefined;

  private constructor(path: string, database: DatabaseSync, trouble: string | undefined) {
    this.#path = path;
    this.#database = database;
    this.trouble = trouble;
  }

  /** Opens the state in a directory, making it where it is missing. */
  static open(stateDir: string, nowMs: number): Store {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const path = join(stateDir, "orca.db");
    try {
      return new Store(path, openChecked(path), undefined);
    } catch (error) {
      const aside = `${path}.damaged-${nowMs}`;
      for (const suffix of ["", "-wal", "-shm"]) moveAside(`${path}${suffix}`, `${aside}${suffix}`);
      const reason = error instanceof Error ? error.message : String(error);
      return new Store(
        path,
        openChecked(path),
        `the state could not be read (${reason}); it was moved to ${aside} and begun anew`,
      );
    }
  }

  /** What the agent remembers; empty where nothing is stored. */
  loadMemory(): NodeMemory {
    return { ...EMPTY_MEMORY, ...this.#loadDocument<NodeMemory>("memory") };
  }

  /** What is known of cold starts. */
  loadColdStarts(): ColdStartMemory | undefined {
    return this.#loadDocument<ColdStartMemory>("cold-starts");
  }

  /** The inputs last accepted. */
  loadInForce(): InForce | undefined {
    return this.#loadDocument<InForce>("in-force");
  }

  /** The content of accepted files, by hash. */
  loadContents(): Map<string, Uint8Array> {
    const rows = this.#database.prepare("SELECT hash, body FROM content").all() as { hash: string; body: Uint8Array }[];
    return new Map(rows.map((row) => [row.hash, row.body]));
  }

  /** A service's last exits, newest first. */
  listExits(service: string, most: number): ExitRecord[] {
    return this.#listBodies(
      "SELECT body FROM exit WHERE service = ? ORDER BY finished_ms DESC, id DESC LIMIT ?",
      service,
      most,
    );
  }

  /** A service's last good releases, newest first. */
  listReleases(service: string, most: number): ReleaseRecord[] {
    return this.#listBodies<ReleaseBody>(
      "SELECT body FROM release WHERE service = ? ORDER BY settled_ms DESC, id DESC LIMIT ?",
      service,
      most,
    ).map(({ desired: _desired, ...release }) => release);
  }

  /** A release as it ran, by its fingerprint; undefined where it is not kept. */
  findRelease(service: string, fingerprint: string): DesiredService | undefined {
    const key = `${service}\n${fingerprint}`;
    if (this.#found?.key !== key) {
      const rows = this.#listBodies<ReleaseBody>(
        "SELECT body FROM release WHERE service = ? ORDER BY settled_ms DESC, id DESC LIMIT ?",
        service,
        KEPT_ROWS.release,
      );
      const found = rows.find((row) => row.fingerprint === fingerprint)?.desired;
      // What blocked a start when it was recorded says nothing of now.
      const { blocked: _blocked, ...desired } = found ?? {};
      this.#found = { key, desired: found === undefined ? undefined : (desired as DesiredService) };
    }
    return this.#found.desired;
  }

  /** The content of one file that was accepted once and that a kept release still needs. */
  findContent(hash: string): Uint8Array | undefined {
    const row = this.#database.prepare("SELECT body FROM content WHERE hash = ?").get(hash);
    return (row as { body: Uint8Array } | undefined)?.body;
  }

  /** Saves what a turn changed; throws when the disk does not take it, and has then saved nothing. */
  save(saved: Saved): void {
    const documents = new Map([
      ["memory", JSON.stringify(saved.memory)],
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

  #loadDocument<T>(name: string): T | undefined {
    const row = this.#database.prepare("SELECT body FROM document WHERE name = ?").get(name) as
      | { body: string }
      | undefined;
    if (row === undefined) return undefined;
    this.#written.set(name, row.body);
    return JSON.parse(row.body) as T;
  }

  #listBodies<T>(query: string, service: string, most: number): T[] {
    return (this.#database.prepare(query).all(service, most) as { body: string }[]).map(
      (row) => JSON.parse(row.body) as T,
    );
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
    const rows = this.#database.prepare("SELECT body FROM release").all() as { body: string }[];
    const bodies = rows.map((row) => JSON.parse(row.body) as ReleaseBody);
    return new Set(bodies.flatMap(({ desired }) => (desired === undefined ? [] : listHashes(desired))));
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

  #saveRelease(service: string, release: ReleaseBody): void {
    this.#run(
      "INSERT INTO release (service, settled_ms, body) VALUES (?, ?, ?)",
      service,
      release.settledMs,
      JSON.stringify(release),
    );
    this.#trim("release", service);
    this.#found = undefined;
  }

  #trim(table: "exit" | "release", service: string): void {
    const newest = `SELECT id FROM ${table} WHERE service = ? ORDER BY id DESC LIMIT ${KEPT_ROWS[table]}`;
    this.#run(`DELETE FROM ${table} WHERE service = ? AND id NOT IN (${newest})`, service, service);
  }

  #run(query: string, ...values: (string | number | Uint8Array)[]): void {
    this.#database.prepare(query).run(...values);
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
  return [...files, ...(front?.service.files ?? [])].map((file) => nameContent(file.hash));
}

/** The inputs in force as an agent has stored them, read beside it; undefined where they cannot be read. */
export function readStoredInForce(stateDir: string): InForce | undefined {
  const path = join(stateDir, "orca.db");
  if (!existsSync(path)) return undefined;
  try {
    const database = new DatabaseSync(path, { readOnly: true });
    const row = database.prepare("SELECT body FROM document WHERE name = 'in-force'").get();
    database.close();
    return row === undefined ? undefined : (JSON.parse((row as { body: string }).body) as InForce);
  } catch {
    return undefined;
  }
}

function moveAside(path: string, aside: string): void {
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
