// How a service is doing with the volume that it was given: read from a turn of the loop. Pure.

import type { TurnSummary } from "../../../shared/state/event.ts";
import { findHealth, type ObservedContainer } from "../../../shared/state/observed-state.ts";

/** What a turn shows of a service that is to run with another volume. */
export type SwitchView =
  | { kind: "healthy" }
  /** It does not run, and is not meant to: it has the volume from its next start on. */
  | { kind: "at-rest"; why: string }
  /** Its container with the volume was started, or cannot be. */
  | { kind: "tried"; why: string; withinMs: number }
  | { kind: "waits"; why: string };

/** States in which nothing starts it until a person says so. */
const AT_REST: ReadonlySet<string> = new Set(["stopped"]);
/** States in which a start was tried. */
const TRIED: ReadonlySet<string> = new Set(["unhealthy", "backoff", "stalled", "failed", "rolled-back"]);

/** Looks at a service in a turn that knows which volume is in force. */
export function viewSwitch(turn: TurnSummary, name: string): SwitchView {
  const service = turn.desired?.services.get(name);
  const view = turn.services.find((entry) => entry.name === name);
  if (service === undefined || view === undefined) return { kind: "at-rest", why: `${name} is not in force here` };
  if (AT_REST.has(view.state)) return { kind: "at-rest", why: `${name} is ${view.state}` };
  const container = findCurrent(turn, name, service.specHash);
  if (container?.status === "running" && findHealth(turn.observed, container)?.status === "healthy")
    return { kind: "healthy" };
  const why = `${view.state}: ${view.reason}`;
  const isTried = container?.startedMs !== undefined || TRIED.has(view.state);
  return isTried ? { kind: "tried", why, withinMs: service.update.healthy_within } : { kind: "waits", why };
}

function findCurrent(
  { observed: { engine } }: TurnSummary,
  name: string,
  specHash: string,
): ObservedContainer | undefined {
  if (!engine.reachable) return undefined;
  return engine.containers.find((entry) => entry.service === name && entry.specHash === specHash);
}

/** The volume in force of one that a manifest names. */
export function readInForce({ generations }: TurnSummary, volume: string): string | undefined {
  return generations?.[volume]?.inForce;
}
