// Drills, as the agent keeps and shows them: what came back from a backup or from a stop, how long that took, and when the next one is due.
// Made by agent/drill/, told by report/ and serve/. Types, and what follows from them.

/** `stores`: every store from its newest backup; `full`: the whole node from them, apart; `stop`: one service was stopped and came back. */
export type DrillKind = "stores" | "full" | "stop";

/** One store or service of a drill. Times are durations in milliseconds. */
export interface DrillPart {
  service: string;
  /** Undefined of a service that was started or stopped. */
  store?: string | undefined;
  /** Which backup was taken. */
  backup?: string | undefined;
  /** From where. */
  repository?: string | undefined;
  /** `skipped`: nothing of this kind can be tried in a drill; `unknown`: it could not be tried this time. */
  verdict: "good" | "bad" | "unknown" | "skipped";
  detail: string;
  /** Reading, comparing, restoring the data and looking into it. */
  restoreMs?: number | undefined;
  /** From the start of its container until it was healthy; of `stores`, as it was measured the last time. */
  startMs?: number | undefined;
  /** How long its container took to end; of `stores`, how long it may take (`stop_timeout`). It is no part of the recovery. */
  graceMs?: number | undefined;
  /** Time to recovery: until the data is back and the service healthy. */
  recoveryMs?: number | undefined;
  /** What its manifest promises (`slo.rto`). */
  rtoMs?: number | undefined;
}

/** One drill. */
export interface DrillRecord {
  kind: DrillKind;
  /** When it began, in milliseconds since the epoch. */
  startedMs: number;
  /** Undefined while it goes on. */
  endedMs?: number | undefined;
  /** Who asked for it. */
  uid: number;
  parts: readonly DrillPart[];
  /** Why it ended before its end. */
  trouble?: string | undefined;
}

/** How the drills of one store stand. Times are milliseconds since the epoch. */
export interface DrillStanding {
  service: string;
  store: string;
  /** When the last drill began in which it came back in its time; undefined for never. */
  drilledMs: number | undefined;
  /** Until then one has to be made. */
  dueMs: number;
}

/** A drill is due every quarter. */
export const DRILL_EVERY_MS = 92 * 86_400_000;
/** A store that is new has so long until its first one. */
export const FIRST_DRILL_MS = 14 * 86_400_000;

/** True where it came back, and later than its manifest promises. */
export function isLate({ recoveryMs, rtoMs }: Pick<DrillPart, "recoveryMs" | "rtoMs">): boolean {
  return recoveryMs !== undefined && rtoMs !== undefined && recoveryMs > rtoMs;
}

/**
 * What a drill has shown. `red`: something did not come back, or not in its time; `incomplete`: something could not be tried, or it was
 * cut off.
 */
export function judgeDrill({ parts, endedMs, trouble }: DrillRecord): "running" | "good" | "red" | "incomplete" {
  if (parts.some((part) => part.verdict === "bad" || isLate(part))) return "red";
  if (trouble !== undefined) return "incomplete";
  if (endedMs === undefined) return "running";
  return parts.some(({ verdict }) => verdict === "unknown") || !parts.some(({ verdict }) => verdict === "good")
    ? "incomplete"
    : "good";
}

/** True where a drill was not made in its time. */
export function isDrillOverdue({ dueMs }: Pick<DrillStanding, "dueMs">, nowMs: number): boolean {
  return nowMs > dueMs;
}
