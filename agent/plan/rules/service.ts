// What to do about one service: rules in order, the first that answers decides. Pure.
// Invariants: at most one operation per service; nothing is stopped before the gate has said yes to what replaces it;
// a healthy container is touched only because its spec, caps, files or network are not the wanted ones, or a person asked.
// Held by test/unit/plan/plan.test.ts.

import { isHeldBack } from "../../../shared/state/backoff.ts";
import { type BackoffMemory, setPart } from "../../../shared/state/memory.ts";
import { findHealth, isAlive, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import { pickSaid, type Reason } from "../../../shared/state/reason.ts";
import type { Cause, Operation } from "../../../shared/state/step.ts";
import { buildCause } from "../cause.ts";
import { waitForBackup } from "./backup-first.ts";
import { refuseForeignVolume } from "./foreign-volume.ts";
import { waitForGeneration } from "./generations.ts";
import { restJob, startJob, tendJob } from "./jobs.ts";
import { listPredecessors, waitForData } from "./move.ts";
import { keepOwnData } from "./own-data.ts";
import { listObstacles, lookAround, type Obstacle } from "./start-obstacles.ts";
import { explainReplacement } from "./replacement.ts";
import { rollBack } from "./rollout.ts";
import { askStart, explainAsked } from "./start.ts";
import { buildOperation, buildPrepareSteps, buildStartSteps, buildStop } from "../steps.ts";
import { awaitPlace, yieldPlace } from "../tenure.ts";
import { tendRunning } from "./running-rules.ts";
import { replaceUnstartable, replaceUnusable } from "./unusable.ts";
import type { Decision, ServiceContext, World } from "../world.ts";

/** How often a file system that is not mounted is looked for. */
const MOUNT_EVERY_MS = 5_000;

type Rule = (context: ServiceContext) => Decision | undefined;
const RULES: readonly Rule[] = [
  yieldPlace,
  followOperation,
  respectPause,
  rollBack,
  refuseTakenName,
  refuseForeignVolume,
  keepStopped,
  awaitPlace,
  waitForNetwork,
  tendRunning,
  waitForDataMount,
  waitForData,
  waitForGeneration,
  waitForBackup,
  keepOwnData,
  waitForSecrets,
  replaceUnusable,
  waitForRetry,
  replaceUnstartable,
  waitForHolder,
  createMissing,
  startExisting,
];

/** The same for a job: what runs is left alone, and what is not due rests. */
const JOB_RULES: readonly Rule[] = [
  yieldPlace,
  followOperation,
  respectPause,
  refuseTakenName,
  refuseForeignVolume,
  keepStopped,
  tendJob,
  restJob,
  awaitPlace,
  waitForNetwork,
  waitForDataMount,
  waitForGeneration,
  waitForSecrets,
  waitForRetry,
  startJob,
];

/** Decides about one service. */
export function decideService(context: ServiceContext): Decision {
  for (const rule of context.desired.kind === "job" ? JOB_RULES : RULES) {
    const decision = rule(context);
    if (decision === undefined) continue;
    return decision.operation === undefined ? decision : holdUntilRetry(context, decision);
  }
  return { state: "unknown", reason: { code: "no-rule" }, memory: context.memory };
}

/** What has just failed is not tried again before its time, whichever rule asks for it; the reason stays to be read. */
function holdUntilRetry(context: ServiceContext, decision: Decision): Decision {
  const failure = findPending(context);
  if (failure === undefined) return { ...decision, reason: nameRetry(context, decision.reason) };
  const { operation: _operation, ...held } = decision;
  const reason: Reason = { code: "failed-before", why: decision.reason, said: pickSaid(failure) };
  return { ...held, state: "backoff", reason, retryMs: failure.nextMs };
}

/** An operation in flight is left alone, unless it works towards an intent that is no longer wanted. */
function followOperation(context: ServiceContext): Decision | undefined {
  const { inFlight, desired, memory, world } = context;
  if (inFlight === undefined) return undefined;
  const outdated = inFlight.fingerprint !== desired.fingerprint;
  const base = { memory, ...(outdated ? { cancel: true as const } : {}) };
  const { cause, progress } = inFlight;
  const { why } = cause;
  if (inFlight.stage === "ensure-image") {
    const pulling: Reason = { code: "pulling", image: desired.spec.image, now: { progress } };
    return { ...base, state: "pulling", reason: nameRetry(context, pulling) };
  }
  const container = context.current;
  const health = container === undefined ? undefined : findHealth(world.observed, container);
  if (inFlight.starts)
    return { ...base, state: "starting", reason: nameRetry(context, { code: "under-way", kind: cause.kind, why }) };
  if (inFlight.stage === "stop-container")
    return { ...base, state: nameStopping(context, cause), reason: { code: "stopping", why } };
  if (container?.status === "running") return { ...base, state: health?.status ?? "starting", reason: why };
  return { ...base, state: "waiting", reason: nameRetry(context, { code: "made-ready", why }) };
}

/** Only what its probes have condemned is unhealthy while it ends. */
function nameStopping({ desired, memory, world }: ServiceContext, { kind }: Cause): Decision["state"] {
  if (!desired.running || memory.operator.stoppedBy !== undefined || world.memory.copies?.[desired.name] !== undefined)
    return "stopped";
  return kind === "unhealthy" ? "unhealthy" : "starting";
}

/** Why it is tried once more, so that the reason stays to be read while the next try is under way. */
function nameRetry({ memory: { backoff }, desired }: ServiceContext, why: Reason): Reason {
  const { failure } = backoff;
  if (failure === undefined || failure.fingerprint !== desired.fingerprint) return why;
  return { code: "beside", why, again: { said: pickSaid(failure), now: { attempt: failure.attempt } } };
}

function respectPause({ world, desired, memory, current }: ServiceContext): Decision | undefined {
  const pause = world.memory.pauses[desired.name] ?? world.memory.pauses["*"];
  if (pause === undefined) return undefined;
  const reason: Reason = { code: "paused", uid: pause.uid, running: current?.status === "running" };
  return { state: "paused", reason, memory };
}

/** A container of someone else has the name that ours would get. */
function refuseTakenName({ current, world, desired, engine, memory }: ServiceContext): Decision | undefined {
  if (current !== undefined) return undefined;
  const prefix = `orca-${world.desired.node}-${desired.name}-`;
  const holder = engine.foreign.find(
    (foreign) => foreign.name.startsWith(prefix) && /^[0-9a-f]{8}$/.test(foreign.name.slice(prefix.length)),
  );
  if (holder === undefined || holder.name !== `${prefix}${desired.specHash.slice(3, 11)}`) return undefined;
  return { state: "refused", reason: { code: "name-taken", container: holder.name, owner: holder.node }, memory };
}

function keepStopped(context: ServiceContext): Decision | undefined {
  const { desired, current, others, memory } = context;
  const stop = findStopOrder(context);
  if (stop === undefined) return undefined;
  const running = [current, ...others].filter((entry) => entry !== undefined && isAlive(entry));
  const { reason, cause } = stop;
  const [first] = running;
  if (first === undefined) return { state: "stopped", reason, memory };
  const stops = running.flatMap((entry) => (entry === undefined ? [] : [buildStop(desired, entry)]));
  const next = current === undefined ? memory : setPart(memory, "run", { stopping: current.id });
  return {
    state: "stopped",
    reason: { code: "stopping", why: reason },
    memory: next,
    operation: buildOperation(context, cause, stops),
  };
}

/** Why it may not run: its manifest, a person, or a backup that copies its volumes meanwhile. */
function findStopOrder({ desired, memory, world }: ServiceContext): { reason: Reason; cause: Cause } | undefined {
  const { stoppedBy } = memory.operator;
  if (stoppedBy !== undefined && desired.running) {
    const { uid } = stoppedBy;
    return { reason: { code: "stopped-by", uid }, cause: explainAsked("stop", uid) };
  }
  if (!desired.running) {
    const reason: Reason = { code: "manifest-stopped" };
    return { reason, cause: buildCause("commit", reason, { revision: desired.revision }) };
  }
  const copy = world.memory.copies?.[desired.name];
  if (copy === undefined) return undefined;
  const reason: Reason = { code: "copied-cold", store: copy.store };
  return { reason, cause: buildCause("schedule", reason) };
}

function waitForNetwork({ engine, desired, world, memory }: ServiceContext): Decision | undefined {
  if (desired.spec.network !== undefined) return undefined;
  const name = world.desired.network.name;
  const network = engine.networks[name];
  if (network === undefined) return { state: "waiting", reason: { code: "network-being-made", network: name }, memory };
  if (network.node === world.desired.node) {
    if (world.observed.hosts !== undefined) return undefined;
    return { state: "waiting", reason: { code: "hosts-being-written" }, memory };
  }
  return { state: "refused", reason: { code: "network-taken", network: name, owner: network.node }, memory };
}

/**
 * An empty directory on the root disk must never become a new database: with its file system not mounted, not even the
 * container or the volume of a service is made.
 */
function waitForDataMount({ world, desired, memory }: ServiceContext): Decision | undefined {
  const mounted = world.observed.host.dataMounted;
  if ((desired.spec.volumes ?? []).length === 0 || mounted === undefined || mounted.ok) return undefined;
  return {
    state: "waiting",
    reason: { code: "data-not-mounted", said: { message: mounted.reason } },
    memory,
    nextMs: world.nowMs + MOUNT_EVERY_MS,
  };
}

/** A secret was revoked, or nothing is known of it yet: what does not run is neither made nor started. */
function waitForSecrets({ desired, memory }: ServiceContext): Decision | undefined {
  if (desired.blocked === undefined) return undefined;
  return { state: "waiting", reason: { code: "objected", why: desired.blocked }, memory };
}

/** A failure whose next try lies ahead; what was being removed is waited for no longer than that. */
function findPending({ memory, world, desired, current }: ServiceContext): BackoffMemory["failure"] {
  const { failure } = memory.backoff;
  if (failure === undefined || failure.fingerprint !== desired.fingerprint) return undefined;
  if (failure.fault === "removing" && current === undefined) return undefined;
  return isHeldBack(failure, world.nowMs) ? failure : undefined;
}

/** After a failed operation nothing is tried again before its time. */
function waitForRetry(context: ServiceContext): Decision | undefined {
  const { memory, world, desired, current, others, engine } = context;
  const failure = findPending(context);
  if (failure === undefined) return undefined;
  // The engine does not say who holds a port; a look at the host since may know. What was foreseen was said by that look.
  const obstacles = failure.foreseen === true ? [] : listObstacles(desired, engine, lookAround(world));
  const holder = obstacles.find(({ fault }) => fault === failure.fault)?.why;
  const failed: Reason = { code: "failed", said: pickSaid(failure), ...(holder === undefined ? {} : { holder }) };
  return {
    state: "backoff",
    reason: nameServing(world, failed, [current, ...others]),
    memory,
    retryMs: failure.nextMs,
  };
}

/** A front is made beforehand, and starts when the container that holds its ports and name without a front has ended. */
function waitForHolder(context: ServiceContext): Decision | undefined {
  const { desired, engine, memory, current, world } = context;
  if (desired.frontOf === undefined) return undefined;
  const [before] = listPredecessors(world, engine, world.desired.services.get(desired.frontOf));
  const holder =
    before ??
    engine.containers.find(
      (entry) => entry.service === desired.frontOf && isAlive(entry) && entry.frontName === undefined,
    );
  if (holder === undefined) return undefined;
  const reason: Reason = { code: "waiting-for-ports", container: holder.name };
  if (current !== undefined) return { state: "waiting", reason, memory };
  const operation = buildOperation(context, explainCreation(context), buildPrepareSteps(context));
  return { state: "waiting", reason, memory, operation };
}

/** Makes the container; starts it at once where nothing is in the way, else leaves it ready for its start. */
function createMissing(context: ServiceContext): Decision | undefined {
  const { current, others, world } = context;
  if (current !== undefined) return undefined;
  const cause = explainCreation(context);
  const prepare = buildPrepareSteps(context);
  const before = listPredecessors(world, context.engine, context.desired);
  if (before.length > 0 || others.some(isAlive)) {
    const [obstacle] = listObstacles(context.desired, context.engine, lookAround(world));
    if (obstacle !== undefined) return waitForPlace(context, obstacle, buildOperation(context, cause, prepare));
    const reason = nameServing(world, cause.why, [...others, ...before]);
    return { state: "starting", reason, memory: context.memory, operation: buildOperation(context, cause, prepare) };
  }
  const answer = askStart(context);
  if (!answer.go) return { ...answer.decision, operation: buildOperation(context, cause, prepare) };
  const operation = buildOperation(context, cause, [...prepare, ...buildStartSteps(context, "created")]);
  return {
    state: "starting",
    reason: cause.why,
    memory: answer.memory,
    notes: answer.notes,
    start: answer.start,
    operation,
  };
}

/** It is made ready, and would not start as things are; nothing ends for it meanwhile. */
function waitForPlace(context: ServiceContext, { why }: Obstacle, operation: Operation): Decision {
  const reason = nameServing(context.world, { code: "could-not-start", why }, context.others);
  return { state: "waiting", reason, memory: context.memory, operation };
}

function explainCreation(context: ServiceContext): Cause {
  const { memory, others, desired } = context;
  const { revision } = desired;
  if (others.length > 0) return explainReplacement(context);
  if (memory.run.lastSeen !== undefined) return buildCause("drift", { code: "container-removed" });
  return buildCause("first-start", { code: "first-start", revision }, { revision });
}

/** Starts the container that is there and does not run. */
function startExisting(context: ServiceContext): Decision | undefined {
  const { current, world } = context;
  if (current === undefined) return undefined;
  const answer = askStart(context);
  if (!answer.go) {
    const before = listPredecessors(world, context.engine, context.desired);
    const reason = nameServing(world, answer.decision.reason, [...context.others, ...before]);
    return { ...answer.decision, reason };
  }
  const steps = buildStartSteps(context, current.id);
  const operation = buildOperation(context, answer.cause, steps);
  return {
    state: "starting",
    reason: answer.cause.why,
    memory: answer.memory,
    notes: answer.notes,
    start: answer.start,
    operation,
  };
}

/** Says beside a reason what serves meanwhile. */
function nameServing(world: World, why: Reason, containers: readonly (ObservedContainer | undefined)[]): Reason {
  const serving = containers.find((entry) => entry?.status === "running");
  if (serving === undefined) return why;
  const { revision } = serving;
  return { code: "beside", why, serving: { revision, health: findHealth(world.observed, serving)?.status } };
}
