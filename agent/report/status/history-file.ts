// What report/ knows that should outlive a restart of the agent: last changes, actions, states, peaks, what was told. Written
// beside the state, seldom, and whole or not at all. Losing it costs history and nothing else.

import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import { makeDirectory } from "../../host/files/make-directory.ts";
import { sha256 } from "../../../shared/state/identity.ts";
import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import type { ClockReading } from "../../plan/memory/clock-step.ts";
import { type AlertMemory, moveAlerts } from "../notify/alert-judge.ts";
import { alertMemory, clockReading, parseKept, serviceHistory } from "./history-schema.ts";
import type { ReportState, ServiceHistory, ServiceRecord } from "./report-state.ts";

/** What the file holds. */
export interface History {
  version: 1;
  services: Record<string, ServiceHistory>;
  alerts: AlertMemory | undefined;
  /** The same of the channels of fleet.toml. */
  fleetAlerts: AlertMemory | undefined;
  /** By which clock its times are named; undefined where the host's boot is not known. */
  clock: ClockReading | undefined;
}

const EVERY_MS = 10_000;

/** Picks what is kept of the services; one that is gone is forgotten. */
export function pickHistory(state: ReportState): Record<string, ServiceHistory> {
  const entries = [...state.services].map(([name, record]) => [name, pickOne(record)] as const);
  return { ...state.history, ...Object.fromEntries(entries) };
}

function pickOne(record: ServiceRecord): ServiceHistory {
  const { fingerprint, revision, fields, change, rotation, actions, transitions, oom, peakBytes } = record;
  const base = { fingerprint, revision, fields, change, actions, transitions, oom, peakBytes };
  return rotation === undefined ? base : { ...base, rotation };
}

/**
 * Reads what the agent before this one has left, of whichever version it was; what cannot be used is left out.
 * @param now how the clocks stand: where the wall clock was set since then and the host has not booted, what was told is as old as it was
 */
export function readHistory(
  path: string,
  now: ClockReading | undefined,
): Pick<History, "services" | "alerts" | "fleetAlerts"> {
  const { services, alerts, fleetAlerts, clock } = parseKept(readText(path));
  const before = clockReading.safeParse(clock).data;
  const stepMs = now !== undefined && before?.boot === now.boot ? now.offsetMs - before.offsetMs : 0;
  const usable = Object.entries(typeof services === "object" ? (services ?? {}) : {}).flatMap(([name, entry]) => {
    const { data } = serviceHistory.safeParse(entry);
    return data === undefined ? [] : [[name, data] as const];
  });
  const [told, fleetTold] = [alerts, fleetAlerts].map((memory) => {
    const { data } = alertMemory.safeParse(memory);
    return data && moveAlerts(data, stepMs);
  });
  return { services: Object.fromEntries(usable), alerts: told, fleetAlerts: fleetTold };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** Keeps one history file. */
export class HistoryFile {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #build: () => History;
  #written = "";
  #cancel: CancelTimer | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string, clock: Clock, build: () => History) {
    this.#path = path;
    this.#clock = clock;
    this.#build = build;
  }

  /** Something changed: it is written before long. */
  touch(): void {
    this.#cancel ??= this.#clock.after(EVERY_MS, () => {
      this.#cancel = undefined;
      this.#writing = this.#write();
    });
  }

  /** Writes what is new, for the last time. */
  async close(): Promise<void> {
    this.#cancel?.();
    await this.#writing;
    await this.#write();
  }

  async #write(): Promise<void> {
    const text = JSON.stringify(this.#build());
    const digest = sha256(text);
    if (digest === this.#written) return;
    try {
      await makeDirectory(dirname(this.#path), 0o700);
      await writeFile(`${this.#path}.new`, text, { mode: 0o600 });
      await rename(`${this.#path}.new`, this.#path);
      this.#written = digest;
    } catch {
      // A full disk: the state says so already, and this is history only.
    }
  }
}
