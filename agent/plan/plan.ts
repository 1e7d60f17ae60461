// plan(world): the whole decision of one turn, as a pure function from what should be and what is to operations.
// The same world in any order gives the same plan, and a world that is as it should be gives none.

import { keepAsItIs } from "./as-it-is.ts";
import { placeBinds } from "./rules/bind-sources.ts";
import type { DesiredService } from "../../shared/state/desired-state.ts";
import { findLaneService } from "../../shared/state/front.ts";
import { compareText } from "../../shared/text/problem.ts";
import { findService, type NodeMemory, type ServiceMemory } from "../../shared/state/memory.ts";
import {
  findHealth,
  isAlive,
  type HealthView,
  isBetweenRuns,
  type ObservedContainer,
} from "../../shared/state/observed-state.ts";
import { noteReason, noteText } from "../../shared/state/note.ts";
import { pickSaid, type Reason } from "../../shared/state/reason.ts";
import type { ServiceView } from "../../shared/state/status.ts";
import { NODE_LANE } from "../../shared/state/step.ts";
import { addDraft, beginDraft, type Draft, draftFault, viewUnplanned } from "./draft.ts";
import { findPlanFault } from "./fault.ts";
import { planFronts } from "./front/traffic.ts";
import { noteTenure, readTenure } from "./tenure.ts";
import { planNode } from "./node.ts";
import { rememberOwnData } from "./rules/own-data.ts";
import { beginMemory, boundTimes, rememberContainer, rememberExit, rememberOutcome } from "./memory/remember.ts";
import { findSuccessor } from "./rules/move.ts";
import { settleGenerations } from "./rules/generations.ts";
import { planRemovals } from "./rules/removal.ts";
import { guardRepetition } from "./rules/repeat-guard.ts";
import { rememberRollout, rolloutEndMs } from "./rules/rollout.ts";
import { findHealthySince, readBegunMs, rememberRun } from "./memory/run.ts";
import { decideService } from "./rules/service.ts";
import { rememberStops } from "./memory/stops.ts";
import { describeStanding } from "./rules/standing.ts";
import { buildView, nameCycles } from "./view.ts";
import type { Decision, Plan, Reachable, ServiceContext, World } from "./world.ts";

const NO_FRONTS: ReturnType<typeof planFronts> = { operations: [], cancel: [], nextMs: [], notes: [], lanes: {} };

/** Plans one turn. */
export function plan(world: World): Plan {
  const { engine } = world.observed;
  return engine.reachable ? planReachable(world, engine) : planUnreachable(world, engine.reason);
}

/** With no engine there is nothing to do and nothing to forget. */
function planUnreachable(world: World, message: string): Plan {
  const silent: Reason = { code: "engine-silent", said: { message } };
  const services = sortedServices(world).map((desired) => {
    const { nowMs, wanted } = world;
    const known = findService(world.memory.services, desired.name);
    let view = viewUnplanned(world, desired.name, { state: "unknown", reason: silent });
    findPlanFault(() => {
      const memory = beginMemory(desired, known, { wanted: wanted.get(desired.name), nowMs });
      view = buildView(world, desired, { state: "unknown", reason: silent, memory }, undefined);
    });
    return view;
  });
  return {
    operations: [],
    cancel: [],
    newExits: [],
    newReleases: [],
    faults: [],
    memory: world.memory,
    services,
    standings: new Map(),
    notes: [noteReason(silent)],
    nextMs: undefined,
  };
}

function planReachable(world: World, answered: Reachable): Plan {
  // An engine lists containers in no order that means anything.
  const containers = answered.containers.toSorted(
    (left, right) => compareText(left.service, right.service) || compareText(left.id, right.id),
  );
  const engine = { ...answered, containers };
  const draft = beginDraft();
  const node = planNode(world, engine);
  draft.operations.push(...node.operations);
  if (node.failure !== undefined) draft.nextMs.push(node.failure.nextMs);
  const byService = Map.groupBy(containers, ({ service }) => service);
  const takeSlot = countSlots(world, engine);
  const takeMemory = countMemory(world, engine);
  for (const desired of sortedServices(world)) {
    const own = beginDraft();
    const fault = findPlanFault(() => {
      const context = buildContext(world, engine, desired, {
        draft: own,
        mine: byService.get(desired.name) ?? [],
        takeSlot,
        takeMemory,
      });
      record(own, context, keepAsItIs(context, guardRepetition(decideService(context), world.nowMs)));
    });
    addDraft(draft, fault === undefined ? own : draftFault(world, desired, fault));
  }
  const fronts = planTraffic(world, engine, draft.memory);
  draft.operations.push(...fronts.operations);
  draft.cancel.push(...fronts.cancel);
  draft.nextMs.push(...fronts.nextMs);
  const removals = planRemovals(world, engine.containers, world.desired.held === undefined);
  draft.operations.push(...removals.operations);
  const stops = rememberStops(world, engine, draft.operations);
  const generations = settleGenerations(world, engine);
  const memory: NodeMemory = {
    services: keepKnown(world, draft.memory),
    ...(Object.keys(stops).length === 0 ? {} : { stops }),
    removals: removals.removals,
    pauses: world.memory.pauses,
    ...(world.memory.copies === undefined ? {} : { copies: world.memory.copies }),
    ...(generations === undefined ? {} : { generations }),
    ...(world.memory.clock === undefined ? {} : { clock: world.memory.clock }),
    ...(Object.keys(fronts.lanes).length === 0 ? {} : { lanes: fronts.lanes }),
    ...(node.failure === undefined ? {} : { nodeFailure: node.failure }),
  };
  const cancelRemoved = listRemoved(world, engine);
  const named = nameCycles(world, [...draft.views, ...removals.views, ...viewObjections(world, engine, draft.views)]);
  const nextMs = [...draft.nextMs, ...(removals.nextMs === undefined ? [] : [removals.nextMs])];
  return {
    operations: placeBinds(draft.operations, world.desired),
    cancel: [...draft.cancel, ...cancelRemoved],
    memory,
    services: named.views,
    standings: draft.standings,
    newExits: draft.newExits,
    newReleases: draft.newReleases,
    faults: draft.faults,
    notes: [...world.desired.notes.map(noteText), ...node.notes, ...fronts.notes, ...named.notes, ...noteTenure(world)],
    nextMs: nextMs.length === 0 ? undefined : Math.min(...nextMs),
  };
}

/** What stops with its node needs no traffic. */
function planTraffic(...all: Parameters<typeof planFronts>): ReturnType<typeof planFronts> {
  return readTenure(all[0])?.kind === "replaced" ? NO_FRONTS : planFronts(...all);
}

/** Lanes that do something else for a service which is not wanted any more than removing it; one with a successor serves on. */
function listRemoved(world: World, { containers }: Reachable): string[] {
  return world.observed.operations.flatMap(({ lane, cause }) => {
    const service = findLaneService(lane);
    const isWanted = lane === NODE_LANE || world.desired.services.has(service);
    if (isWanted || cause.kind === "removal" || findSuccessor(world, containers, service) !== undefined) return [];
    return [lane];
  });
}

function sortedServices(world: World): DesiredService[] {
  return [...world.desired.services.values()].toSorted((left, right) => compareText(left.name, right.name));
}

function buildContext(
  world: World,
  engine: Reachable,
  desired: DesiredService,
  shared: { draft: Draft; mine: readonly ObservedContainer[] } & Pick<ServiceContext, "takeSlot" | "takeMemory">,
): ServiceContext {
  const { mine } = shared;
  const current = mine.find((container) => container.specHash === desired.specHash);
  const others = mine.filter((container) => container !== current);
  const { nowMs } = world;
  const wanted = world.wanted.get(desired.name) ?? desired;
  const begun = beginMemory(desired, findService(world.memory.services, desired.name), { wanted, nowMs });
  let memory = boundTimes(begun, desired, nowMs);
  for (const outcome of world.observed.outcomes) {
    if (outcome.operation.lane === desired.name) memory = rememberOutcome(memory, outcome);
  }
  if (current !== undefined) memory = rememberRun(memory, world, { desired, container: current });
  const watched = current ?? newest(others);
  const uncertain = watched?.endIsTold === true ? { uncertain: memory } : {};
  if (watched !== undefined) {
    const ended = rememberExit(memory, watched, desired, { world, engine });
    if (ended.exit !== undefined && watched.endIsTold !== true) shared.draft.newExits.push(ended.exit);
    memory = rememberContainer(ended.memory, world, watched);
  }
  memory = rememberOwnData(memory, mine, wanted);
  memory = rememberRollout(memory, world, desired, current);
  const inFlight = world.observed.operations.find((operation) => operation.lane === desired.name);
  const health = current === undefined ? undefined : readHealth(world, engine, { container: current, memory });
  const { takeSlot, takeMemory } = shared;
  return {
    world,
    engine,
    desired,
    wanted,
    memory,
    ...uncertain,
    current,
    others,
    inFlight,
    health,
    takeSlot,
    takeMemory,
  };
}

/**
 * The health of a container. One that was healthy under the agent before this one is still that until the probes of this one have
 * decided: an agent that starts changes nothing, in what it shows neither. What starts wait for is asked of the probes alone.
 */
function readHealth(
  { observed }: World,
  { run }: Reachable,
  { container, memory }: { container: ObservedContainer; memory: ServiceMemory },
): HealthView | undefined {
  const view = findHealth(observed, container);
  const sinceMs = memory.run.lastHealthy?.engineRun === run ? findHealthySince(memory, container) : undefined;
  const isDecided = view !== undefined && view.found !== true;
  if (isDecided || sinceMs === undefined || container.status !== "running") return view;
  if (container.startedMs === undefined || isBetweenRuns(observed.operations, container.id)) return view;
  const { failures = 0, message = "not probed yet", notMade = false, probedMs } = view ?? {};
  return {
    startedMs: container.startedMs,
    status: "healthy",
    sinceMs,
    probedMs,
    failures,
    ...(view && pickSaid(view)),
    message: `healthy when this agent started; since then: ${message}`,
    notMade,
    found: true,
  };
}

function newest(containers: readonly ObservedContainer[]): ObservedContainer | undefined {
  return containers.toSorted((left, right) => (right.startedMs ?? 0) - (left.startedMs ?? 0))[0];
}

/** The container that people ask about: the wanted one, or the one that serves while that does not run. */
function selectShown({ current, others }: ServiceContext): ObservedContainer | undefined {
  const all = current === undefined ? others : [current, ...others];
  return all.find(({ status }) => status === "running") ?? all.find(isAlive) ?? current ?? newest(others);
}

/** A slot is held from the start until healthy, exit, or its time; a pull holds none. */
function countSlots(world: World, engine: Reachable): () => boolean {
  const { startSlots, slotMs } = world.settings;
  const lanes = world.observed.operations.filter((operation) => operation.starts && operation.stage !== "ensure-image");
  const busy = new Set(lanes.map((operation) => operation.lane));
  for (const container of engine.containers) {
    const age =
      world.nowMs - readBegunMs(findService(world.memory.services, container.service), container, world.nowMs);
    if (container.status !== "running" || age >= slotMs) continue;
    const status = findHealth(world.observed, container)?.status ?? "starting";
    if (status === "starting") busy.add(container.service);
  }
  let used = busy.size;
  return () => {
    if (used >= startSlots) return false;
    used += 1;
    return true;
  };
}

/** What runs and what is about to run has its memory; a second copy gets what is left. */
function countMemory(world: World, engine: Reachable): (bytes: number) => number {
  const { memoryBudgetBytes = Number.POSITIVE_INFINITY } = world.desired;
  const running = engine.containers.filter(isAlive);
  const starting = world.observed.operations.flatMap(({ lane, starts }) => {
    const desired = starts ? world.desired.services.get(lane) : undefined;
    const runs = running.some((entry) => entry.service === lane && entry.specHash === desired?.specHash);
    return desired === undefined || runs ? [] : [desired.caps.memoryBytes];
  });
  const caps = [...running.map((container) => container.caps.memoryBytes), ...starting];
  let usedBytes = caps.reduce((sum, bytes) => sum + bytes, 0);
  return (bytes) => {
    const leftBytes = memoryBudgetBytes - usedBytes;
    if (leftBytes >= bytes) usedBytes += bytes;
    return leftBytes;
  };
}

function record(draft: Draft, context: ServiceContext, decided: Decision): void {
  const { world, desired } = context;
  const decision = context.uncertain === undefined ? decided : waitForCertainty(context, decided);
  const view = buildView(world, desired, decision, selectShown(context));
  const shownState = { state: view.state, sinceMs: view.sinceMs };
  draft.memory[desired.name] = { ...(context.uncertain ?? decision.memory), shownState };
  draft.views.push(view);
  draft.standings.set(desired.name, describeStanding(context, decision));
  // The answer that makes it certain is on its way, and wakes the loop.
  if (context.uncertain !== undefined) return;
  if (decision.operation !== undefined) draft.operations.push(decision.operation);
  if (decision.cancel === true) draft.cancel.push(desired.name);
  if (decision.release !== undefined) {
    // What is refused of it today is judged anew when it is gone back to.
    const { onlyAsItIs: _onlyAsItIs, ...kept } = desired;
    draft.newReleases.push({ service: desired.name, desired: kept, ...decision.release });
  }
  for (const at of [decision.nextMs, decision.retryMs, rolloutEndMs({ ...context, memory: decision.memory })])
    if (at !== undefined) draft.nextMs.push(at);
  const begunMs = context.current === undefined ? 0 : readBegunMs(decision.memory, context.current, world.nowMs);
  const slotEndMs = begunMs + world.settings.slotMs;
  if (view.state === "starting" && slotEndMs > world.nowMs) draft.nextMs.push(slotEndMs);
}

/** Nothing is begun on a container that the engine still takes apart. */
function waitForCertainty({ current }: ServiceContext, decided: Decision): Decision {
  if (decided.operation === undefined) return decided;
  const { operation: _operation, start: _start, ...rest } = decided;
  const reason: Reason = { code: "still-taken-apart", exitCode: current?.exitCode };
  return { ...rest, state: "backoff", reason };
}

/** Memory of services that are neither wanted nor removed just now (their manifest is invalid) is kept. */
function keepKnown(world: World, now: Record<string, ServiceMemory>): NodeMemory["services"] {
  const kept = Object.entries(world.memory.services).filter(
    ([name]) => now[name] === undefined && (world.desired.objections.has(name) || world.desired.held !== undefined),
  );
  return { ...Object.fromEntries(kept), ...now };
}

/** Services whose manifest cannot be used and that have no release to run on; what runs of one is nobody's to start again. */
function viewObjections(world: World, engine: Reachable, views: readonly ServiceView[]): ServiceView[] {
  const shown = new Set(views.map((view) => view.name));
  return [...world.desired.objections]
    .filter(([name]) => !shown.has(name))
    .toSorted(([left], [right]) => compareText(left, right))
    .map(([name, objection]) => {
      const running = engine.containers.find((entry) => entry.service === name && entry.status === "running");
      const { state } = objection;
      const why: Reason = { code: "objected", why: objection.why };
      if (running === undefined) return viewUnplanned(world, name, { state, reason: why });
      const { id: container, image, revision, caps } = running;
      const view = viewUnplanned(world, name, { state, reason: { code: "not-started-again", why } });
      return { ...view, container, image, revision, memoryCapBytes: caps.memoryBytes };
    });
}
