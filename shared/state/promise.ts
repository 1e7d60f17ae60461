// How promises stand: `slo.rpo` of a store, for each repository that its manifest names, `slo.availability` and `slo.rto` of a service.
// Made by backup/ and report/promise/, told by report/ and serve/. Types, and the rules.

import { type ServiceTimes, WINDOW_MS } from "../slo/availability.ts";
import type { ServicePromise } from "./desired-state.ts";
import type { BackupRun, VerifyRun } from "./backup.ts";

/** One store in one repository. Times are milliseconds since the epoch. */
export interface StoreStanding {
  service: string;
  /** The name of its `[[backups]]` table. */
  store: string;
  repository: string;
  /** The age of the newest good backup that is still fine; undefined where nothing is promised. */
  rpoMs: number | undefined;
  /** When the newest good backup there began to read the source; undefined where there is none. */
  newestMs: number | undefined;
  /** When the agent first saw the store: without a backup all that came since could be lost. */
  seenMs: number;
  /** Why there can be none by this version. */
  trouble: string | undefined;
  /** The store is new and its first good backup is under way: that alone breaks no promise before its age does. */
  begins?: boolean;
  lastRun: BackupRun | undefined;
  /** Of the store, from whichever repository. */
  lastVerify: VerifyRun | undefined;
  /** What the last proof from this repository has shown; undefined where there was none. */
  proof: VerifyRun["verdict"] | undefined;
}

/** The age that the promise is about: of the newest good backup, or since the store is there at all. */
export function measureAge({ newestMs, seenMs }: Pick<StoreStanding, "newestMs" | "seenMs">, nowMs: number): number {
  return Math.max(0, nowMs - (newestMs ?? seenMs));
}

/** True where the promise is broken now, whether anything was ever run or not. */
export function isBroken(
  standing: Pick<StoreStanding, "newestMs" | "seenMs" | "rpoMs" | "trouble" | "begins">,
  nowMs: number,
): boolean {
  const { rpoMs, trouble, begins = false } = standing;
  return rpoMs !== undefined && ((trouble !== undefined && !begins) || measureAge(standing, nowMs) > rpoMs);
}

/** A service that is measured, and what its manifest promises. */
export interface ServiceStanding extends ServiceTimes {
  /** Undefined where it promises nothing. */
  slo: ServicePromise | undefined;
}

/** How a promise stands. `doubtful`: it is held by what was seen, and broken if it was down whenever nobody looked. */
export type PromiseState = "held" | "doubtful" | "broken" | "not-promised" | "not-measured";

/** How long a service may be down within the window. */
export function findBudgetMs(availability: number): number {
  return Math.round(WINDOW_MS * (1 - availability / 100));
}

/** Broken is a promise of availability once the time that it allows within 30 days is used up, however long it has been measured. */
export function judgeAvailability({ slo, upMs, downMs, unknownMs }: ServiceStanding): PromiseState {
  if (slo?.availability === undefined) return "not-promised";
  const budgetMs = findBudgetMs(slo.availability);
  if (downMs > budgetMs) return "broken";
  if (downMs + unknownMs > budgetMs) return "doubtful";
  return upMs + downMs === 0 ? "not-measured" : "held";
}

/** A recovery that took too long counts for as long as the window is. */
export function judgeRto({ slo, incident }: ServiceStanding, nowMs: number): PromiseState {
  if (slo?.rtoMs === undefined) return "not-promised";
  if (incident === undefined) return "not-measured";
  const isOld = incident.endedMs !== undefined && nowMs - incident.endedMs > WINDOW_MS;
  return incident.tookMs > slo.rtoMs && !isOld ? "broken" : "held";
}

/** Which promise of a service is broken, of those that changes wait for; by its name. */
export type BrokenPromises = Readonly<Record<string, "availability" | "rpo">>;

/** Picks them. */
export function listBroken(
  services: readonly ServiceStanding[],
  stores: readonly StoreStanding[],
  nowMs: number,
): BrokenPromises {
  const rpo = stores.filter((store) => isBroken(store, nowMs)).map(({ service }) => [service, "rpo"] as const);
  const availability = services
    .filter((standing) => judgeAvailability(standing) === "broken")
    .map(({ service }) => [service, "availability"] as const);
  return Object.fromEntries([...rpo, ...availability]);
}
