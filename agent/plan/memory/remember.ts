// From what was observed and how operations ended to what is remembered: exits, backoff, failures. Pure; plan() calls it
// before it decides anything. Running it twice on the same world changes nothing more.

import { backoffDelayMs, failAgain, type Setback } from "../../../shared/state/backoff.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import { beginService, type ExitRecord, type ServiceMemory, setPart } from "../../../shared/state/memory.ts";
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
  const { nextStartMs, failure, repeated } = memory.backoff;
  if (nextStartMs !== undefined && nextStartMs > startLimitMs)
    next = setPart(next, "backoff", { nextStartMs: startLimitMs });
  if (failure !== undefined && failure.nextMs > nowMs + FAILURE_BACKOFF.maxMs)
    next = setPart(next, "backoff", { failure: { ...failure, nextMs: nowMs + FAILURE_BACKOFF.maxMs } });
  if (repeated?.untilMs !== undefined && repeated.untilMs > nowMs + LONGEST_STALL_MS)
    next = setPart(next, "backoff", { repeated: { ...repeated, untilMs: nowMs + LONGEST_STALL_MS } });
  return boundPast(next, nowMs);
}

function boundPast(memory: ServiceMemory, nowMs: number): ServiceMemory {
  let next = memory;
  const { sinceMs } = memory.intent;
  const { waiting } = memory.gate;
  const { lastHealthy } = memory.run;
  if (sinceMs !== undefined && sinceMs > nowMs) next = setPart(next, "intent", { sinceMs: nowMs });
  if (waiting !== undefined && waiting.sinceMs > nowMs)
    next = setPart(next, "gate", { waiting: { ...waiting, sinceMs: nowMs } });
  if (lastHealthy?.sinceMs !== undefined && lastHealthy.sinceMs > nowMs)
    next = setPart(next, "run", { lastHealthy: { ...lastHealthy, sinceMs: nowMs } });
  return next;
}

/** What a service is remembered with before anything happened; a newer intent begins here again. */
export function beginMemory(
  desired: DesiredService,
  known: ServiceMemory | undefined,
  { wanted = desired, nowMs }: { wanted: DesiredService | undefined; nowMs: number },
): ServiceMemory {
  const before = known === undefined ? undefined : dropOverridden(known, wanted.fingerprint);
  if (before?.intent.fingerprint === desired.fingerprint) return before;
  const fresh = beginService(desired.fingerprint);
  const intent = { ...fresh.intent, sinceMs: nowMs };
  if (before === undefined) return { ...fresh, intent };
  // Of a start, a failure and a release that was tried, the newer intent knows nothing.
  const begun = {
    ...before,
    intent,
    backoff: { ...fresh.backoff, restarts: before.backoff.restarts },
  };
  return setPart(
    setPart(setPart(begun, "gate", { waiting: undefined }), "operator", { restartAsked: undefined }),
    "release",
    { rollout: undefined, heldFor: undefined },
  );
}

/** A person's word, and a rollback, stand only while Git wants what it wanted then. */
function dropOverridden(memory: ServiceMemory, wanted: string): ServiceMemory {
  const { stoppedBy } = memory.operator;
  const { rolledBack } = memory.release;
  let next = memory;
  if (stoppedBy !== undefined && stoppedBy.wanted !== wanted)
    next = setPart(next, "operator", { stoppedBy: undefined });
  if (rolledBack !== undefined && rolledBack.wanted !== wanted)
    next = setPart(next, "release", { rolledBack: undefined });
  return next;
}

/** Takes over how the last operations of a service ended. */
export function rememberOutcome(before: ServiceMemory, outcome: OperationOutcome): ServiceMemory {
  const { operation, result } = outcome;
  // What a run was told of is a fact, whatever is wanted of it by now.
  const memory = rememberTold(before, outcome);
  if (operation.fingerprint !== memory.intent.fingerprint) return memory;
  const counted = countRepetition(memory, outcome);
  if (result.kind === "failed") return rememberFailure(memory, operation.lane, { ...result, atMs: outcome.endedMs });
  const { failure } = counted.backoff;
  const mended = failure === undefined ? counted : setPart(counted, "backoff", { failure: undefined });
  // What had failed has now been done, whatever is planned anew after it.
  if (result.kind === "replan") return failure?.step === result.after ? mended : counted;
  if (result.kind !== "done") return counted;
  // Clearing away what was in the way proves nothing yet: the failure counts on, should the next try end the same way.
  return operation.steps.every(({ kind }) => CLEARING.has(kind)) ? counted : mended;
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
  const last = memory.backoff.failure;
  const before = last?.step === step ? last : undefined;
  const isQuick = before === undefined && SEEN_TO_AT_ONCE.has(fault);
  const failed = { nowMs: atMs, message: said.message, key: `${service}\n${step}` };
  const { attempt, nextMs } = failAgain(before, isQuick ? AT_ONCE : FAILURE_BACKOFF, failed);
  const { fingerprint } = memory.intent;
  const known = { fingerprint, step, failure, fault, ...pickSaid(said), attempt, nextMs };
  return setPart(memory, "backoff", { failure: foreseen === undefined ? known : { ...known, foreseen } });
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
  const { lastSeen, lastHealthy } = next.run;
  const ranIn = running ? engine.run : lastSeen?.container === container.id ? lastSeen.engineRun : undefined;
  if (lastSeen?.container !== container.id || lastSeen.engineRun !== ranIn) {
    next = setPart(next, "run", { lastSeen: { container: container.id, engineRun: ranIn } });
  }
  const view = findHealth(world.observed, container);
  if (!running || view === undefined || view.status === "starting") return next;
  const run = nameRun(container);
  const same = lastHealthy?.run === run && lastHealthy.engineRun === engine.run;
  if (view.status === "healthy" && (!same || lastHealthy.sinceMs === undefined)) {
    const healthy = { container: container.id, engineRun: engine.run, run, sinceMs: view.sinceMs };
    return setPart(next, "run", { lastHealthy: healthy });
  }
  if (view.status === "unhealthy" && lastHealthy?.sinceMs !== undefined) {
    const { sinceMs: _sinceMs, ...healthy } = lastHealthy;
    return setPart(next, "run", { lastHealthy: healthy });
  }
  return next;
}

/** A start is measured once, at its first health: later ones are a flap's, or another agent's first look. */
function rememberStart(memory: ServiceMemory, world: World, container: ObservedContainer): ServiceMemory {
  const { startedMs, id, service, status } = container;
  const run = nameRun(container);
  const { operations, outcomes } = world.observed;
  if (status !== "running" || startedMs === undefined || memory.run.startTook?.run === run) return memory;
  if (isBetweenRuns(operations, id)) return memory;
  const view = findHealth(world.observed, container);
  const isOwn = [...operations, ...outcomes.map(({ operation }) => operation)].some(({ lane }) => lane === service);
  const wasHealthy = findHealthySince(memory, container) !== undefined;
  // Nobody here saw it start, or its first health is long past: nothing is made up.
  if (!isOwn && (memory.run.lastSeen === undefined || wasHealthy))
    return setPart(memory, "run", { startTook: { run } });
  if (view?.status !== "healthy") return memory;
  const ms = Math.max(0, view.sinceMs - readBegunMs(memory, container, world.nowMs));
  return setPart(memory, "run", { startTook: { run, ms } });
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
  const { lastExit, lastSeen, lastHealthy, stopping } = memory.run;
  const known = lastExit?.container === container.id && lastExit.finishedMs === container.finishedMs;
  const ranIn = lastSeen?.container === container.id ? lastSeen.engineRun : undefined;
  const engineStopped = ranIn === undefined ? ranBefore(container, engine) : ranIn !== engine.run;
  if (known) return { memory: forgiveAfterEngineStop(memory, engineStopped), exit: undefined };
  const byAgent = stopping === container.id || findStop(world, container) !== undefined;
  const ended = buildExit(container, byAgent, engineStopped && !byAgent);
  const sinceMs = findHealthySince(memory, container);
  // The engine names the end by the wall clock, which may have been set since: it lies after its health, and not ahead.
  const exitMs = Math.min(world.nowMs, Math.max(ended.finishedMs, sinceMs ?? ended.finishedMs));
  const exit = { ...ended, ...measureRun(memory, container, exitMs) };
  const { sinceMs: _sinceMs, ...wasHealthy } = lastHealthy ?? {};
  const base = setPart(memory, "run", {
    stopping: undefined,
    lastHealthy: "container" in wasHealthy ? wasHealthy : undefined,
    lastExit: exit,
    lastExitMs: exitMs,
  });
  if (desired.kind === "job") return { memory: rememberJobRun(base, exit, desired, container.specHash), exit };
  if (exit.requested === "agent" || engineStopped) return { memory: forgiveAfterEngineStop(base, engineStopped), exit };
  const { initial, max, reset_after: resetAfterMs } = desired.restart.backoff;
  const healthyMs = sinceMs === undefined ? 0 : exitMs - sinceMs;
  const { restarts } = memory.backoff;
  const attempt = healthyMs >= resetAfterMs ? 0 : memory.backoff.attempt;
  const delayMs = backoffDelayMs({ initialMs: initial, maxMs: max }, attempt, `${desired.name}\n${container.id}`);
  const nextStartMs = exitMs + delayMs;
  return { memory: setPart(base, "backoff", { attempt: attempt + 1, restarts: restarts + 1, nextStartMs }), exit };
}

function measureRun({ run }: ServiceMemory, container: ObservedContainer, exitMs: number): Pick<ExitRecord, "ranMs"> {
  const { newest } = run;
  return newest?.name === nameRun(container) ? { ranMs: Math.max(0, exitMs - newest.begunMs) } : {};
}

/** Nobody here saw it run: it went down with the engine where it had been started before that last came up. */
function ranBefore({ startedMs }: ObservedContainer, { sinceMs }: Reachable): boolean {
  return startedMs === undefined || sinceMs === undefined || startedMs < sinceMs;
}

/** After the engine or the host went down, a start is a boot: its order is the gate's matter, not backoff's. */
function forgiveAfterEngineStop(memory: ServiceMemory, engineStopped: boolean): ServiceMemory {
  const { attempt, nextStartMs } = memory.backoff;
  if (!engineStopped || (attempt === 0 && nextStartMs === undefined)) return memory;
  const { lastExit } = memory.run;
  const forgiven = setPart(memory, "backoff", { attempt: 0, nextStartMs: undefined });
  return setPart(forgiven, "run", { lastExit: lastExit && { ...lastExit, engineStopped: true } });
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
  const { attempt, restarts } = memory.backoff;
  const delayMs = backoffDelayMs({ initialMs: initial, maxMs: max }, attempt, `${desired.name}\n${containerId}`);
  const counted = { attempt: attempt + 1, restarts: restarts + 1, nextStartMs: nowMs + delayMs };
  return setPart(setPart(memory, "run", { stopping: containerId }), "backoff", counted);
}
