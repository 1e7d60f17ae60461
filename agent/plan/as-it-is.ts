// A service whose bind sources users of the host could lead elsewhere, and which ran with them before that was refused: its container
// goes on and is started again as it is, and no other one is made. Pure; plan.ts and rollout.ts use it.

import type { DesiredService } from "../../shared/state/desired-state.ts";
import type { Step } from "../../shared/state/step.ts";
import type { Decision, ServiceContext } from "./world.ts";

/**
 * Takes back what would make another container, remove the one that is there, or start one that was never good. What is mounted is
 * compared at every start (apply/checked-start.ts); where it is another, that container is removed, and nothing is started any more.
 */
export function keepAsItIs(context: ServiceContext, decision: Decision): Decision {
  const { desired, current, memory, health } = context;
  if (desired.onlyAsItIs === undefined || decision.operation === undefined) return decision;
  const wasGood = current !== undefined && memory.release.lastGood?.specHash === current.specHash;
  const isRefused = (step: Step): boolean => {
    if (step.kind === "create-container" || step.kind === "ensure-image") return true;
    if (step.kind === "start-container") return !wasGood;
    return step.kind === "remove-container" && step.container === current?.id;
  };
  if (!decision.operation.steps.some(isRefused)) return decision;
  const { operation: _operation, start: _start, ...held } = decision;
  const code = current === undefined ? "not-made-again" : "left-as-it-is";
  const state = current?.status === "running" ? (health?.status ?? "starting") : "refused";
  return { ...held, memory, state, reason: { code, why: decision.reason }, settled: false };
}

/** An earlier release that stands in for such a service is no more free than it is: its sources must be what they are called. */
export function carryAsItIs({ onlyAsItIs }: DesiredService, release: DesiredService): DesiredService {
  if (onlyAsItIs === undefined) return release;
  const binds = (release.spec.volumes ?? []).flatMap(({ source, target }) =>
    source === undefined ? [] : [{ source, target, real: source }],
  );
  return { ...release, onlyAsItIs, binds };
}
