// Why a promise of a service is broken or doubtful, in words: for `orca slo` and for alerts. Pure.

import { findBudgetMs, judgeAvailability, judgeRto, type ServiceStanding } from "../../../shared/state/promise.ts";
import { describeDuration } from "../../../shared/text/duration.ts";

/** Undefined where there is nothing to say. */
export function describeAvailability(standing: ServiceStanding): string | undefined {
  const { slo, downMs, unknownMs } = standing;
  const state = judgeAvailability(standing);
  if (slo?.availability === undefined || (state !== "broken" && state !== "doubtful")) return undefined;
  const allowed = `slo.availability of ${slo.availability} % allows ${describeDuration(findBudgetMs(slo.availability))} in 30 days`;
  const down = `it was down for ${describeDuration(downMs)}`;
  return state === "broken"
    ? `${down}; ${allowed}`
    : `${down}, and for ${describeDuration(unknownMs)} nobody looked; ${allowed}`;
}

/** Undefined where there is nothing to say. */
export function describeRto(standing: ServiceStanding, nowMs: number): string | undefined {
  const { slo, incident } = standing;
  if (incident === undefined || slo?.rtoMs === undefined || judgeRto(standing, nowMs) !== "broken") return undefined;
  const took = describeDuration(incident.tookMs);
  const what =
    incident.endedMs === undefined
      ? `it has not settled again for ${took}`
      : `it took ${took} until it had settled again`;
  return `${what} (it was ${incident.state}); slo.rto promises ${describeDuration(slo.rtoMs)}`;
}
