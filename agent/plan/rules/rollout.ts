// Rollouts: how long a new release has been tried, when it has failed, and what runs in its place then. Pure.
// Only the release itself can fail: while the registry, the disk, the engine or something it requires is at fault, its time
// stands still, and nothing is rolled back (behaviour, section 2).
// Held by test/scenario/start/rollout.test.ts.

import { describeReason } from "../../../shared/text/describe-reason.ts";
import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import type { NodeMemory, ServiceMemory } from "../../../shared/state/memory.ts";
import { pickSaid, type Reason, type ReasonOf } from "../../../shared/state/reason.ts";
import type { ObservedContainer } from "../../../shared/state/observed-state.ts";
import { carryAsItIs } from "../as-it-is.ts";
import { checkTarget } from "./gate.ts";
import { judgeOwnData } from "./own-data.ts";
import { isRunOf, readBegunMs } from "../memory/run.ts";
import type { Decision, Reachable, ServiceContext, World } from "../world.ts";

/** Between two turns at most so much time counts: the rest was the agent's own absence, or a clock that jumped. */
const LONGEST_TURN_GAP_MS = 35_000;

/** Finds a kept release by its fingerprint. */
export type FindRelease = (service: string, fingerprint: string) => DesiredService | undefined;

/**
 * Puts earlier releases where the memory says that they stand in for what Git wants, and where a new container would begin without
 * data that is here: the old one goes on being healed meanwhile.
 * @param volumes the engine's volumes that services name; undefined while that is not known
 */
export function applyRollbacks(
  desired: DesiredState,
  memory: NodeMemory,
  find: FindRelease,
  volumes: Reachable["volumes"] | undefined,
): Pick<World, "desired" | "wanted" | "releases"> {
  const objections = new Map(desired.objections);
  const services = new Map<string, DesiredService>();
  const wanted = new Map<string, DesiredService>();
  const releases = new Map<string, DesiredService>();
  const put = (service: DesiredService): DesiredService => {
    const { name } = service;
    const known = memory.services[name];
    const back = known?.rolledBack;
    const held = back?.wanted === service.fingerprint ? undefined : holdForData(service, known, find, volumes);
    if (held !== undefined) {
      const reason = describeReason(held.reason, 0);
      if (!objections.has(name)) objections.set(name, { state: "held", reason, problems: [] });
      const standIn = carryAsItIs(service, held.release);
      services.set(name, standIn);
      wanted.set(name, service);
      return standIn;
    }
    const release = back?.wanted === service.fingerprint ? find(name, back.to) : undefined;
    const chosen = release === undefined ? service : carryAsItIs(service, release);
    services.set(name, chosen);
    if (release !== undefined) wanted.set(name, service);
    if (back?.wanted === service.fingerprint || known?.release === undefined) return chosen;
    if (known.release.fingerprint === service.fingerprint) return chosen;
    const good = find(name, known.release.fingerprint);
    if (good !== undefined) releases.set(name, good);
    return chosen;
  };
  for (const service of desired.services.values()) {
    if (service.frontOf !== undefined) continue;
    // A release brings the front that it ran with.
    const { front } = put(service);
    if (front !== undefined) put(front.service);
  }
  for (const [name, { state }] of desired.objections) {
    // What the host's policy refuses is not started again; what cannot be read any more is held at its release.
    const release = services.has(name) || state !== "invalid" ? undefined : findHeldRelease(name, memory, find);
    if (release === undefined) continue;
    const { front } = put(release);
    if (front !== undefined) put(front.service);
  }
  return { desired: { ...desired, services, objections }, wanted, releases };
}

/**
 * The release of a service of which neither Git nor what was accepted before can be used: by a stricter version of the agent, or
 * for a file that is gone. One that was stopped stays stopped.
 */
function findHeldRelease(name: string, memory: NodeMemory, find: FindRelease): DesiredService | undefined {
  const known = memory.services[name];
  if (known?.release === undefined || known.shown?.state === "stopped") return undefined;
  const release = find(name, known.rolledBack?.to ?? known.release.fingerprint);
  return release?.kind === "service" ? release : undefined;
}

/** The release that goes on where a new container would begin without its data, and why. */
function holdForData(
  wanted: DesiredService,
  known: ServiceMemory | undefined,
  find: FindRelease,
  volumes: Reachable["volumes"] | undefined,
): { release: DesiredService; reason: Reason } | undefined {
  if (known?.own === undefined || known.release?.specHash !== known.own.specHash) return undefined;
  const { own, emptyBy } = known;
  const reason = judgeOwnData({ wanted, own, emptyBy }, volumes);
  const release = reason === undefined ? undefined : find(wanted.name, known.release.fingerprint);
  return release === undefined || reason === undefined ? undefined : { release, reason };
}

/**
 * A new value of a secret makes another release of the same manifest: what a person has said of a service stands, until they
 * take it back or its manifest changes.
 */
export function keepOperatorOverrides(memory: NodeMemory, desired: DesiredState): NodeMemory {
  const services = { ...memory.services };
  for (const name of desired.rotating.keys()) {
    const [known, wanted] = [memory.services[name], desired.services.get(name)?.fingerprint];
    if (known === undefined || wanted === undefined) continue;
    const { stoppedBy, rolledBack } = known;
    services[name] = {
      ...known,
      ...(stoppedBy === undefined ? {} : { stoppedBy: { ...stoppedBy, wanted } }),
      ...(rolledBack?.uid === undefined ? {} : { rolledBack: { ...rolledBack, wanted } }),
    };
  }
  return { ...memory, services };
}

/**
 * Counts how long this release has been tried, from its first run on; forgets it where there is nothing to go back to. A run that
 * does not have what the release delivers is one of the release before: ending it, however slowly, is no time of this one.
 */
export function rememberRollout(
  memory: ServiceMemory,
  world: World,
  desired: DesiredService,
  current: ObservedContainer | undefined,
): ServiceMemory {
  const { rollout, ...rest } = memory;
  const canGoBack = desired.running && desired.kind === "service" && world.releases.has(desired.name);
  // One that cannot be started is tried as much as one that starts and is never healthy.
  const hasFailed = memory.failure !== undefined && memory.failure.failure !== "infrastructure";
  const isTried = hasFailed || isRunOf(desired, memory, current) || rollout?.fingerprint === desired.fingerprint;
  if (!canGoBack || !isTried) return rollout === undefined ? memory : rest;
  const engineRun = (world.observed.engine as Reachable).run;
  const begun = { fingerprint: desired.fingerprint, engineRun, spentMs: 0, seenMs: world.nowMs };
  if (rollout?.fingerprint !== desired.fingerprint || rollout.engineRun !== engineRun)
    return { ...rest, rollout: begun };
  if (isNotReleaseFault(memory, world, desired)) return { ...rest, rollout: { ...rollout, seenMs: world.nowMs } };
  const gapMs = Math.min(Math.max(0, world.nowMs - rollout.seenMs), LONGEST_TURN_GAP_MS);
  return { ...rest, rollout: { ...rollout, spentMs: rollout.spentMs + gapMs, seenMs: world.nowMs } };
}

/** True while something other than the release is at fault. */
export function isNotReleaseFault(memory: ServiceMemory, world: World, desired: DesiredService): boolean {
  if (memory.failure?.failure === "infrastructure" || world.memory.pauses[desired.name] !== undefined) return true;
  if (world.memory.pauses["*"] !== undefined || memory.stoppedBy !== undefined) return true;
  return desired.requires.some((entry) => !checkTarget(world, entry.target).healthy);
}

/** Goes back to the last good release when this one cannot run, or has not settled in its time. */
export function rollBack(context: ServiceContext): Decision | undefined {
  const { desired, memory, world } = context;
  const release = world.releases.get(desired.name);
  if (release === undefined || !desired.update.rollback || !desired.running) return undefined;
  const fault = findFault(context);
  if (fault === undefined) return undefined;
  const reason = describeReason(fault, world.nowMs);
  const { rollout: _rollout, failure: _failure, nextStartMs: _nextStartMs, ...rest } = memory;
  const back = { wanted: desired.fingerprint, to: release.fingerprint, revision: release.revision, reason };
  return {
    state: "rolled-back",
    reason: { code: "takes-its-place", revision: release.revision },
    memory: { ...rest, rolledBack: back },
    // The next turn plans with the release that now stands in its place.
    nextMs: world.nowMs,
  };
}

/** Why this release has failed, or undefined while it has not. */
function findFault({ desired, memory, current, health, world }: ServiceContext): Reason | undefined {
  const { failure, rollout } = memory;
  if (failure?.failure === "artefact" && failure.fingerprint === desired.fingerprint)
    return { code: "said", said: pickSaid(failure) };
  if (rollout === undefined || rollout.spentMs < desired.update.healthy_within) return undefined;
  const tried = {
    code: "not-settled-within",
    revision: desired.revision,
    withinMs: desired.update.healthy_within,
  } as const;
  const failed = failure && ({ code: "said", said: pickSaid(failure) } as const);
  if (current?.status !== "running") return { ...tried, why: failed ?? readEnd(memory) };
  // Its manifest gives it this time to come up, whatever else is written there.
  if (world.nowMs - readBegunMs(memory, current, world.nowMs) < (desired.health?.start_period ?? 0)) return undefined;
  if (health === undefined || health.notMade) return undefined;
  // Healthy at the end of its time: it is given the rest of its settling.
  return health.status === "healthy" ? undefined : { ...tried, why: { code: "said", said: pickSaid(health) } };
}

function readEnd({ lastExit, restarts, rollout }: ServiceMemory): Reason {
  if (lastExit?.requested === "agent" && rollout?.sick !== undefined)
    return { code: "said", said: { message: rollout.sick } };
  if (lastExit === undefined) return { code: "does-not-run" };
  return { code: "ended-often", exitCode: lastExit.exitCode, now: { restarts } };
}

/** When the time of a release that is being tried ends; undefined where nothing would happen then. */
export function rolloutEndMs({ desired, memory, world, current }: ServiceContext): number | undefined {
  const { rollout } = memory;
  if (rollout === undefined || !desired.update.rollback) return undefined;
  const leftMs = desired.update.healthy_within - rollout.spentMs;
  // Nothing is judged before the time that its manifest gives it to come up is over, either.
  const begunMs = current?.status === "running" ? readBegunMs(memory, current, world.nowMs) : undefined;
  const upMs = begunMs === undefined ? 0 : begunMs + (desired.health?.start_period ?? 0) - world.nowMs;
  const waitMs = Math.max(leftMs, upMs);
  return waitMs > 0 ? world.nowMs + waitMs : undefined;
}

/**
 * Says over a reason that the service runs an earlier release.
 * @param over whether its manifest has changed since, to something that cannot be used: that is then what is waited for
 */
export function nameRolledBack(
  { uid, revision, reason: message }: NonNullable<ServiceMemory["rolledBack"]>,
  over: boolean,
  why?: Reason,
): ReasonOf<"rolled-back"> {
  return { code: "rolled-back", revision, uid, said: { message }, over, why };
}
