// What to do about a container that runs: drift put right in place, unhealthy restarted, settled recorded as good. Pure.
// Held by test/scenario/runs/restarts.test.ts.

import { isHeldBack } from "../../../shared/state/backoff.ts";
import { listAliases } from "../../../shared/state/container-spec.ts";
import { nameContainer } from "../../../shared/state/identity.ts";
import { pickSaid, type Reason } from "../../../shared/state/reason.ts";
import { type ServiceMemory, setPart } from "../../../shared/state/memory.ts";
import { isAlive, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import type { Cause, Step } from "../../../shared/state/step.ts";
import { buildCause } from "../cause.ts";
import { deliverFiles } from "./deliver.ts";
import { rememberUnhealthy } from "../memory/remember.ts";
import { explainReplacement } from "./replacement.ts";
import { explainAsked, explainWayBack } from "./start.ts";
import { findHealthySince } from "../memory/run.ts";
import { buildRestart, describeRunning, findObstacle, isLoweringUnsafe, type Running } from "./running.ts";
import { buildOperation, buildRemoval, buildStop, sameCaps, isRoutedByFront } from "../steps.ts";
import type { Decision, ServiceContext } from "../world.ts";

/** How often it is looked whether what is in the way of a start has gone. */
const OBSTACLE_EVERY_MS = 5_000;

type Rule = (context: Running) => Decision | undefined;

const RULES: readonly Rule[] = [
  unpause,
  replaceOtherImage,
  stopOthers,
  restartAsked,
  restartUnhealthy,
  reconnect,
  restoreName,
  correctCaps,
  deliverFiles,
  removeOld,
];

/** Decides about a running container; undefined when it does not run. */
export function tendRunning(context: ServiceContext): Decision | undefined {
  const { current, memory } = context;
  if (current === undefined || (current.status !== "running" && current.status !== "paused")) return undefined;
  // It runs and nothing is in flight, so an end of it from here on was not asked for.
  const kept = rememberRunning(memory);
  const { waiting } = memory.gate;
  const running: Running = { ...context, current, memory: resetBackoff(context, kept, current), waited: waiting };
  for (const rule of RULES) {
    const decision = rule(running);
    if (decision !== undefined) return holdUntilRetry(running, decision);
  }
  return describeRunning(running);
}

function rememberRunning(memory: ServiceMemory): ServiceMemory {
  const up = setPart(setPart(memory, "run", { stopping: undefined }), "gate", { waiting: undefined });
  return setPart(up, "operator", { startAsked: undefined });
}

/** What has just failed is not tried again before its time; the container goes on running meanwhile. */
function holdUntilRetry(context: Running, decision: Decision): Decision {
  const { failure } = context.memory.backoff;
  if (decision.operation === undefined || failure === undefined) return decision;
  if (failure.fingerprint !== context.desired.fingerprint || !isHeldBack(failure, context.world.nowMs)) return decision;
  const { release, ...shown } = describeRunning(context);
  const { why } = decision.operation.cause;
  const reason: Reason = { code: "runs-and-failed", shown: shown.reason, why, said: pickSaid(failure) };
  // A release that has not got what it should have is not recorded as good.
  const settled = shown.settled === true && release === undefined;
  return { ...shown, reason, memory: context.memory, retryMs: failure.nextMs, settled };
}

/** A long healthy run ends the backoff. */
function resetBackoff(
  { desired, world }: ServiceContext,
  memory: ServiceMemory,
  current: ObservedContainer,
): ServiceMemory {
  const sinceMs = findHealthySince(memory, current);
  if (memory.backoff.attempt === 0 || sinceMs === undefined) return memory;
  const isLong = world.nowMs - sinceMs >= desired.restart.backoff.reset_after;
  return isLong ? setPart(memory, "backoff", { attempt: 0 }) : memory;
}

function unpause(context: Running): Decision | undefined {
  const { current, desired, memory } = context;
  if (current.status !== "paused") return undefined;
  const why: Reason = { code: "paused-by-hand" };
  const steps: Step[] = [{ kind: "unpause-container", service: desired.name, container: current.id }];
  return {
    state: "unhealthy",
    reason: why,
    memory,
    operation: buildOperation(context, buildCause("drift", why), steps),
  };
}

function replaceOtherImage(context: Running): Decision | undefined {
  const { current, desired, memory } = context;
  if (current.image === desired.spec.image) return undefined;
  const why: Reason = { code: "image-differs", is: current.image, wanted: desired.spec.image };
  const steps: Step[] = [
    buildStop(desired, current),
    { kind: "remove-container", service: desired.name, container: current.id },
  ];
  const next = setPart(memory, "run", { stopping: current.id });
  return {
    state: "starting",
    reason: why,
    memory: next,
    operation: buildOperation(context, buildCause("drift", why), steps),
  };
}

function stopOthers(context: Running): Decision | undefined {
  const { others, desired, memory } = context;
  const running = others.filter((other) => isAlive(other) && !isRoutedByFront(desired, other));
  if (running.length === 0) return undefined;
  const why: Reason = { code: "other-spec-beside" };
  const steps = running.map((other) => buildStop(desired, other));
  return {
    state: "starting",
    reason: why,
    memory,
    operation: buildOperation(context, buildCause("drift", why), steps),
  };
}

function restartAsked(context: Running): Decision | undefined {
  const { memory, current } = context;
  const asked = memory.operator.restartAsked;
  // What cannot be started again is not stopped for that.
  if (asked === undefined || context.desired.blocked !== undefined || findObstacle(context) !== undefined)
    return undefined;
  const cause = explainAsked("restart", asked.uid);
  const begun = setPart(setPart(memory, "operator", { restartAsked: undefined }), "backoff", {
    nextStartMs: undefined,
  });
  const next = setPart(begun, "run", { stopping: current.id });
  return {
    state: "starting",
    reason: cause.why,
    memory: next,
    operation: buildOperation(context, cause, buildRestart(context)),
  };
}

function restartUnhealthy(context: Running): Decision | undefined {
  const { health, desired, memory, current, world } = context;
  if (health?.status !== "unhealthy" || desired.restart.policy === "never") return undefined;
  const why: Reason = { code: "unhealthy", failures: health.failures, said: pickSaid(health) };
  const blocked = desired.blocked === undefined ? undefined : ({ code: "objected", why: desired.blocked } as const);
  const obstacle = blocked ?? findObstacle(context)?.why;
  if (obstacle !== undefined) {
    const reason: Reason = { code: "not-restarted", why, obstacle };
    return { state: "unhealthy", reason, memory, retryMs: world.nowMs + OBSTACLE_EVERY_MS };
  }
  const operation = buildOperation(context, buildCause("unhealthy", why), [buildStop(desired, current)]);
  return {
    state: "unhealthy",
    reason: why,
    memory: rememberUnhealthy(noteSick(memory, health.message), desired, current.id, world.nowMs),
    operation,
  };
}

/** A release that is rolled back between two runs is told by its probes, not by the signal that ended it. */
function noteSick(memory: ServiceMemory, message: string): ServiceMemory {
  const { rollout } = memory.release;
  return rollout === undefined ? memory : setPart(memory, "release", { rollout: { ...rollout, sick: message } });
}

function reconnect(context: Running): Decision | undefined {
  const { desired, current, world, memory } = context;
  const network = world.desired.network.name;
  if (desired.spec.network !== undefined || current.networks[network] !== undefined) return undefined;
  const why: Reason = { code: "off-network", network };
  const aliases = listAliases(desired.name, desired.spec);
  const steps: Step[] = [{ kind: "connect-network", service: desired.name, container: current.id, network, aliases }];
  return {
    state: "unhealthy",
    reason: why,
    memory,
    operation: buildOperation(context, buildCause("drift", why), steps),
  };
}

/** People and programs find it by the name that Orca gave it, and the next one of its spec needs that name. */
function restoreName(context: Running): Decision | undefined {
  const { desired, current, world, memory } = context;
  const name = nameContainer(world.desired.node, desired.name, desired.specHash);
  // A later version may name what it makes in another way.
  if (current.name === name || memory.run.byLaterVersion?.container === current.id) return undefined;
  const why: Reason = { code: "renamed", name: current.name };
  const steps: Step[] = [{ kind: "rename-container", service: desired.name, container: current.id, name }];
  return { ...describeRunning(context), operation: buildOperation(context, buildCause("drift", why), steps) };
}

function correctCaps(context: Running): Decision | undefined {
  const { desired, current } = context;
  const samePolicy = current.restartPolicy === "no";
  if ((sameCaps(current.caps, desired.caps) && samePolicy) || isLoweringUnsafe(context)) return undefined;
  const cause = samePolicy
    ? explainCaps(context)
    : buildCause("drift", { code: "policy-differs", policy: current.restartPolicy });
  const steps: Step[] = [
    { kind: "update-caps", service: desired.name, container: current.id, from: current.caps, to: desired.caps },
  ];
  return { ...describeRunning(context), operation: buildOperation(context, cause, steps) };
}

/** Whether a commit has changed the caps, somebody goes back to a release with others, or they were changed by hand. */
function explainCaps({ desired, wanted, current, memory }: Running): Cause {
  const caps = { is: current.caps, wanted: desired.caps };
  const { revision } = desired;
  const { rolledBack: back, lastGood } = memory.release;
  if (back !== undefined && sameCaps(current.caps, wanted.caps)) return explainWayBack(back, revision);
  const isGood = lastGood?.fingerprint === desired.fingerprint;
  return isGood || current.revision === revision
    ? buildCause("drift", { code: "caps-differ", ...caps })
    : buildCause("config", { code: "new-caps", ...caps, revision }, { revision });
}

/** Once a release has settled, the agent removes containers of older specs; before that all but the one that it would go back to. */
function removeOld(context: Running): Decision | undefined {
  const { others, desired } = context;
  const running = describeRunning(context);
  const release = running.release?.specHash ?? running.memory.release.lastGood?.specHash;
  const old = others.filter(
    (other) =>
      (running.settled === true || other.specHash !== release) && !(isAlive(other) && isRoutedByFront(desired, other)),
  );
  if (old.length === 0) return undefined;
  const cause = explainRemoval(explainReplacement(context), running.settled === true);
  return { ...running, operation: buildOperation(context, cause, old.flatMap(buildRemoval)) };
}

/** Why older containers go: that ends the story of a release. */
function explainRemoval({ kind, why, detail: _detail, ...by }: Cause, settled: boolean): Cause {
  return buildCause(kind, { code: "old-container-goes", why, settled }, by);
}
