// From probe results to health: a pure state machine. The first success is healthy; failures count only after
// `start_period` and, while starting, no faster than `interval`, although probes come more often then.

import type { HealthCheck } from "../../shared/manifest/manifest.ts";
import { pickSaid } from "../../shared/state/reason.ts";
import type { HealthView } from "../../shared/state/observed-state.ts";

/** What one probe found. `not-made` says that the check itself could not be made: that is no failure. */
export interface ProbeResult {
  kind: "ok" | "failed" | "not-made";
  message: string;
  /** What its command printed, where it failed. */
  output?: string;
}

/**
 * The view of a run before its first probe.
 * @param begunMs when it began, on the clock of the probes
 * @param found whether it ran already when this agent first saw it
 */
export function beginHealth({ startedMs }: { startedMs: number }, begunMs: number, found: boolean): HealthView {
  const view = {
    startedMs,
    status: "starting",
    sinceMs: begunMs,
    failures: 0,
    message: "not probed yet",
    notMade: false,
    probedMs: undefined,
  } as const;
  return found ? { ...view, found } : view;
}

/** The view of a run whose check has changed: what the check before has found says nothing of this one. */
export function renewHealth({ startedMs, status, rechecked }: HealthView, nowMs: number): HealthView {
  const view = {
    startedMs,
    status: "starting",
    sinceMs: nowMs,
    failures: 0,
    message: "its health check has changed, and has not answered yet",
    notMade: false,
    probedMs: undefined,
  } as const;
  return status === "healthy" || rechecked === true ? { ...view, rechecked: true } : view;
}

/** The clock of one run's probes, in milliseconds of a clock that never jumps. */
interface ProbeClock {
  nowMs: number;
  /** When the run began. */
  begunMs: number;
  /** When its probes began: what failed before then, nobody saw. */
  watchedMs: number;
}

/** The view after one more probe. */
export function nextHealth(view: HealthView, result: ProbeResult, check: HealthCheck, at: ProbeClock): HealthView {
  const { output: _output, ...before } = view;
  const probed = { ...before, ...pickSaid(result), notMade: false, probedMs: at.nowMs };
  if (result.kind === "not-made") return { ...probed, notMade: true };
  const { found: _found, rechecked: _rechecked, ...decided } = probed;
  if (result.kind === "ok") {
    const { failingSinceMs, ...good } = decided;
    const failedMs = (view.failedMs ?? 0) + (failingSinceMs === undefined ? 0 : at.nowMs - failingSinceMs);
    const sinceMs = view.status === "healthy" ? view.sinceMs : at.nowMs;
    return { ...good, ...(failedMs > 0 ? { failedMs } : {}), status: "healthy", sinceMs, failures: 0 };
  }
  const failures = view.status === "starting" ? countStartFailures(check, at) : view.failures + 1;
  const unhealthy = view.status === "unhealthy" || failures >= check.retries;
  // What has not been healthy in this run has nothing to lose.
  const failing = view.status === "starting" ? {} : { failingSinceMs: view.failingSinceMs ?? at.nowMs };
  if (!unhealthy) return { ...probed, ...failing, failures };
  const sinceMs = view.status === "unhealthy" ? view.sinceMs : at.nowMs;
  return { ...decided, ...failing, status: "unhealthy", sinceMs, failures: Math.max(failures, view.failures + 1) };
}

/**
 * While starting, one failure counts for each whole interval after the start period, as Docker's own check counts. One that ran
 * long before this agent has failed no probe of it yet: else the first one that fails would end it.
 */
function countStartFailures(check: HealthCheck, { nowMs, begunMs, watchedMs }: ProbeClock): number {
  const afterMs = nowMs - Math.max(begunMs + check.start_period, watchedMs);
  return Math.max(0, Math.floor(afterMs / check.interval));
}

/** The first probes of a start come at once: most services are up in tens of milliseconds, and others wait for them. */
const FIRST_PROBES_MS = [15, 30, 60, 120];

/** How often a starting service is probed; a command inside the container costs more than a connection. */
const START_EVERY_MS = 250;
const START_EVERY_EXEC_MS = 500;

/**
 * When to probe next.
 * @param probes how many probes there were in this run of the container
 * @returns milliseconds from the end of the last probe
 */
export function nextProbeDelayMs(view: HealthView, check: HealthCheck, probes: number): number {
  if (view.status !== "starting") return check.interval;
  if (check.exec !== undefined) return Math.min(START_EVERY_EXEC_MS, check.interval);
  return FIRST_PROBES_MS[probes - 1] ?? Math.min(START_EVERY_MS, check.interval);
}

/** Probes of what has started are gathered on beats of this length, of at most half of their interval. */
const BEATS_MS = [5_000, 2_000, 1_000, 500, 250];

/**
 * Moves a probe forward onto a beat that others share: several at once cost half of what they cost one by one, since the process
 * then wakes once for all of them. The first of a service comes up to half of its interval early; from then on they are on the beat, and
 * none is late.
 * @param dueMs when it is due, on any clock that does not jump
 */
export function gatherProbe(dueMs: number, check: HealthCheck): number {
  // A command in the container is work for the engine, which is better spread.
  const beatMs =
    check.exec === undefined
      ? BEATS_MS.find((beat) => beat * 2 <= check.interval && check.interval % beat === 0)
      : undefined;
  return beatMs === undefined ? dueMs : Math.floor(dueMs / beatMs) * beatMs;
}
