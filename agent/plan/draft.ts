// What a plan collects while it goes through the services, each in a draft of its own, so that one whose planning throws leaves
// nothing half said. Pure; plan.ts only.

import type { DesiredService } from "../../shared/state/desired-state.ts";
import { type ExitRecord, findService, type ServiceMemory } from "../../shared/state/memory.ts";
import type { Reason } from "../../shared/state/reason.ts";
import type { ServiceStanding } from "../../shared/state/rotation.ts";
import type { ServiceView } from "../../shared/state/status.ts";
import type { Operation } from "../../shared/state/step.ts";
import { describeReason } from "../../shared/text/describe-reason.ts";
import type { Plan, World } from "./world.ts";

/** What collects while the services are gone through. */
export interface Draft {
  operations: Operation[];
  cancel: string[];
  newExits: ExitRecord[];
  newReleases: Plan["newReleases"][number][];
  views: ServiceView[];
  standings: Map<string, ServiceStanding>;
  memory: Record<string, ServiceMemory>;
  nextMs: number[];
  /** Services of which planning failed. */
  faults: string[];
}

/** Nothing yet. */
export function beginDraft(): Draft {
  return {
    operations: [],
    cancel: [],
    newExits: [],
    newReleases: [],
    views: [],
    standings: new Map(),
    memory: {},
    nextMs: [],
    faults: [],
  };
}

/** Adds what was said of one service to the whole. */
export function addDraft(to: Draft, own: Draft): void {
  to.operations.push(...own.operations);
  to.cancel.push(...own.cancel);
  to.newExits.push(...own.newExits);
  to.newReleases.push(...own.newReleases);
  to.views.push(...own.views);
  for (const [name, standing] of own.standings) to.standings.set(name, standing);
  Object.assign(to.memory, own.memory);
  to.nextMs.push(...own.nextMs);
  to.faults.push(...own.faults);
}

/** A service whose planning threw: nothing is done about it, nothing of it is forgotten, and the others go on. */
export function draftFault(world: World, desired: DesiredService, fault: Reason): Draft {
  const draft = beginDraft();
  draft.faults.push(desired.name);
  const known = findService(world.memory.services, desired.name);
  if (known !== undefined) draft.memory[desired.name] = known;
  draft.views.push({
    ...viewUnplanned(world, desired.name, { state: "unknown", reason: fault }),
    owner: desired.owner,
  });
  return draft;
}

/** A service of which there is nothing to show but why. */
export function viewUnplanned(
  world: World,
  name: string,
  { state, reason: fact }: { state: ServiceView["state"]; reason: Reason },
): ServiceView {
  const reason = describeReason(fact, world.nowMs);
  return {
    name,
    state,
    reason,
    fact,
    sinceMs: world.nowMs,
    waitingFor: [],
    nextMs: undefined,
    startBlocked: `it is ${state}: ${reason}`,
    settled: false,
    restarts: findService(world.memory.services, name)?.backoff.restarts ?? 0,
    revision: undefined,
    desiredRevision: world.desired.revision,
    container: undefined,
    image: undefined,
    owner: undefined,
    memoryCapBytes: undefined,
    notes: [],
  };
}
