// What promises are judged by, in the agent's state: how long each service was up, gaps in which nobody looked, incidents, and when
// other nodes were lost. Small rows and bounded many; each call is one transaction. Made by store.ts, used by report/promise/.

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import * as z from "zod";

import {
  BUCKET_MS,
  type Gap,
  type Incident,
  type LostNode,
  type Span,
  splitSpan,
  type Times,
  WINDOW_MS,
} from "../../../shared/slo/availability.ts";
import { parseBody } from "./store-open.ts";

/** Up to where time is accounted for, and by which clocks; kept with what is counted, so that nothing is counted twice. */
export interface PromiseMark {
  atMs: number;
  monotonicMs: number;
  boot: string;
  /** The services that were measured. */
  services: readonly string[];
}

const mark: z.ZodType<PromiseMark> = z.looseObject({
  atMs: z.number(),
  monotonicMs: z.number(),
  boot: z.string(),
  services: z.array(z.string()),
});

/** Rows kept, of the newest that were written: a clock that jumped ahead must not cost the past. */
const KEPT = { hours: 800, gaps: 200, incidents: 20, losses: 200 };
const MARK = "promise-mark";
/** The last moment that a Date can name (ECMAScript, "Time Values"): a row that says another is damaged, and counts for nothing. */
const LAST_MS = 8.64e15;
/** For SQL: what a length may be, and a moment. SQLite would throw for a sum of others, and Node for reading one. */
const A_LENGTH = `BETWEEN 0 AND ${WINDOW_MS}`;
const A_MOMENT = `BETWEEN 0 AND ${LAST_MS}`;

/** Times of one service within one bucket. */
export interface TimesRow extends Times {
  service: string;
  hourMs: number;
}

/** Reads and writes them; throws what SQLite throws where a disk takes nothing, and has then changed nothing. */
export class PromiseStore {
  readonly #database: DatabaseSync;
  /** The newest bucket when it was last trimmed. */
  #trimmedMs: number | undefined;
  /** What has been run once is compiled once. */
  readonly #statements = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Up to where time was accounted for; undefined where it never was. */
  readMark(): PromiseMark | undefined {
    const row = this.#all("SELECT body FROM document WHERE name = ?", MARK)[0] as { body: string } | undefined;
    return row === undefined ? undefined : mark.safeParse(parseBody(row.body)).data;
  }

  /** Adds times to their buckets and moves the mark, both or neither. */
  account(rows: readonly TimesRow[], next: PromiseMark, gap?: Omit<Gap, "id">): void {
    this.#transact(() => {
      for (const row of rows) this.#addRow(row);
      this.#trimOld(rows);
      if (gap !== undefined) {
        const { fromMs, toMs, services, down } = gap;
        const values = [fromMs, toMs, JSON.stringify(services), down?.fromMs ?? null, down?.toMs ?? null];
        this.#run("INSERT INTO gap (from_ms, to_ms, services, down_from, down_to) VALUES (?, ?, ?, ?, ?)", ...values);
        this.#run(`DELETE FROM gap WHERE id NOT IN (SELECT id FROM gap ORDER BY id DESC LIMIT ${KEPT.gaps})`);
      }
      this.#run(
        "INSERT INTO document VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
        MARK,
        JSON.stringify(next),
      );
    });
  }

  /** The times of every service in the window that ends now. */
  sumTimes(nowMs: number): Map<string, Times> {
    const rows = this.#all(
      `SELECT service, SUM(up_ms) AS upMs, SUM(down_ms) AS downMs, SUM(unknown_ms) AS unknownMs
       FROM availability WHERE hour_ms > ? AND hour_ms <= ?
         AND up_ms ${A_LENGTH} AND down_ms ${A_LENGTH} AND unknown_ms ${A_LENGTH} GROUP BY service`,
      Math.round(nowMs - WINDOW_MS - BUCKET_MS),
      Math.round(nowMs),
    ) as unknown as (Times & { service: string })[];
    return new Map(rows.map(({ service, ...times }) => [service, times]));
  }

  /** Gaps in which the host has booted, newest first: what peers say of them counts. */
  listGaps(sinceMs: number): Gap[] {
    const rows = this.#all(
      `SELECT id, from_ms AS fromMs, to_ms AS toMs, services, down_from AS downFrom, down_to AS downTo
       FROM gap WHERE to_ms >= ? AND from_ms ${A_MOMENT} AND to_ms ${A_MOMENT} AND to_ms - from_ms ${A_LENGTH}
         AND (down_from IS NULL OR down_from BETWEEN from_ms AND to_ms)
         AND (down_to IS NULL OR down_to BETWEEN from_ms AND to_ms) ORDER BY id DESC`,
      Math.round(sinceMs),
    ) as unknown as (Span & { id: number; services: string; downFrom: number | null; downTo: number | null })[];
    return rows.map(({ services, downFrom, downTo, ...row }) => ({
      ...row,
      services: z.array(z.string()).safeParse(parseBody(services)).data ?? [],
      down: downFrom === null || downTo === null ? undefined : { fromMs: downFrom, toMs: downTo },
    }));
  }

  /** What of a gap counts as down by now: in its buckets unknown time becomes time that it was down. */
  settleGap(gap: Gap, down: Span): void {
    const before = gap.down ?? { fromMs: down.fromMs, toMs: down.fromMs };
    const fresh = [
      { fromMs: down.fromMs, toMs: before.fromMs },
      { fromMs: before.toMs, toMs: down.toMs },
    ].flatMap((span) => splitSpan(span));
    this.#transact(() => {
      for (const service of gap.services)
        for (const { hourMs, lengthMs } of fresh) this.#moveUnknown(service, hourMs, lengthMs);
      this.#run("UPDATE gap SET down_from = ?, down_to = ? WHERE id = ?", down.fromMs, down.toMs, gap.id);
    });
  }

  /** A service's newest incident; of each service. */
  listIncidents(): Map<string, Incident> {
    const rows = this.#all(
      `SELECT service, began_ms AS beganMs, ended_ms AS endedMs, took_ms AS tookMs, state FROM incident
       WHERE id IN (SELECT MAX(id) FROM incident WHERE began_ms ${A_MOMENT} AND took_ms ${A_MOMENT}
         AND (ended_ms IS NULL OR ended_ms ${A_MOMENT}) GROUP BY service)`,
    ) as unknown as (Omit<Incident, "endedMs"> & { endedMs: number | null })[];
    return new Map(rows.map((row) => [row.service, { ...row, endedMs: row.endedMs ?? undefined }]));
  }

  /** Keeps an incident: a new one, or what has become of the newest of that service. */
  saveIncident({ service, beganMs, endedMs, tookMs, state }: Incident, isNew: boolean): void {
    const values = [Math.round(beganMs), endedMs === undefined ? null : Math.round(endedMs), Math.round(tookMs), state];
    this.#transact(() => {
      if (isNew) {
        const insert = "INSERT INTO incident (began_ms, ended_ms, took_ms, state, service) VALUES (?, ?, ?, ?, ?)";
        this.#run(insert, ...values, service);
        this.#trim("incident", "service", service, KEPT.incidents);
        return;
      }
      const newest = `(SELECT MAX(id) FROM incident WHERE service = ? AND began_ms ${A_MOMENT})`;
      this.#run(
        `UPDATE incident SET began_ms = ?, ended_ms = ?, took_ms = ?, state = ? WHERE id = ${newest}`,
        ...values,
        service,
      );
    });
  }

  /** When other nodes were lost to this one, oldest first. */
  listLosses(sinceMs: number): LostNode[] {
    const rows = this.#all(
      `SELECT node, from_ms AS fromMs, to_ms AS toMs FROM loss
       WHERE from_ms ${A_MOMENT} AND (to_ms IS NULL OR to_ms BETWEEN ? AND ${LAST_MS}) ORDER BY id`,
      Math.round(sinceMs),
    ) as unknown as { node: string; fromMs: number; toMs: number | null }[];
    return rows.map(({ node, fromMs, toMs }) => ({ node, fromMs, ...(toMs === null ? {} : { toMs }) }));
  }

  /** A node is lost from then on. */
  beginLoss(node: string, fromMs: number): void {
    this.#run("INSERT INTO loss (node, from_ms) VALUES (?, ?)", node, Math.round(fromMs));
    this.#run(`DELETE FROM loss WHERE id NOT IN (SELECT id FROM loss ORDER BY id DESC LIMIT ${KEPT.losses})`);
  }

  /** It is there again. */
  endLoss(node: string, toMs: number): void {
    this.#run("UPDATE loss SET to_ms = max(from_ms, ?) WHERE node = ? AND to_ms IS NULL", Math.round(toMs), node);
  }

  #addRow({ service, hourMs, upMs, downMs, unknownMs }: TimesRow): void {
    this.#run(
      `INSERT INTO availability (service, hour_ms, up_ms, down_ms, unknown_ms) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (service, hour_ms) DO UPDATE SET
         up_ms = iif(up_ms ${A_LENGTH}, up_ms, 0) + excluded.up_ms,
         down_ms = iif(down_ms ${A_LENGTH}, down_ms, 0) + excluded.down_ms,
         unknown_ms = iif(unknown_ms ${A_LENGTH}, unknown_ms, 0) + excluded.unknown_ms`,
      service,
      hourMs,
      Math.round(upMs),
      Math.round(downMs),
      Math.round(unknownMs),
    );
  }

  /** Rows become more with a new bucket alone. */
  #trimOld(rows: readonly TimesRow[]): void {
    const newest = Math.max(...rows.map(({ hourMs }) => hourMs));
    if (rows.length === 0 || newest === this.#trimmedMs) return;
    this.#trimmedMs = newest;
    for (const service of new Set(rows.map((row) => row.service)))
      this.#trim("availability", "service", service, KEPT.hours);
  }

  #moveUnknown(service: string, hourMs: number, lengthMs: number): void {
    const most = Math.round(lengthMs);
    this.#run(
      `UPDATE availability SET down_ms = down_ms + min(unknown_ms, ?), unknown_ms = unknown_ms - min(unknown_ms, ?)
       WHERE service = ? AND hour_ms = ?`,
      most,
      most,
      service,
      hourMs,
    );
  }

  #trim(table: "availability" | "incident", column: "service", value: string, most: number): void {
    const newest = `SELECT id FROM ${table} WHERE ${column} = ? ORDER BY id DESC LIMIT ${most}`;
    this.#run(`DELETE FROM ${table} WHERE ${column} = ? AND id NOT IN (${newest})`, value, value);
  }

  #transact(work: () => void): void {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#database.exec("COMMIT");
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  #all(query: string, ...values: SQLInputValue[]): unknown[] {
    return this.#database.prepare(query).all(...values);
  }

  #run(query: string, ...values: SQLInputValue[]): void {
    const statement = this.#statements.get(query) ?? this.#database.prepare(query);
    this.#statements.set(query, statement);
    statement.run(...values);
  }
}
