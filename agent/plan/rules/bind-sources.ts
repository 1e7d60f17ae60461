// Gives every start and creation the bind mounts as they were judged, so that who mounts them hands the engine the real path
// and can compare what is mounted. Pure; plan.ts calls it last.
// Held by test/scenario/start/bind-sources.test.ts.

import type { DesiredState } from "../../../shared/state/desired-state.ts";
import type { Operation, Step } from "../../../shared/state/step.ts";

/** The same operations, their steps with the binds of their services. */
export function placeBinds(operations: readonly Operation[], { services }: DesiredState): Operation[] {
  return operations.map((operation) => ({
    ...operation,
    steps: operation.steps.map((step): Step => {
      if (step.kind !== "create-container" && step.kind !== "start-container") return step;
      const binds = services.get(step.service)?.binds;
      return binds === undefined ? step : { ...step, binds };
    }),
  }));
}
