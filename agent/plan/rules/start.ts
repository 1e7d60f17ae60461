// May this service's container start now, and why does it start? Asked before anything is created, stopped or started. Pure.
// Held by test/scenario/start/start-failures.test.ts.

import { describeReason } from "../../../shared/text/describe-reason.ts";
import { type ReleasesMemory, type ServiceMemory, setPart } from "../../../shared/state/memory.ts";
import { isAlive, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import type { EndFact, Reason } from "../../../shared/state/reason.ts";
import type { StartStage } from "../../../shared/state/status.ts";
import type { Cause } from "../../../shared/state/step.ts";
import { buildCause } from "../cause.ts";
import { waitForDataHolder } from "./data-holder.ts";
import { askGate, type GateVerdict, selectHealthySeen } from "./gate.ts";
import { listHolders, listObstacles, lookAround } from "./start-obstacles.ts";
import { rememberFailure } from "../memory/remember.ts";
import { explainReplacement } from "./replacement.ts";
import { listEnded, isRoutedByFront } from "../steps.ts";
import { findStop } from "../memory/stops.ts";
import type { Decision, ServiceContext } from "../world.ts";

/** Yes with what is then remembered, or no with what to show. */
export type StartAnswer =
  | { go: true; memory: ServiceMemory; cause: Cause; notes: readonly Reason[]; start: StartStage }
  | { go: false; decision: Decision };

/** A person's word: what it requires is not asked. */
const OPEN: GateVerdict = {
  open: true,
  ungated: { code: "started-by-person" },
  notes: [],
  without: [],
};

/** Asks everything that can hold a start back, the cheapest and most certain first. */
export function askStart(context: ServiceContext): StartAnswer {
  const held = (context.desired.kind === "job" ? undefined : checkCompleted(context)) ?? checkBackoff(context);
  if (held !== undefined) return { go: false, decision: held };
  const gate = context.memory.operator.startAsked?.ignoreRequires === true ? OPEN : askGate(context);
  if (!gate.open) return waitAtGate(context, gate);
  const beside = checkPlace(context) ?? checkFront(context) ?? waitForDataHolder(context) ?? checkSecondCopy(context);
  if (beside !== undefined) return { go: false, decision: beside };
  return takeSlot(context, gate);
}

/**
 * Asks for a container that runs and is to start anew with other content: as for any release's first start, nothing is stopped
 * before the gate has said yes.
 */
export function askRestart(context: ServiceContext): StartAnswer {
  const { blocked } = context.desired;
  const [obstacle] = listObstacles(context.desired, context.engine, lookAround(context.world));
  const reason: Reason | undefined =
    blocked === undefined
      ? obstacle && { code: "could-not-start-again", why: obstacle.why }
      : { code: "objected", why: blocked };
  if (reason !== undefined) return { go: false, decision: { state: "waiting", reason, memory: context.memory } };
  // How an earlier run of it ended opens no gate for this one.
  const { lastExit } = context.memory.run;
  const memory = setPart(context.memory, "run", { lastExit: undefined });
  const gate = askGate({ ...context, memory });
  const answer = gate.open ? takeSlot({ ...context, memory }, gate) : waitAtGate({ ...context, memory }, gate);
  const keep = (kept: ServiceMemory): ServiceMemory => setPart(kept, "run", { lastExit });
  if (answer.go) return { ...answer, memory: keep(answer.memory) };
  return { go: false, decision: { ...answer.decision, memory: keep(answer.decision.memory) } };
}

function waitAtGate(context: ServiceContext, gate: Extract<GateVerdict, { open: false }>): StartAnswer {
  const memory = rememberWaiting(context);
  const { waitingFor, reason, nextMs } = gate;
  const next = nextMs === undefined ? {} : { nextMs };
  const stage = gate.failed
    ? { state: "failed" as const }
    : { state: "waiting" as const, start: { at: "gate" as const } };
  return { go: false, decision: { ...stage, reason, memory, waitingFor, ...next } };
}

function takeSlot(context: ServiceContext, gate: Extract<GateVerdict, { open: true }>): StartAnswer {
  if (!context.takeSlot()) {
    const reason: Reason = { code: "no-start-slot", slots: context.world.settings.startSlots };
    return { go: false, decision: { state: "waiting", reason, memory: context.memory, start: { at: "slot" } } };
  }
  const memory = rememberBegun(context.memory, gate);
  const notes = gate.ungated === undefined ? gate.notes : [...gate.notes, gate.ungated];
  return { go: true, memory, cause: explainStart(context), notes, start: { at: "begun", without: gate.without } };
}

/** What was asked for has begun, and nothing is waited for any more. */
function rememberBegun(memory: ServiceMemory, { ungated }: Extract<GateVerdict, { open: true }>): ServiceMemory {
  const startedWithout = ungated === undefined ? undefined : describeReason(ungated, 0);
  const through = setPart(memory, "gate", { waiting: undefined, startedWithout });
  const due = setPart(through, "backoff", { nextStartMs: undefined });
  return setPart(due, "operator", { restartAsked: undefined, startAsked: undefined });
}

/**
 * A start that must fail ends nothing that serves: it counts as one that has failed. Where nothing would be stopped for it, the engine
 * itself says what is in the way, but for a container of somebody else, whose name the engine does not say.
 */
function checkPlace(context: ServiceContext): Decision | undefined {
  const { desired, engine, world, memory } = context;
  const ends = listEnded(context);
  const [obstacle] =
    ends.length > 0 ? listObstacles(desired, engine, lookAround(world)) : listHolders(desired, engine, world.desired);
  if (obstacle === undefined) return undefined;
  const { fault, why } = obstacle;
  const message = describeReason(why, world.nowMs);
  const failed = {
    step: "start-container",
    failure: "retry",
    fault,
    message,
    foreseen: true,
    atMs: world.nowMs,
  } as const;
  const next = rememberFailure(memory, desired.name, failed);
  return {
    state: "backoff",
    reason: { code: "cannot-start", why },
    memory: next,
    ...(next.backoff.failure === undefined ? {} : { retryMs: next.backoff.failure.nextMs }),
  };
}

/** Before a container that holds its own ports ends for one behind a front, that front is ready to take them over. */
function checkFront({ desired, others, engine, memory }: ServiceContext): Decision | undefined {
  const front = desired.front?.service;
  const holder = others.find((other) => isAlive(other) && !isRoutedByFront(desired, other));
  if (front === undefined || holder === undefined) return undefined;
  if (engine.containers.some((entry) => entry.service === front.name && entry.specHash === front.specHash))
    return undefined;
  const reason: Reason = { code: "front-being-made", front: front.name, revision: holder.revision };
  return { state: "waiting", reason, memory };
}

/** A second copy that does not fit into the node's memory beside all that runs is not started. */
function checkSecondCopy(context: ServiceContext): Decision | undefined {
  const { desired, others, memory } = context;
  const needBytes = desired.caps.memoryBytes;
  if (!others.some((other) => isAlive(other) && isRoutedByFront(desired, other))) return undefined;
  const leftBytes = context.takeMemory(needBytes);
  if (leftBytes >= needBytes) return undefined;
  const reason: Reason = { code: "waiting-for-memory", needBytes, now: { leftBytes } };
  return { state: "waiting", reason, memory };
}

/** A container that ended by itself and that its restart policy leaves ended. */
function checkCompleted({ current, memory, desired }: ServiceContext): Decision | undefined {
  const exit = memory.run.lastExit;
  if (current === undefined || current.status === "created" || exit?.container !== current.id) return undefined;
  if (exit.requested === "agent" || exit.engineStopped || isAsked(memory)) return undefined;
  const { policy } = desired.restart;
  if (policy === "always" || (policy === "on-failure" && exit.exitCode !== 0)) return undefined;
  const reason: Reason = { code: "policy-leaves-ended", exitCode: exit.exitCode, policy };
  return { state: exit.exitCode === 0 ? "completed" : "failed", reason, memory };
}

/** A person asked for this start: nothing that Orca itself has decided holds it back. */
function isAsked({ operator }: ServiceMemory): boolean {
  return operator.restartAsked !== undefined || operator.startAsked !== undefined;
}

function checkBackoff({ world, memory }: ServiceContext): Decision | undefined {
  const { nextStartMs: retryMs, attempt } = memory.backoff;
  if (retryMs === undefined || isAsked(memory) || world.nowMs >= retryMs) return undefined;
  const reason: Reason = { code: "backoff", end: readEnd(memory), now: { attempt, untilMs: retryMs } };
  return { state: "backoff", reason, memory, retryMs };
}

function rememberWaiting(context: ServiceContext): ServiceMemory {
  const { memory, engine, world } = context;
  const before = memory.gate.waiting?.engineRun === engine.run ? memory.gate.waiting : undefined;
  const sinceMs = before?.sinceMs ?? world.nowMs;
  const healthySeen = before === undefined ? undefined : selectHealthySeen(context);
  const seen = healthySeen === undefined ? {} : { healthySeen };
  return setPart(memory, "gate", { waiting: { sinceMs, engineRun: engine.run, ...seen } });
}

/** Why a container that is there starts. */
function explainStart(context: ServiceContext): Cause {
  const { current, memory, desired, others } = context;
  const { revision } = desired;
  const { restartAsked: again, startAsked } = memory.operator;
  const { lastExit } = memory.run;
  if (again !== undefined) return explainAsked("restart", again.uid);
  if (startAsked !== undefined) return explainAsked("start", startAsked.uid);
  const exit = current === undefined || lastExit?.container !== current.id ? undefined : lastExit;
  if (current === undefined || exit === undefined) {
    return others.length > 0
      ? explainReplacement(context)
      : buildCause("first-start", { code: "first-start", revision }, { revision });
  }
  if (exit.engineStopped) return buildCause("boot", { code: "engine-restarted" });
  const ended = { code: "ended", end: readEnd(memory) } as const;
  if (exit.oom) return buildCause("oom", ended);
  if (exit.requested === "by-hand") return buildCause("drift", ended);
  if (exit.requested === "agent") return explainReturn(context, current);
  return buildCause("crash", ended);
}

/** A person asked for it. */
export function explainAsked(what: "restart" | "start" | "stop" | "run", uid: number): Cause {
  return buildCause("operator", { code: "asked", what, uid }, { uid });
}

/** An earlier release stands in place of what Git wants: a person asked for it, or the newer one has failed. */
export function explainWayBack({ uid }: NonNullable<ReleasesMemory["rolledBack"]>, revision: string): Cause {
  return uid === undefined
    ? buildCause("commit", { code: "goes-back", revision }, { revision })
    : buildCause("operator", { code: "release-asked", revision, uid }, { revision, uid });
}

/** Why a container starts again that the agent itself had stopped. */
function explainReturn({ world, memory, desired }: ServiceContext, current: ObservedContainer): Cause {
  const { revision } = desired;
  const back = memory.release.rolledBack;
  if (back !== undefined) return explainWayBack(back, revision);
  const stop = findStop(world, current);
  if (stop === undefined || stop === "unhealthy") return buildCause("unhealthy", { code: "stopped-for-restart" });
  if (stop === "schedule") return buildCause("schedule", { code: "copy-over" });
  return buildCause("commit", { code: stop === "removal" ? "in-git-again" : "wanted-again", revision }, { revision });
}

/** How the last run ended. */
function readEnd({ run: { lastExit } }: ServiceMemory): EndFact {
  if (lastExit === undefined) return { by: "nobody-saw", exitCode: 0, oom: false };
  const { exitCode, signal, oom, requested } = lastExit;
  const by = requested === "by-hand" ? "hand" : requested === "agent" ? "agent" : "itself";
  return { by, exitCode, ...(signal === undefined ? {} : { signal }), oom };
}
