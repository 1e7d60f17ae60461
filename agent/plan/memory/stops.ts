// Which runs the agent itself has ended, and why: whatever becomes of the service meanwhile, their end is nobody's crash and no boot.
// Pure; plan.ts takes the operations of a turn down here, the rules ask when such a container starts again.

import { findLaneService } from "../../../shared/state/front.ts";
import type { NodeMemory } from "../../../shared/state/memory.ts";
import { isAlive, nameRun, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import type { Cause, Operation } from "../../../shared/state/step.ts";
import type { Reachable, World } from "../world.ts";

/**
 * Takes down the stops of this turn; one whose container runs on, or is gone, is forgotten.
 * @param operations everything that this turn begins
 */
export function rememberStops(
  world: World,
  engine: Reachable,
  operations: readonly Operation[],
): NonNullable<NodeMemory["stops"]> {
  const planned = new Map(
    operations.flatMap(({ steps, cause }) =>
      steps.flatMap((step) => (step.kind === "stop-container" ? [[String(step.container), cause.kind] as const] : [])),
    ),
  );
  const busy = new Set(world.observed.operations.map(({ lane }) => findLaneService(lane)));
  const kept = engine.containers.flatMap((container) => {
    const run = nameRun(container);
    const kind = planned.get(container.id) ?? findStop(world, container);
    const runsOn = isAlive(container) && !planned.has(container.id) && !busy.has(container.service);
    return kind === undefined || runsOn ? [] : [[run, kind] as const];
  });
  return Object.fromEntries(kept);
}

/** Why the agent ended the last run of this container; undefined where it did not. */
export function findStop({ memory }: World, container: ObservedContainer): Cause["kind"] | undefined {
  return memory.stops?.[nameRun(container)] as Cause["kind"] | undefined;
}
