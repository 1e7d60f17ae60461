// May this service's container start now, and why does it start? Asked before anything is created, stopped or started. Pure.
// Held by test/scenario/start-failures.test.ts.

import { waitFor } from "../../../shared/text/moment.ts";
import type { ServiceMemory } from "../../../shared/state/memory.ts";
import { isAlive, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import type { StartStage } from "../../../shared/state/status.ts";
import type { Cause } from "../../../shared/state/step.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { askGate, type GateVerdict, selectMet } from "./gate.ts";
import { listHolders, listObstacles, lookAround } from "./start-place.ts";
import { rememberFailure } from "../memory/remember.ts";
import { explainReplacement } from "./replacement.ts";
import { listEnded, standsBehind } from "../steps.ts";
import { findStop } from "../memory/stops.ts";
import type { Decision, Scene } from "../world.ts";

/** Yes with what is then remembered, or no with what to show. */
export type StartAnswer =
  | { go: true; memory: ServiceMemory; cause: Cause; notes: readonly string[]; start: StartStage }
  | { go: false; decision: Decision };

/** A person's word: what it requires is not asked. */
const OPEN: GateVerdict = {
  open: true,
  ungated: "started by a person without what it requires",
  notes: [],
  without: [],
};

/** Asks everything that can hold a start back, the cheapest and most certain first. */
export function askStart(scene: Scene): StartAnswer {
  const held = (scene.desired.kind === "job" ? undefined : checkCompleted(scene)) ?? checkBackoff(scene);
  if (held !== undefined) return { go: false, decision: held };
  const gate = scene.memory.startAsked?.ignoreRequires === true ? OPEN : askGate(scene);
  if (!gate.open) return waitAtGate(scene, gate);
  const beside = checkPlace(scene) ?? checkFront(scene) ?? checkSecondCopy(scene);
  if (beside !== undefined) return { go: false, decision: beside };
  return takeSlot(scene, gate);
}

/**
 * Asks for a container that runs and is to start anew with other content: as for any release's first start, nothing is stopped
 * before the gate has said yes.
 */
export function askRestart(scene: Scene): StartAnswer {
  const { blocked } = scene.desired;
  const [obstacle] = listObstacles(scene.desired, scene.engine, lookAround(scene.world));
  const reason = blocked ?? (obstacle && `it could not start again: ${obstacle.message}`);
  if (reason !== undefined) return { go: false, decision: { state: "waiting", reason, memory: scene.memory } };
  // How an earlier run of it ended opens no gate for this one.
  const { lastExit, ...memory } = scene.memory;
  const gate = askGate({ ...scene, memory });
  const answer = gate.open ? takeSlot({ ...scene, memory }, gate) : waitAtGate({ ...scene, memory }, gate);
  const keep = (kept: ServiceMemory): ServiceMemory => (lastExit === undefined ? kept : { ...kept, lastExit });
  if (answer.go) return { ...answer, memory: keep(answer.memory) };
  return { go: false, decision: { ...answer.decision, memory: keep(answer.decision.memory) } };
}

function waitAtGate(scene: Scene, gate: Extract<GateVerdict, { open: false }>): StartAnswer {
  const memory = rememberWaiting(scene);
  const { waitingFor, reason, nextMs } = gate;
  const next = nextMs === undefined ? {} : { nextMs };
  const stage = gate.failed
    ? { state: "failed" as const }
    : { state: "waiting" as const, start: { at: "gate" as const } };
  return { go: false, decision: { ...stage, reason, memory, waitingFor, ...next } };
}

function takeSlot(scene: Scene, gate: Extract<GateVerdict, { open: true }>): StartAnswer {
  if (!scene.takeSlot()) {
    const reason = `waiting for a start slot (${scene.world.settings.startSlots} services start at once)`;
    return { go: false, decision: { state: "waiting", reason, memory: scene.memory, start: { at: "slot" } } };
  }
  const {
    waiting: _waiting,
    nextStartMs: _nextStartMs,
    ungated: _ungated,
    restartAsked: _asked,
    startAsked: _start,
    ...rest
  } = scene.memory;
  const memory = gate.ungated === undefined ? rest : { ...rest, ungated: gate.ungated };
  const notes = gate.ungated === undefined ? gate.notes : [...gate.notes, gate.ungated];
  return { go: true, memory, cause: explainStart(scene), notes, start: { at: "begun", without: gate.without } };
}

/**
 * A start that must fail ends nothing that serves: it counts as one that has failed. Where nothing would be stopped for it, the engine
 * itself says what is in the way, but for a container of somebody else, whose name the engine does not say.
 */
function checkPlace(scene: Scene): Decision | undefined {
  const { desired, engine, world, memory } = scene;
  const ends = listEnded(scene);
  const [obstacle] =
    ends.length > 0 ? listObstacles(desired, engine, lookAround(world)) : listHolders(desired, engine, world.desired);
  if (obstacle === undefined) return undefined;
  const failed = { step: "start-container", failure: "retry", ...obstacle, atMs: world.nowMs } as const;
  const next = rememberFailure(memory, desired.name, failed);
  return {
    state: "backoff",
    reason: `it cannot start: ${obstacle.message}`,
    memory: next,
    ...(next.failure === undefined ? {} : { retryMs: next.failure.nextMs }),
  };
}

/** Before a container that holds its own ports ends for one behind a front, that front is ready to take them over. */
function checkFront({ desired, others, engine, memory }: Scene): Decision | undefined {
  const front = desired.front?.service;
  const holder = others.find((other) => isAlive(other) && !standsBehind(desired, other));
  if (front === undefined || holder === undefined) return undefined;
  if (engine.containers.some((entry) => entry.service === front.name && entry.specHash === front.specHash))
    return undefined;
  return { state: "waiting", reason: `its front ${front.name} is being made; ${holder.revision} still runs`, memory };
}

/** A second copy that does not fit into the node's memory beside all that runs is not started. */
function checkSecondCopy(scene: Scene): Decision | undefined {
  const { desired, others, memory } = scene;
  const needBytes = desired.caps.memoryBytes;
  if (!others.some((other) => isAlive(other) && standsBehind(desired, other))) return undefined;
  const leftBytes = scene.takeMemory(needBytes);
  if (leftBytes >= needBytes) return undefined;
  const reason =
    `waiting for memory: its second copy needs ${describeSize(needBytes)}, and the caps of what runs leave ` +
    `${describeSize(Math.max(0, leftBytes))}; the old one serves`;
  return { state: "waiting", reason, memory };
}

/** A container that ended by itself and that its restart policy leaves ended. */
function checkCompleted({ current, memory, desired }: Scene): Decision | undefined {
  const exit = memory.lastExit;
  if (current === undefined || current.status === "created" || exit?.container !== current.id) return undefined;
  if (exit.requested === "agent" || exit.engineStopped || isAsked(memory)) return undefined;
  const { policy } = desired.restart;
  if (policy === "always" || (policy === "on-failure" && exit.exitCode !== 0)) return undefined;
  const reason = `it ended with exit code ${exit.exitCode}, and its restart policy is ${policy}`;
  return { state: exit.exitCode === 0 ? "completed" : "failed", reason, memory };
}

/** A person asked for this start: nothing that Orca itself has decided holds it back. */
function isAsked({ restartAsked, startAsked }: ServiceMemory): boolean {
  return restartAsked !== undefined || startAsked !== undefined;
}

function checkBackoff({ world, memory }: Scene): Decision | undefined {
  if (memory.nextStartMs === undefined || isAsked(memory)) return undefined;
  const retryMs = memory.nextStartMs;
  if (world.nowMs >= retryMs) return undefined;
  const reason = `${describeLastEnd(memory)}; restart ${memory.attempt} in ${waitFor(retryMs)}`;
  return { state: "backoff", reason, memory, retryMs };
}

function rememberWaiting(scene: Scene): ServiceMemory {
  const { memory, engine, world } = scene;
  const isSame = memory.waiting?.engineRun === engine.run;
  const sinceMs = isSame ? (memory.waiting?.sinceMs ?? world.nowMs) : world.nowMs;
  const met = isSame ? selectMet(scene) : undefined;
  return { ...memory, waiting: { sinceMs, engineRun: engine.run, ...(met === undefined ? {} : { met }) } };
}

/** Why a container that is there starts. */
function explainStart(scene: Scene): Cause {
  const { current, memory, desired, others } = scene;
  const { revision } = desired;
  const { restartAsked: again, startAsked } = memory;
  if (again !== undefined) return { kind: "operator", detail: `uid ${again.uid} asked for a restart`, uid: again.uid };
  if (startAsked !== undefined) {
    return { kind: "operator", detail: `uid ${startAsked.uid} asked for the start`, uid: startAsked.uid };
  }
  const exit = current === undefined || memory.lastExit?.container !== current.id ? undefined : memory.lastExit;
  if (current === undefined || exit === undefined) {
    return others.length > 0
      ? explainReplacement(scene)
      : { kind: "first-start", detail: `first start from ${revision}`, revision };
  }
  if (exit.engineStopped) return { kind: "boot", detail: "the engine or the host restarted" };
  if (exit.oom) return { kind: "oom", detail: describeLastEnd(memory) };
  if (exit.requested === "by-hand") return { kind: "drift", detail: "it was stopped by hand" };
  if (exit.requested === "agent") return explainReturn(scene, current);
  return { kind: "crash", detail: describeLastEnd(memory) };
}

/** Why a container starts again that the agent itself had stopped. */
function explainReturn({ world, memory, desired }: Scene, current: ObservedContainer): Cause {
  const { revision } = desired;
  const back = memory.rolledBack;
  if (back?.uid !== undefined)
    return { kind: "operator", detail: `uid ${back.uid} asked for ${revision} again`, revision, uid: back.uid };
  if (back !== undefined) return { kind: "commit", detail: `it goes back to ${revision}`, revision };
  const stop = findStop(world, current);
  if (stop === undefined || stop === "unhealthy")
    return { kind: "unhealthy", detail: "it was stopped to be started again" };
  if (stop === "removal") return { kind: "commit", detail: `it is in Git again with ${revision}`, revision };
  return { kind: "commit", detail: `it is wanted again with ${revision}`, revision };
}

const SIGNAL_NAMES: Record<number, string> = {
  1: "SIGHUP",
  2: "SIGINT",
  6: "SIGABRT",
  9: "SIGKILL",
  11: "SIGSEGV",
  15: "SIGTERM",
};

/** How the last run ended, in words. Exit 137 alone is a kill; only the kernel's record makes it an OOM. */
function describeLastEnd(memory: ServiceMemory): string {
  const exit = memory.lastExit;
  if (exit === undefined) return "it ended";
  if (exit.requested === "by-hand") return "it was stopped by hand";
  if (exit.requested === "agent") return "it was unhealthy and was stopped";
  const signal = exit.signal === undefined ? "" : ` (${SIGNAL_NAMES[exit.signal] ?? `signal ${exit.signal}`})`;
  const oom = exit.oom ? ": the kernel killed a process of it for memory" : "";
  return `it ended with exit code ${exit.exitCode}${signal}${oom}`;
}
