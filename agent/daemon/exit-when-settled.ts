// When `orca up --once` has its answer. Pure.

import type { TurnSummary } from "../../shared/state/event.ts";
import type { ServiceState } from "../../shared/state/status.ts";

const REFUSED: ReadonlySet<ServiceState> = new Set<ServiceState>(["invalid", "refused", "held", "rolled-back"]);
const AT_REST: ReadonlySet<ServiceState> = new Set<ServiceState>(["stopped", "completed", "paused", "removing"]);

/** `refused` only once all the others are at rest: what can run is brought up first. */
export function judgeTurn(turn: TurnSummary): "settled" | "refused" | "pending" {
  if (turn.desired?.held !== undefined) return "refused";
  if (turn.desired === undefined || turn.observed.operations.length > 0) return "pending";
  const [refused, others] = [
    turn.services.filter((view) => REFUSED.has(view.state)),
    turn.services.filter((view) => !REFUSED.has(view.state)),
  ];
  if (!others.every((view) => view.settled || AT_REST.has(view.state))) return "pending";
  return refused.length > 0 ? "refused" : "settled";
}
