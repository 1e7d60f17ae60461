// Whether each service is up by its own probes, as one turn shows it, and what of the time between two turns it was. Pure; used by
// promise-keeper.ts.

import type { TurnSummary } from "../../../shared/state/event.ts";
import type { Times } from "../../../shared/slo/availability.ts";
import {
  findHealth,
  type HealthView,
  isBetweenRuns,
  nameRun,
  type ObservedContainer,
} from "../../../shared/state/observed-state.ts";

/** How a service is. */
export interface Tracked {
  verdict: "up" | "down" | "unknown";
  /** The run that was looked at; undefined where none runs. */
  run: string | undefined;
  /** For how long the probes of that run have failed so far. */
  failedMs: number;
  /** For how long they have failed without a success in between, whether that counts as unhealthy yet or not; 0 while they succeed. */
  failingForMs: number;
}

/** A turn tells of the time up to it; what is older than this, nobody has looked at. */
const LONGEST_SPAN_MS = 120_000;

/** Every service that Git wants to run, and how it is; a job and one that Git has stopped are not measured. */
export function trackServices({ desired, observed, endedMs }: TurnSummary): Map<string, Tracked> {
  const { engine } = observed;
  const tracked = new Map<string, Tracked>();
  for (const service of desired?.services.values() ?? []) {
    if (service.kind !== "service" || !service.running || service.frontOf !== undefined) continue;
    const own = engine.reachable ? engine.containers.filter((container) => container.service === service.name) : [];
    const views = own.map((container) => trackRun(container, { observed, nowMs: endedMs }));
    tracked.set(service.name, engine.reachable ? pickBest(views) : UNKNOWN);
  }
  return tracked;
}

const UNKNOWN: Tracked = { verdict: "unknown", run: undefined, failedMs: 0, failingForMs: 0 };
const ABSENT: Tracked = { verdict: "down", run: undefined, failedMs: 0, failingForMs: 0 };

function trackRun(
  container: ObservedContainer,
  { observed, nowMs }: { observed: TurnSummary["observed"]; nowMs: number },
): Tracked {
  if (container.status !== "running") return ABSENT;
  const run = nameRun(container);
  const health = findHealth(observed, container);
  // An operation ends this run or begins it; else nobody has probed it yet.
  if (health === undefined) return isBetweenRuns(observed.operations, container.id) ? ABSENT : { ...UNKNOWN, run };
  const { failedMs = 0, failingSinceMs } = health;
  const failingForMs = failingSinceMs === undefined ? 0 : Math.max(0, nowMs - failingSinceMs);
  return { verdict: judgeHealth(health), run, failedMs: failedMs + failingForMs, failingForMs };
}

function judgeHealth({ status, found, rechecked, notMade }: HealthView): Tracked["verdict"] {
  if (notMade || found === true || rechecked === true) return "unknown";
  return status === "healthy" ? "up" : "down";
}

/** Of several copies the one that serves. */
function pickBest(views: readonly Tracked[]): Tracked {
  const rank = ({ verdict, failingForMs }: Tracked): number =>
    verdict === "up" ? (failingForMs > 0 ? 2 : 3) : verdict === "unknown" ? 1 : 0;
  return views.toSorted((left, right) => rank(right) - rank(left))[0] ?? ABSENT;
}

/**
 * What the time between two turns was. Within one run the probes say it to the moment; else it was what the turn before it showed.
 * @param elapsedMs how long it was, on a clock that does not jump
 */
export function countSpan(before: Tracked, after: Tracked | undefined, elapsedMs: number): Times {
  if (elapsedMs > LONGEST_SPAN_MS) return { upMs: 0, downMs: 0, unknownMs: elapsedMs };
  if (before.verdict === "unknown" || after?.verdict === "unknown") return { upMs: 0, downMs: 0, unknownMs: elapsedMs };
  if (before.verdict === "down") return { upMs: 0, downMs: elapsedMs, unknownMs: 0 };
  const isSameRun = before.run !== undefined && before.run === after?.run;
  const failedMs = isSameRun ? (after?.failedMs ?? 0) - before.failedMs : before.failingForMs > 0 ? elapsedMs : 0;
  const downMs = Math.min(elapsedMs, Math.max(0, Math.round(failedMs)));
  return { upMs: elapsedMs - downMs, downMs, unknownMs: 0 };
}
