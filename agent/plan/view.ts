// From a decision to what status shows. Pure.

import type { DesiredService } from "../../shared/desired-state.ts";
import { findCycles } from "../../shared/graph.ts";
import type { ObservedContainer } from "../../shared/observed-state.ts";
import type { ServiceView } from "../../shared/status.ts";
import type { Decision, World } from "./world.ts";

/** Builds the view of one service; an objection to its newest manifest shows over everything but trouble. */
export function buildView(
  world: World,
  desired: DesiredService,
  decision: Decision,
  container: ObservedContainer | undefined,
): ServiceView {
  const objection = world.desired.objections.get(desired.name);
  const state = objection?.state ?? decision.state;
  const reason =
    objection === undefined
      ? decision.reason
      : `${objection.reason}; its release ${desired.revision} is ${decision.state}: ${decision.reason}`;
  const shown = decision.memory.shown ?? world.memory.services[desired.name]?.shown;
  const nextMs = decision.retryMs ?? decision.nextMs;
  return {
    name: desired.name,
    state,
    reason,
    sinceMs: shown?.state === state ? shown.sinceMs : world.nowMs,
    waitingFor: decision.waitingFor ?? [],
    nextMs,
    settled: decision.settled ?? false,
    restarts: decision.memory.restarts,
    revision: container?.revision,
    desiredRevision: objection === undefined ? desired.revision : world.desired.revision,
    container: container?.id,
    image: container?.image ?? desired.spec.image,
    owner: desired.owner,
    memoryCapBytes: container?.caps.memoryBytes ?? desired.caps.memoryBytes,
    notes: [...(decision.notes ?? []), ...desired.notes],
  };
}

/** Says of services that wait for each other in a circle that they do: no start will ever come of it. */
export function nameCycles(world: World, views: readonly ServiceView[]): ServiceView[] {
  const local = `${world.desired.node}/`;
  const waits = new Map(
    views.map((view) => [
      view.name,
      view.waitingFor.map((name) => (name.startsWith(local) ? name.slice(local.length) : name)),
    ]),
  );
  const cycles = findCycles(waits);
  return views.map((view) => {
    const cycle = cycles.find((entry) => entry.includes(view.name));
    if (cycle === undefined) return view;
    const ring = [...cycle, cycle[0]].join(" → ");
    return { ...view, reason: `${view.reason}; they wait for each other: ${ring}` };
  });
}
