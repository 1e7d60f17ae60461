// What `orca slo --json` prints and `GET /v1/slo` gives: the recovery point of every store of this node, for each of its repositories,
// and of every service its availability and its last recovery. Stable, with a version; a key without a value is null.

import type { PromiseState } from "../state/promise.ts";

/** The document. */
export interface SloDocument {
  version: 1;
  node: string;
  at: string;
  /** True while no promise is broken. */
  held: boolean;
  rpo: readonly RpoDocument[];
  /** Every service that has been up once and that Git wants to run, over the last 30 days. */
  availability: readonly AvailabilityDocument[];
  rto: readonly RtoDocument[];
}

/** One store in one repository. */
export interface RpoDocument {
  service: string;
  store: string;
  repository: string;
  promisedSeconds: number | null;
  /** Since the newest good backup began, or since the store is there where it has none. */
  ageSeconds: number;
  /** When the newest good backup began; null where there is none. */
  newest: string | null;
  state: "held" | "broken" | "not-promised";
  /** Why it is as it is, where that is known. */
  reason: string | null;
  /** What the last proof has shown; null where there was none. */
  verdict: "good" | "bad" | "unknown" | null;
}

/** The time of one service within the window. */
export interface AvailabilityDocument {
  service: string;
  promisedPercent: number | null;
  /** Of the time in which it was looked at; null before that. */
  measuredPercent: number | null;
  /** The same if it was down whenever nobody looked. */
  worstPercent: number | null;
  upSeconds: number;
  downSeconds: number;
  unknownSeconds: number;
  /** How long it may be down within the window; null where nothing is promised. */
  budgetSeconds: number | null;
  /** What is left of that; below zero once the promise is broken. */
  leftSeconds: number | null;
  state: PromiseState;
  reason: string | null;
}

/** The last incident of one service. */
export interface RtoDocument {
  service: string;
  promisedSeconds: number | null;
  /** When it began; null where none was seen. */
  began: string | null;
  /** When the service had settled again; null while it goes on. */
  ended: string | null;
  /** How long it took; while it goes on, so far. */
  tookSeconds: number | null;
  state: PromiseState;
  reason: string | null;
}
