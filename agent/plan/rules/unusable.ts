// Containers of ours that cannot be used as they are: another image, dead, or one that the engine can never start again. They are
// removed and made anew. Pure; rules of service.ts.
// Held by test/scenario/start/stuck-containers.test.ts.

import { setPart } from "../../../shared/state/memory.ts";
import type { ObservedContainer } from "../../../shared/state/observed-state.ts";
import { pickSaid, type Reason } from "../../../shared/state/reason.ts";
import type { FaultCode, Step } from "../../../shared/state/step.ts";
import { buildCause } from "../cause.ts";
import { buildOperation, buildStop } from "../steps.ts";
import type { Decision, ServiceContext } from "../world.ts";

/** Our labels on a container that cannot be the wanted one, or that cannot run again: it is made anew. */
export function replaceUnusable(context: ServiceContext): Decision | undefined {
  const { current, desired, memory } = context;
  if (current === undefined) return undefined;
  if (current.status === "removing") return waitForRemoval(context, current);
  if (current.status === "restarting") return endRestarting(context, current);
  const otherImage = current.image !== desired.spec.image;
  if (!otherImage && current.status !== "dead") return undefined;
  const why: Reason = otherImage
    ? { code: "image-differs", is: current.image, wanted: desired.spec.image }
    : { code: "container-dead" };
  const step = { kind: "remove-container", service: desired.name, container: current.id } as const;
  return {
    state: "starting",
    reason: why,
    memory,
    operation: buildOperation(context, buildCause("drift", why), [step]),
  };
}

/** An engine that was ended in the middle of a removal, or a busy mount, can leave it so for ever: it is then asked again. */
function waitForRemoval(context: ServiceContext, { id, finishedMs = 0 }: ObservedContainer): Decision {
  const { memory, world, desired } = context;
  const reason: Reason = { code: "somebody-removes-it" };
  const nextMs = finishedMs + REMOVAL_MS;
  if (world.nowMs < nextMs) return { state: "starting", reason, memory, nextMs };
  const step = { kind: "remove-container", service: desired.name, container: id } as const;
  const why: Reason = { code: "removal-stuck" };
  const operation = buildOperation(context, buildCause("drift", why), [step]);
  return { state: "starting", reason: why, memory, operation };
}

/** The engine starts it again and again by a restart policy that somebody gave it: the agent owns every start. */
function endRestarting(context: ServiceContext, current: ObservedContainer): Decision {
  const { desired, memory } = context;
  const why: Reason = { code: "engine-restarts-it", policy: current.restartPolicy };
  const caps: Step = {
    kind: "update-caps",
    service: desired.name,
    container: current.id,
    from: current.caps,
    to: desired.caps,
  };
  const operation = buildOperation(context, buildCause("drift", why), [caps, buildStop(desired, current)]);
  return { state: "unhealthy", reason: why, memory: setPart(memory, "run", { stopping: current.id }), operation };
}

/** A removal that somebody asked for ends within so long. */
const REMOVAL_MS = 10_000;

/** Faults of a start that no further start of the same container gets over. */
const NEVER_AGAIN: ReadonlySet<FaultCode> = new Set(["source-missing", "container-stuck", "endpoint-left"]);

/**
 * A container that can never start again is made anew. It keeps the paths that it was made with, and what Orca itself delivers may lie
 * elsewhere now (another state directory); or an engine that was killed in the middle of a start still holds on to that run. A path of
 * the manifest that is missing fails the creation that follows.
 */
export function replaceUnstartable(context: ServiceContext): Decision | undefined {
  const { current, desired, memory } = context;
  const { failure } = memory.backoff;
  if (current === undefined || failure?.step !== "start-container" || !NEVER_AGAIN.has(failure.fault ?? "other"))
    return undefined;
  const why: Reason = { code: "unstartable", said: pickSaid(failure) };
  const step = { kind: "remove-container", service: desired.name, container: current.id } as const;
  const operation = buildOperation(context, buildCause("drift", why), [step]);
  return { state: "starting", reason: why, memory, operation };
}
