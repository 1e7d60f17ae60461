// From what was observed and how operations ended to what is remembered: exits, backoff, failures. Pure; plan() calls it
// before it decides anything. Running it twice on the same world changes nothing more.

import { backoffDelayMs, failAgain, type Setback } from "../../../shared/state/backoff.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import type { ExitRecord, ServiceMemory } from "../../../shared/state/memory.ts";
import {
  findHealth,
  isAlive,
  isBetweenRuns,
  nameRun,
  type ObservedContainer,
} from "../../../shared/state/observed-state.ts";
import type { Note } from "../../../shared/state/note.ts";
import { pickSaid } from "../../../shared/state/reason.ts";
import type { FaultCode, OperationOutcome, Step } from "../../../shared/state/step.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { rememberJobRun } from "./job-memory.ts";
import { countRepetition } from "../rules/repeat-guard.ts";
import { findStop } from "./stops.ts";
import { findHealthySince, readBegunMs, rememberTold } from "./run.ts";
import type { Reachable, World } from "../world.ts";

/** First and longest wait after a failed operation. */
const FAILURE_BACKOFF = { initialMs: 5_000, maxMs: 300_000 };
const AT_ONCE = { initialMs: 0, maxMs: 0 };

const SIGNAL_BASE = 128;

/** The longest any wait can be: a stall's. */
const LONGEST_STALL_MS = 1_800_000;

/**
 * Puts remembered times back where a clock that jumped backwards has made them absurd: nothing that is waited for lies
 * further away than its longest wait, and nothing that has happened lies in the future.
 */
export function boundTimes(memory: ServiceMemory, desired: DesiredService, nowMs: number): ServiceMemory {
  let next = memory;
  const startLimitMs = nowMs + desired.restart.backoff.max;
  if (next.nextStartMs !== undefined && next.nextStartMs > startLimitMs) next = { ...next, nextStartMs: startLimitMs };
  if (next.failure !== undefined && next.failure.nextMs > nowMs + FAILURE_BACKOFF.maxMs) {
    next = { ...next, failure: { ...next.failure, nextMs: nowMs + FAILURE_BACKOFF.maxMs } };
  }
  if (next.repeated?.untilMs !== undefined && next.repeated.untilMs > nowMs + LONGEST_STALL_MS) {
    next = { ...next, repeated: { ...next.repeated, untilMs: nowMs + LONGEST_STALL_MS } };
  }
  if (next.intentMs !== undefined && next.intentMs > nowMs) next = { ...next, intentMs: nowMs };
  if (next.waiting !== undefined && next.waiting.sinceMs > nowMs)
    next = { ...next, waiting: { ...next.waiting, sinceMs: nowMs } };
  if (next.healthy?.sinceMs !== undefined && next.healthy.sinceMs > nowMs) {
    next = { ...next, healthy: { ...next.healthy, sinceMs: nowMs } };
  }
  return next;
}

/** What a service is remembered with before anything happened; a newer intent begins here again. */
export function beginMemory(
  desired: DesiredService,
  known: ServiceMemory | undefined,
  { wanted = desired, nowMs }: { wanted: DesiredService | undefined; nowMs: number },
): ServiceMemory {
  const before = known === undefined ? undefined : dropOverridden(known, wanted.fingerprint);
  if (before?.fingerprint === desired.fingerprint) return before;
  return {
    fingerprint: desired.fingerprint,
    intentMs: nowMs,
    attempt: 0,
    restarts: before?.restarts ?? 0,
    ...pick(before, ["lastExit", "exitMs", "seen", "run", "healthy", "took", "stopping", "release", "applied"]),
    ...pick(before, ["shown", "ungated", "rolledBack", "stoppedBy", "startAsked", "emptyBy", "own", "job", "later"]),
  };
}

/** A person's word, and a rollback, stand only while Git wants what it wanted then. */
function dropOverridden(memory: ServiceMemory, wanted: string): ServiceMemory {
  const { rolledBack, stoppedBy, ...rest } = memory;
  if ((rolledBack ?? stoppedBy) === undefined) return memory;
  return {
    ...rest,
    ...(rolledBack?.wanted === wanted ? { rolledBack } : {}),
    ...(stoppedBy?.wanted === wanted ? { stoppedBy } : {}),
  };
}

function pick<K extends keyof ServiceMemory>(
  from: ServiceMemory | undefined,
  keys: readonly K[],
): Partial<ServiceMemory> {
  const kept: Partial<ServiceMemory> = {};
  for (const key of keys) if (from?.[key] !== undefined) kept[key] = from[key];
  return kept;
}

/** Takes over how the last operations of a service ended. */
export function rememberOutcome(before: ServiceMemory, outcome: OperationOutcome): ServiceMemory {
  const { operation, result } = outcome;
  // What a run was told of is a fact, whatever is wanted of it by now.
  const memory = rememberTold(before, outcome);
  if (operation.fingerprint !== memory.fingerprint) return memory;
  const counted = countRepetition(memory, outcome);
  if (result.kind === "failed") return rememberFailure(memory, operation.lane, { ...result, atMs: outcome.endedMs });
  const { failure, ...rest } = counted;
  // What had failed has now been done, whatever is planned anew after it.
  if (result.kind === "replan") return failure?.step === result.after ? rest : counted;
  if (result.kind !== "done") return counted;
  // Clearing away what was in the way proves nothing yet: the failure counts on, should the next try end the same way.
  return operation.steps.every(({ kind }) => CLEARING.has(kind)) ? counted : rest;
}

const CLEARING: ReadonlySet<Step["kind"]> = new Set(["remove-container", "remove-files"]);

/** What is seen to without a wait, the first time: the container is made anew. */
const SEEN_TO_AT_ONCE: ReadonlySet<FaultCode> = new Set(["container-stuck", "endpoint-left", "gone"]);

/** Takes down a step that failed, or that would fail as far as can be judged, and when it is tried again. */
export function rememberFailure(
  memory: ServiceMemory,
  service: string,
  { step, failure, fault, foreseen, atMs, ...said }: FailedStep,
): ServiceMemory {
  const before = memory.failure?.step === step ? memory.failure : undefined;
  const isQuick = before === undefined && SEEN_TO_AT_ONCE.has(fault);
  const failed = { nowMs: atMs, message: said.message, key: `${service}\n${step}` };
  const { attempt, nextMs } = failAgain(before, isQuick ? AT_ONCE : FAILURE_BACKOFF, failed);
  const { fingerprint } = memory;
  const known = { fingerprint, step, failure, fault, ...pickSaid(said), attempt, nextMs };
  return { ...memory, failure: foreseen === undefined ? known : { ...known, foreseen } };
}

type FailedStep = Omit<Extract<OperationOutcome["result"], { kind: "failed" }>, "kind"> & {
  foreseen?: true;
  atMs: number;
};

/** What is said of a failure until it is tried again. */
export function noteRetry(prefix: string, { message, nextMs }: Setback, nowMs: number): Note {
  const text = `${prefix}${message}`;
  return { name: text, text: `${text}; tried again in ${describeDuration(nextMs - nowMs)}` };
}

/** Takes over how the last operation of a lane of no wanted service (the node's own, the end of a removed one) ended; undefined when nothing is wrong. */
export function rememberLane(
  before: Setback | undefined,
  { observed: { outcomes }, nowMs }: World,
  lane: string,
): Setback | undefined {
  const farMs = nowMs + FAILURE_BACKOFF.maxMs;
  let failure = before !== undefined && before.nextMs > farMs ? { ...before, nextMs: farMs } : before;
  for (const { operation, result, endedMs } of outcomes) {
    if (operation.lane !== lane) continue;
    if (result.kind !== "failed") failure = undefined;
    else failure = failAgain(failure, FAILURE_BACKOFF, { nowMs: endedMs, message: result.message, key: lane });
  }
  return failure;
}

/** Remembers which container is there, in which engine run it last ran, and whether its run is healthy. */
export function rememberContainer(memory: ServiceMemory, world: World, container: ObservedContainer): ServiceMemory {
  const engine = world.observed.engine as Reachable;
  let next = rememberStart(memory, world, container);
  const running = isAlive(container);
  const ranIn = running ? engine.run : next.seen?.container === container.id ? next.seen.engineRun : undefined;
  if (next.seen?.container !== container.id || next.seen.engineRun !== ranIn) {
    next = { ...next, seen: { container: container.id, engineRun: ranIn } };
  }
  const view = findHealth(world.observed, container);
  if (!running || view === undefined || view.status === "starting") return next;
  const run = nameRun(container);
  const same = next.healthy?.run === run && next.healthy.engineRun === engine.run;
  if (view.status === "healthy" && (!same || next.healthy?.sinceMs === undefined)) {
    const healthy = { container: container.id, engineRun: engine.run, run, sinceMs: view.sinceMs };
    return { ...next, healthy };
  }
  if (view.status === "unhealthy" && next.healthy?.sinceMs !== undefined) {
    const { sinceMs: _sinceMs, ...healthy } = next.healthy;
    return { ...next, healthy };
  }
  return next;
}

/** A start is measured once, at its first health: later ones are a flap's, or another agent's first look. */
function rememberStart(memory: ServiceMemory, world: World, container: ObservedContainer): ServiceMemory {
  const { startedMs, id, service, status } = container;
  const run = nameRun(container);
  const { operations, outcomes } = world.observed;
  if (status !== "running" || startedMs === undefined || memory.took?.run === run) return memory;
  if (isBetweenRuns(operations, id)) return memory;
  const view = findHealth(world.observed, container);
  const isOwn = [...operations, ...outcomes.map(({ operation }) => operation)].some(({ lane }) => lane === service);
  const wasHealthy = findHealthySince(memory, container) !== undefined;
  // Nobody here saw it start, or its first health is long past: nothing is made up.
  if (!isOwn && (memory.seen === undefined || wasHealthy)) return { ...memory, took: { run } };
  if (view?.status !== "healthy") return memory;
  return { ...memory, took: { run, ms: Math.max(0, view.sinceMs - readBegunMs(memory, container, world.nowMs)) } };
}

/** What an ended container changes: its exit is recorded once, and a crash moves the next start away. */
export function rememberExit(
  memory: ServiceMemory,
  container: ObservedContainer,
  desired: DesiredService,
  { world, engine }: { world: World; engine: Reachable },
): { memory: ServiceMemory; exit: ExitRecord | undefined } {
  if ((container.status !== "exited" && container.status !== "dead") || container.finishedMs === undefined) {
    return { memory, exit: undefined };
  }
  const known = memory.lastExit?.container === container.id && memory.lastExit.finishedMs === container.finishedMs;
  const ranIn = memory.seen?.container === container.id ? memory.seen.engineRun : undefined;
  const engineStopped = ranIn === undefined ? ranBefore(container, engine) : ranIn !== engine.run;
  if (known) return { memory: forgiveAfterEngineStop(memory, engineStopped), exit: undefined };
  const byAgent = memory.stopping === container.id || findStop(world, container) !== undefined;
  const ended = buildExit(container, byAgent, engineStopped && !byAgent);
  const { stopping: _stopping, healthy, ...rest } = memory;
  const { sinceMs: _sinceMs, ...wasHealthy } = healthy ?? {};
  const sinceMs = findHealthySince(memory, container);
  // The engine names the end by the wall clock, which may have been set since: it lies after its health, and not ahead.
  const exitMs = Math.min(world.nowMs, Math.max(ended.finishedMs, sinceMs ?? ended.finishedMs));
  const exit = { ...ended, ...measureRun(memory, container, exitMs) };
  const kept = "container" in wasHealthy ? { healthy: wasHealthy } : {};
  const base: ServiceMemory = { ...rest, ...kept, lastExit: exit, exitMs };
  if (desired.kind === "job") return { memory: rememberJobRun(base, exit, desired, container.specHash), exit };
  if (exit.requested === "agent" || engineStopped) return { memory: forgiveAfterEngineStop(base, engineStopped), exit };
  const { initial, max, reset_after: resetAfterMs } = desired.restart.backoff;
  const healthyMs = sinceMs === undefined ? 0 : exitMs - sinceMs;
  const attempt = healthyMs >= resetAfterMs ? 0 : memory.attempt;
  const delayMs = backoffDelayMs({ initialMs: initial, maxMs: max }, attempt, `${desired.name}\n${container.id}`);
  const nextStartMs = exitMs + delayMs;
  return { memory: { ...base, attempt: attempt + 1, restarts: memory.restarts + 1, nextStartMs }, exit };
}

function measureRun({ run }: ServiceMemory, container: ObservedContainer, exitMs: number): Pick<ExitRecord, "ranMs"> {
  return run?.name === nameRun(container) ? { ranMs: Math.max(0, exitMs - run.begunMs) } : {};
}

/** Nobody here saw it run: it went down with the engine where it had been started before that last came up. */
function ranBefore({ startedMs }: ObservedContainer, { sinceMs }: Reachable): boolean {
  return startedMs === undefined || sinceMs === undefined || startedMs < sinceMs;
}

/** After the engine or the host went down, a start is a boot: its order is the gate's matter, not backoff's. */
function forgiveAfterEngineStop(memory: ServiceMemory, engineStopped: boolean): ServiceMemory {
  if (!engineStopped || (memory.attempt === 0 && memory.nextStartMs === undefined)) return memory;
  const { nextStartMs: _nextStartMs, ...rest } = memory;
  const lastExit = rest.lastExit === undefined ? {} : { lastExit: { ...rest.lastExit, engineStopped: true } };
  return { ...rest, ...lastExit, attempt: 0 };
}

function buildExit(container: ObservedContainer, byAgent: boolean, engineStopped: boolean): ExitRecord {
  const exitCode = container.exitCode ?? -1;
  // An engine that goes down sends each container its signal first, as a person does.
  const byHand = container.stoppedByHand && !engineStopped;
  return {
    service: container.service,
    container: container.id,
    startedMs: container.startedMs,
    finishedMs: container.finishedMs ?? 0,
    exitCode,
    signal: exitCode > SIGNAL_BASE && exitCode < SIGNAL_BASE + 65 ? exitCode - SIGNAL_BASE : undefined,
    oom: container.oomKilled,
    requested: byAgent ? "agent" : byHand ? "by-hand" : undefined,
    engineStopped,
    logTail: container.logTail,
  };
}

/** Counts an unhealthy run against the backoff, as a crash is. */
export function rememberUnhealthy(
  memory: ServiceMemory,
  desired: DesiredService,
  containerId: string,
  nowMs: number,
): ServiceMemory {
  const { initial, max } = desired.restart.backoff;
  const delayMs = backoffDelayMs({ initialMs: initial, maxMs: max }, memory.attempt, `${desired.name}\n${containerId}`);
  return {
    ...memory,
    stopping: containerId,
    attempt: memory.attempt + 1,
    restarts: memory.restarts + 1,
    nextStartMs: nowMs + delayMs,
  };
}
