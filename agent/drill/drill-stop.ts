// `orca drill stop`: the loop stops a service and starts it again, as a restart that a person asks for; measured is how long it takes to
// end, until it is healthy, and until it counts as settled. Used by drill-keeper.ts. Cut off anywhere, the loop heals the service.

import type { Clock } from "../host/os/clock.ts";
import type { DrillPart } from "../../shared/drill/drill.ts";
import type { Actor, AgentEvent, TurnSummary } from "../../shared/state/event.ts";
import { nameRun } from "../../shared/state/observed-state.ts";
import type { PersonRequest } from "../../shared/state/request.ts";
import { describeDuration } from "../../shared/text/duration.ts";
import type { DrillEars } from "./drill-ears.ts";
import { describePromise } from "./drill-stores.ts";

/** What a stop works with. */
export interface StopParts {
  clock: Clock;
  ears: DrillEars;
  actor: Actor;
  /** Hands a request to the loop. */
  request: (request: PersonRequest) => void;
  tell: (doing: string) => void;
  add: (part: DrillPart) => Promise<void>;
}

/** What it may take beyond what its manifest says of stop, start and settling: a queue for start slots, say. */
const AROUND_MS = 120_000;
/** Turns come by themselves at least so often, so that time that has run out is seen. */
const LOOK_MS = 1_000;

/** Times of one stop, in milliseconds since it was asked for. */
interface StopTimes {
  graceMs: number | undefined;
  healthyMs: number | undefined;
}

/** Stops the service and waits until it is settled again. */
export async function drillStop(parts: StopParts, service: string): Promise<void> {
  const { clock, ears, actor, request, tell, add } = parts;
  const desired = ears.turn?.desired?.services.get(service);
  const before = findRun(ears.turn, service);
  const beganMs = clock.monotonicMs();
  const { healthy_within: withinMs = 0, settle = 0 } = desired?.update ?? {};
  const limitMs = (desired?.stopTimeoutMs ?? 0) + withinMs + settle + AROUND_MS;
  const times: StopTimes = { graceMs: undefined, healthyMs: undefined };
  tell(`${service} is stopped`);
  const looking = { isOver: false };
  const settled = ears.until((event): "settled" | "late" | undefined => {
    noteStop(times, event, service);
    if (clock.monotonicMs() - beganMs > limitMs) return "late";
    const view = event.kind === "turn" ? event.turn.services.find(({ name }) => name === service) : undefined;
    if (event.kind !== "turn" || view?.state !== "healthy" || findRun(event.turn, service) === before) return undefined;
    if (times.healthyMs === undefined) tell(`${service} is healthy again, and settles`);
    times.healthyMs ??= clock.monotonicMs() - beganMs;
    return view.settled ? "settled" : undefined;
  });
  const look = (): void => {
    if (looking.isOver) return;
    clock.after(LOOK_MS, look);
    if (clock.monotonicMs() - beganMs > limitMs && ears.turn !== undefined)
      ears.hear({ kind: "turn", atMs: clock.nowMs(), turn: ears.turn });
  };
  look();
  request({ kind: "restart", service, actor });
  try {
    const how = await settled;
    await add(
      describeStop({ service, ...describePromise(desired) }, times, {
        how,
        tookMs: clock.monotonicMs() - beganMs,
        state: ears.turn?.services.find(({ name }) => name === service)?.reason,
      }),
    );
  } finally {
    looking.isOver = true;
  }
}

function noteStop(times: StopTimes, event: AgentEvent, service: string): void {
  if (event.kind === "step-done" && event.step.kind === "stop-container" && event.step.service === service)
    times.graceMs ??= event.tookMs;
}

/** Which run of which container is the service's now. */
function findRun(turn: TurnSummary | undefined, service: string): string | undefined {
  const id = turn?.services.find(({ name }) => name === service)?.container;
  const { engine } = turn?.observed ?? {};
  const found = engine?.reachable === true ? engine.containers.find((entry) => entry.id === id) : undefined;
  return found === undefined ? undefined : nameRun(found);
}

function describeStop(
  promised: Pick<DrillPart, "service" | "rtoMs" | "graceMs">,
  { graceMs, healthyMs }: StopTimes,
  { how, tookMs, state }: { how: "settled" | "late"; tookMs: number; state: string | undefined },
): DrillPart {
  const { graceMs: _allowed, ...rest } = promised;
  const measured = graceMs === undefined ? rest : { ...rest, graceMs };
  if (healthyMs === undefined) {
    const why = state === undefined ? "" : `: ${state}`;
    return { ...measured, verdict: "bad", detail: `it was not healthy again after ${describeDuration(tookMs)}${why}` };
  }
  const settling = how === "settled" ? `settled after ${describeDuration(tookMs)}` : "it has not settled in its time";
  // Its stop is no part of a recovery: whoever recovers finds it stopped.
  const recoveryMs = Math.max(0, healthyMs - (graceMs ?? 0));
  return {
    ...measured,
    verdict: how === "settled" ? "good" : "bad",
    detail: settling,
    startMs: recoveryMs,
    recoveryMs,
  };
}
