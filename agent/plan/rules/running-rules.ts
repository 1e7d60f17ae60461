// What to do about a container that runs: drift put right in place, unhealthy restarted, settled recorded as good. Pure.
// Held by test/scenario/restarts.test.ts.

import { listAliases } from "../../../shared/state/container-spec.ts";
import { nameContainer } from "../../../shared/state/identity.ts";
import type { ServiceMemory } from "../../../shared/state/memory.ts";
import { isAlive, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import type { Cause, Step } from "../../../shared/state/step.ts";
import { deliverFiles } from "./deliver.ts";
import { rememberUnhealthy } from "../memory/remember.ts";
import { explainReplacement } from "./replacement.ts";
import { findHealthySince } from "../memory/run.ts";
import { buildRestart, describeRunning, findObstacle, isLoweringUnsafe, type Running } from "./running.ts";
import { buildOperation, buildRemoval, buildStop, describeCaps, sameCaps, standsBehind } from "../steps.ts";
import type { Decision, Scene } from "../world.ts";

/** How often it is looked whether what is in the way of a start has gone. */
const OBSTACLE_EVERY_MS = 5_000;

type Rule = (scene: Running) => Decision | undefined;

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
export function tendRunning(scene: Scene): Decision | undefined {
  const { current, memory } = scene;
  if (current === undefined || (current.status !== "running" && current.status !== "paused")) return undefined;
  // It runs and nothing is in flight, so an end of it from here on was not asked for.
  const { stopping: _stopping, waiting, startAsked: _startAsked, ...kept } = memory;
  const running: Running = { ...scene, current, memory: resetBackoff(scene, kept, current), waited: waiting };
  for (const rule of RULES) {
    const decision = rule(running);
    if (decision !== undefined) return holdUntilRetry(running, decision);
  }
  return describeRunning(running);
}

/** What has just failed is not tried again before its time; the container goes on running meanwhile. */
function holdUntilRetry(scene: Running, decision: Decision): Decision {
  const failure = scene.memory.failure;
  if (decision.operation === undefined || failure === undefined) return decision;
  if (failure.fingerprint !== scene.desired.fingerprint || scene.world.nowMs >= failure.nextMs) return decision;
  const { release, ...shown } = describeRunning(scene);
  const reason = `${shown.reason}; ${decision.operation.cause.detail}: ${failure.message}`;
  // A release that has not got what it should have is not recorded as good.
  const settled = shown.settled === true && release === undefined;
  return { ...shown, reason, memory: scene.memory, retryMs: failure.nextMs, settled };
}

/** A long healthy run ends the backoff. */
function resetBackoff({ desired, world }: Scene, memory: ServiceMemory, current: ObservedContainer): ServiceMemory {
  const sinceMs = findHealthySince(memory, current);
  if (memory.attempt === 0 || sinceMs === undefined) return memory;
  return world.nowMs - sinceMs >= desired.restart.backoff.reset_after ? { ...memory, attempt: 0 } : memory;
}

function unpause(scene: Running): Decision | undefined {
  const { current, desired, memory } = scene;
  if (current.status !== "paused") return undefined;
  const detail = "its processes were paused by hand";
  const steps: Step[] = [{ kind: "unpause-container", service: desired.name, container: current.id }];
  return {
    state: "unhealthy",
    reason: detail,
    memory,
    operation: buildOperation(scene, { kind: "drift", detail }, steps),
  };
}

function replaceOtherImage(scene: Running): Decision | undefined {
  const { current, desired, memory } = scene;
  if (current.image === desired.spec.image) return undefined;
  const detail = `its container was made from ${current.image}, not from ${desired.spec.image}`;
  const steps: Step[] = [
    buildStop(desired, current),
    { kind: "remove-container", service: desired.name, container: current.id },
  ];
  const next = { ...memory, stopping: current.id };
  return {
    state: "starting",
    reason: detail,
    memory: next,
    operation: buildOperation(scene, { kind: "drift", detail }, steps),
  };
}

function stopOthers(scene: Running): Decision | undefined {
  const { others, desired, memory } = scene;
  const running = others.filter((other) => isAlive(other) && !standsBehind(desired, other));
  if (running.length === 0) return undefined;
  const detail = "a container with another spec runs beside it";
  const steps = running.map((other) => buildStop(desired, other));
  return {
    state: "starting",
    reason: detail,
    memory,
    operation: buildOperation(scene, { kind: "drift", detail }, steps),
  };
}

function restartAsked(scene: Running): Decision | undefined {
  const { memory, current } = scene;
  const asked = memory.restartAsked;
  // What cannot be started again is not stopped for that.
  if (asked === undefined || scene.desired.blocked !== undefined || findObstacle(scene) !== undefined) return undefined;
  const { restartAsked: _asked, nextStartMs: _nextStartMs, ...rest } = memory;
  const cause = { kind: "operator", detail: `uid ${asked.uid} asked for a restart`, uid: asked.uid } as const;
  const next = { ...rest, stopping: current.id };
  return {
    state: "starting",
    reason: cause.detail,
    memory: next,
    operation: buildOperation(scene, cause, buildRestart(scene)),
  };
}

function restartUnhealthy(scene: Running): Decision | undefined {
  const { health, desired, memory, current, world } = scene;
  if (health?.status !== "unhealthy" || desired.restart.policy === "never") return undefined;
  const detail = `unhealthy after ${health.failures} failed probes: ${health.message}`;
  const obstacle = desired.blocked ?? findObstacle(scene)?.message;
  if (obstacle !== undefined) {
    const reason = `${detail}; it is not restarted, since it could not start: ${obstacle}`;
    return { state: "unhealthy", reason, memory, retryMs: world.nowMs + OBSTACLE_EVERY_MS };
  }
  const operation = buildOperation(scene, { kind: "unhealthy", detail }, [buildStop(desired, current)]);
  return {
    state: "unhealthy",
    reason: detail,
    memory: rememberUnhealthy(noteSick(memory, health.message), desired, current.id, world.nowMs),
    operation,
  };
}

/** A release that is rolled back between two runs is told by its probes, not by the signal that ended it. */
function noteSick(memory: ServiceMemory, message: string): ServiceMemory {
  return memory.rollout === undefined ? memory : { ...memory, rollout: { ...memory.rollout, sick: message } };
}

function reconnect(scene: Running): Decision | undefined {
  const { desired, current, world, memory } = scene;
  const network = world.desired.network.name;
  if (desired.spec.network !== undefined || current.networks[network] !== undefined) return undefined;
  const detail = `it was taken off the network ${network}`;
  const aliases = listAliases(desired.name, desired.spec);
  const steps: Step[] = [{ kind: "connect-network", service: desired.name, container: current.id, network, aliases }];
  return {
    state: "unhealthy",
    reason: detail,
    memory,
    operation: buildOperation(scene, { kind: "drift", detail }, steps),
  };
}

/** People and programs find it by the name that Orca gave it, and the next one of its spec needs that name. */
function restoreName(scene: Running): Decision | undefined {
  const { desired, current, world, memory } = scene;
  const name = nameContainer(world.desired.node, desired.name, desired.specHash);
  // A later version may name what it makes in another way.
  if (current.name === name || memory.later?.container === current.id) return undefined;
  const detail = `its container was renamed to ${current.name} by hand`;
  const steps: Step[] = [{ kind: "rename-container", service: desired.name, container: current.id, name }];
  return { ...describeRunning(scene), operation: buildOperation(scene, { kind: "drift", detail }, steps) };
}

function correctCaps(scene: Running): Decision | undefined {
  const { desired, current } = scene;
  const samePolicy = current.restartPolicy === "no";
  if ((sameCaps(current.caps, desired.caps) && samePolicy) || isLoweringUnsafe(scene)) return undefined;
  const detail = samePolicy
    ? `caps are ${describeCaps(current.caps)} and should be ${describeCaps(desired.caps)}`
    : `its restart policy is ${current.restartPolicy} and should be no: the agent owns every start`;
  const steps: Step[] = [
    { kind: "update-caps", service: desired.name, container: current.id, from: current.caps, to: desired.caps },
  ];
  return { ...describeRunning(scene), operation: buildOperation(scene, { kind: "drift", detail }, steps) };
}

/** Once settled, containers of older specs go; before that only those that no rollback could want. */
function removeOld(scene: Running): Decision | undefined {
  const { others, desired } = scene;
  const running = describeRunning(scene);
  const release = running.release?.specHash ?? running.memory.release?.specHash;
  const old = others.filter(
    (other) =>
      (running.settled === true || other.specHash !== release) && !(isAlive(other) && standsBehind(desired, other)),
  );
  if (old.length === 0) return undefined;
  const cause = explainRemoval(explainReplacement(scene), running.settled === true);
  return { ...running, operation: buildOperation(scene, cause, old.flatMap(buildRemoval)) };
}

/** Why older containers go, in words that stand for themselves: they end the story of a release. */
function explainRemoval(cause: Cause, settled: boolean): Cause {
  const what = settled
    ? "it has settled with that, and the container before it is removed"
    : "a container that no rollback could want is removed";
  return { ...cause, detail: `${cause.detail}: ${what}` };
}
