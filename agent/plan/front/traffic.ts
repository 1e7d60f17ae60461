// The traffic of start-first services: who gets it, when it is switched, and when the container that had it ends. Pure.
// The old container serves until the new release has settled; it ends only after the front sends its traffic elsewhere.

import { failAgain, isHeldBack } from "../../../shared/state/backoff.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import { findLaneService, nameFrontLanes, type FrontRouting } from "../../../shared/state/front.ts";
import { findService, type NodeMemory, type ServiceMemory } from "../../../shared/state/memory.ts";
import {
  findHealth,
  isAlive,
  nameRun,
  type ObservedContainer,
  type ObservedEngine,
} from "../../../shared/state/observed-state.ts";
import { type Note, noteReason, noteText } from "../../../shared/state/note.ts";
import type { FrontAim, Operation, Step } from "../../../shared/state/step.ts";
import { findPlanFault } from "../fault.ts";
import { buildCause } from "../cause.ts";
import { noteRetry, rememberLane } from "../memory/remember.ts";
import { buildRemoval, buildStop, isRoutedByFront } from "../steps.ts";
import type { Reachable, World } from "../world.ts";

/** What a plan does about fronts. */
export interface FrontPlan {
  operations: Operation[];
  cancel: string[];
  lanes: NonNullable<NodeMemory["lanes"]>;
  nextMs: number[];
  /** What failed and when it is tried again. */
  notes: Note[];
}

/** A start-first service with its containers that can take traffic. */
interface Fronted {
  world: World;
  desired: DesiredService & { front: NonNullable<DesiredService["front"]> };
  memory: ServiceMemory | undefined;
  /** Its containers behind the front that live, and those of them that are at work. */
  alive: readonly ObservedContainer[];
  running: readonly ObservedContainer[];
  /** The front's running container, once it answers. */
  front: ObservedContainer | undefined;
  /** Who gets its traffic; undefined while that is not known. */
  routing: FrontRouting | undefined;
}

/** How the last good one is healed while a new release is tried. */
interface Revival {
  code: "ended-while-tried" | "paused-while-tried";
  step: "start-container" | "unpause-container";
  cause: "crash" | "drift";
}

/** A front that did not say who gets its traffic is asked again after so long. */
const ASK_AGAIN_MS = 1_000;

/** The running fronts that are asked who gets their traffic. */
export function selectFronts(
  desired: DesiredState,
  engine: ObservedEngine,
): { front: string; run: string; ports: readonly number[] }[] {
  if (!engine.reachable) return [];
  return [...desired.services.values()].flatMap(({ front }) => {
    const container = engine.containers.find(
      (entry) => entry.service === front?.service.name && entry.status === "running" && entry.startedMs !== undefined,
    );
    if (front === undefined || container === undefined) return [];
    return [{ front: front.service.name, run: nameRun(container), ports: front.ports }];
  });
}

/**
 * True while a container of this service gets the traffic; a service without a front gets its own.
 * @param container the one to ask about
 */
export function isServed(world: World, desired: DesiredService, container: ObservedContainer): boolean {
  if (desired.front === undefined) return true;
  const engine = world.observed.engine as Reachable;
  const front = findFront(world, engine, desired.front.service.name);
  const routing = findRouting(world, desired.front.service.name, front);
  if (front === undefined || routing === undefined || routing.uneven === true) return false;
  return routing.address !== undefined && routing.address === addressOf(world, container);
}

/** What a front said or was told in this run of it. */
function findRouting(world: World, name: string, front: ObservedContainer | undefined): FrontRouting | undefined {
  const routing = world.observed.fronts.get(name);
  const isNow = front !== undefined && routing?.run === nameRun(front) && routing.silent === undefined;
  return isNow ? routing : undefined;
}

/**
 * Plans the traffic of every start-first service.
 * @param memory what this turn remembers of the services so far
 */
export function planFronts(world: World, engine: Reachable, memory: NodeMemory["services"]): FrontPlan {
  const result: FrontPlan = { operations: [], cancel: [], lanes: {}, nextMs: [], notes: [] };
  for (const desired of world.desired.services.values()) {
    if (desired.front === undefined) continue;
    const name = desired.front.service.name;
    const front = findFront(world, engine, name);
    const alive = engine.containers.filter(
      (entry) => entry.service === desired.name && isAlive(entry) && entry.frontName === name,
    );
    const fronted: Fronted = {
      world,
      desired: { ...desired, front: desired.front },
      memory: findService(memory, desired.name),
      alive,
      running: alive.filter(({ status }) => status === "running"),
      front,
      routing: findRouting(world, name, front),
    };
    const paused = world.memory.pauses[desired.name] ?? world.memory.pauses["*"];
    if (paused !== undefined) continue;
    const own: FrontPlan = { operations: [], cancel: [], lanes: {}, nextMs: [], notes: [] };
    const fault = findPlanFault(() => {
      planTraffic(fronted, own);
      planRetirement(fronted, own);
      planRevival(fronted, engine, own);
    });
    if (fault === undefined) addFrontPlan(result, own);
    else result.notes.push(noteReason(fault, `the traffic of ${desired.name}: `));
  }
  return result;
}

function addFrontPlan(to: FrontPlan, own: FrontPlan): void {
  to.operations.push(...own.operations);
  to.cancel.push(...own.cancel);
  Object.assign(to.lanes, own.lanes);
  to.nextMs.push(...own.nextMs);
  to.notes.push(...own.notes);
}

function findFront(world: World, engine: Reachable, name: string): ObservedContainer | undefined {
  return engine.containers.find(
    (entry) =>
      entry.service === name && entry.status === "running" && findHealth(world.observed, entry)?.status === "healthy",
  );
}

function addressOf(world: World, container: ObservedContainer | undefined): string | undefined {
  const address = container?.networks[world.desired.network.name];
  return address === "" ? undefined : address;
}

/** Who should get the traffic: a settled release; until it has settled, whoever has it and is well. */
function selectServing({ world, desired, memory, running, routing }: Fronted): ObservedContainer | undefined {
  const hasTraffic = (entry: ObservedContainer): boolean =>
    routing?.address !== undefined && addressOf(world, entry) === routing.address;
  // Who had it when this agent began was proved by the one before, and keeps it until its own probes say otherwise; who was healthy by
  // another check is well until the new one says otherwise: the front itself may be a new one by that.
  const isWell = (entry: ObservedContainer): boolean => {
    const view = findHealth(world.observed, entry);
    if (view?.status === "healthy" || view?.rechecked === true) return true;
    return hasTraffic(entry) && (view?.found === true || !world.observed.health.has(entry.id));
  };
  const able = running.filter((entry) => isWell(entry) || hasTraffic(entry));
  const current = able.find((entry) => entry.specHash === desired.specHash);
  const well = able.filter((entry) => entry !== current && isWell(entry));
  const isGood = memory?.release.lastGood?.fingerprint === desired.fingerprint;
  if (current !== undefined && (well.length === 0 || (isGood && isWell(current)))) return current;
  return well.find(hasTraffic) ?? well[0] ?? able.find(hasTraffic);
}

/** Tells the front who gets the traffic now, where that is not what it was told last. */
function planTraffic(fronted: Fronted, result: FrontPlan): void {
  const { world, desired, front, routing } = fronted;
  const { traffic: lane } = nameFrontLanes(desired.name);
  const { name } = desired.front.service;
  if (front === undefined) return;
  // Whoever it sends its traffic to now is left alone until that is known.
  if (routing === undefined) return waitForWord(fronted, result);
  const address = addressOf(world, selectServing(fronted));
  if (routing.address === address && routing.uneven !== true) return;
  const run = nameRun(front);
  const step: Step = {
    kind: "switch-traffic",
    service: desired.name,
    front: name,
    run,
    ports: desired.front.ports,
    address,
  };
  const to = address === undefined ? undefined : describeRevision(fronted, address);
  const cause = buildCause("commit", { code: "traffic-moves", to }, { revision: desired.revision });
  const { fingerprint } = desired;
  offer(world, result, { lane, cause, fingerprint, aim: { kind: "traffic", run, address }, steps: [step] });
}

function waitForWord({ world, desired }: Fronted, result: FrontPlan): void {
  result.nextMs.push(world.nowMs + ASK_AGAIN_MS);
  const silent = world.observed.fronts.get(desired.front.service.name)?.silent;
  if (silent === undefined) return;
  const again = `asked again in ${describeDuration(ASK_AGAIN_MS)}`;
  const what = `${desired.name}: its front does not say who gets its traffic, which stays as it is: ${silent}`;
  result.notes.push(noteText(`${what}; ${again}`));
}

function describeRevision({ world, running }: Fronted, address: string): string {
  return running.find((entry) => addressOf(world, entry) === address)?.revision ?? address;
}

/** Ends containers that are not wanted and get no traffic any more, each after its open connections had their time. */
function planRetirement(fronted: Fronted, result: FrontPlan): void {
  const { world, desired, alive, routing, front } = fronted;
  const { retire: lane } = nameFrontLanes(desired.name);
  const serving = selectServing(fronted);
  const isNeeded = (entry: ObservedContainer): boolean =>
    entry === serving || entry.specHash === desired.specHash || addressOf(world, entry) === routing?.address;
  const busy = world.observed.operations.find((operation) => operation.lane === lane);
  // What is being ended may be what is wanted again: a rollback, or a commit that takes the last one back.
  if (busy !== undefined && alive.some((entry) => isAbout(busy.aim, entry) && isNeeded(entry)))
    result.cancel.push(lane);
  // Nobody ends while the traffic is not where it should be.
  if (front === undefined || routing?.address === undefined || routing.uneven === true) return;
  if (routing.address !== addressOf(world, serving)) return;
  const old = alive.find((entry) => !isNeeded(entry));
  if (old === undefined) return;
  const address = addressOf(world, old);
  const { drainMs: timeoutMs, ports } = desired.front;
  const drain: Step[] =
    address === undefined
      ? []
      : [
          {
            kind: "drain-traffic",
            service: desired.name,
            front: desired.front.service.name,
            ports,
            address,
            timeoutMs,
          },
        ];
  const { revision, fingerprint } = desired;
  const cause = buildCause("commit", { code: "traffic-gone", revision: old.revision }, { revision });
  const steps = [...drain, buildStop(desired, old), ...buildRemoval(old)];
  offer(world, result, { lane, cause, fingerprint, aim: { kind: "retire", container: old.id }, steps });
}

/** While a new release is tried, the last good one goes on being healed where nothing else is there to take the traffic. */
function planRevival({ world, desired, memory, running }: Fronted, engine: Reachable, result: FrontPlan): void {
  const { retire: lane } = nameFrontLanes(desired.name);
  const release = memory?.release.lastGood;
  const isTried = release !== undefined && release.specHash !== desired.specHash;
  if (!isTried || !desired.running || memory?.operator.stoppedBy !== undefined) return;
  const old = engine.containers.find(
    (entry) => entry.service === desired.name && entry.specHash === release.specHash && isRoutedByFront(desired, entry),
  );
  if (old === undefined) return;
  const aim: FrontAim = { kind: "revive", container: old.id };
  const about = nameAim(aim);
  const before = world.memory.lanes?.[lane];
  const known = before?.about === about ? before : undefined;
  if (known !== undefined) result.lanes = { ...result.lanes, [lane]: known };
  const revival = findRevival(old);
  if (revival === undefined || running.some((entry) => findHealth(world.observed, entry)?.status === "healthy")) return;
  if (world.observed.operations.some((busy) => busy.lane === lane)) return;
  if (isHeldBack(known, world.nowMs)) return void result.nextMs.push(known.nextMs);
  const { initial, max } = desired.restart.backoff;
  const cause = buildCause(revival.cause, { code: revival.code, revision: old.revision, tried: desired.revision });
  const failed = { nowMs: world.nowMs, message: cause.detail, key: about };
  const again = failAgain(known, { initialMs: initial, maxMs: max }, failed);
  result.lanes = { ...result.lanes, [lane]: { ...again, about } };
  const steps: Step[] = [{ kind: revival.step, service: desired.name, container: old.id }];
  result.operations.push({ lane, cause, fingerprint: desired.fingerprint, aim, steps });
}

/** Names what work is about, for what is remembered of its failures; the names are those of earlier versions. */
function nameAim(aim: FrontAim): string {
  if (aim.kind === "traffic") return `${aim.run} ${aim.address ?? "nobody"}`;
  return aim.kind === "revive" ? `again ${aim.container}` : aim.container;
}

function isAbout(aim: FrontAim | undefined, { id }: ObservedContainer): boolean {
  return aim !== undefined && aim.kind !== "traffic" && aim.container === id;
}

/** What became of the last good one, and what puts that right; undefined where nothing has to be. */
function findRevival({ status, stoppedByHand }: ObservedContainer): Revival | undefined {
  if (status === "paused") return { code: "paused-while-tried", step: "unpause-container", cause: "drift" };
  const isEnded = status === "exited" && !stoppedByHand;
  return isEnded ? { code: "ended-while-tried", step: "start-container", cause: "crash" } : undefined;
}

/** Adds an operation, unless its lane is busy or the last try of the same has just failed. */
function offer(world: World, result: FrontPlan, operation: Operation & { aim: FrontAim }): void {
  const { lane, aim } = operation;
  const about = nameAim(aim);
  const before = world.memory.lanes?.[lane];
  const failure = rememberLane(before?.about === about ? before : undefined, world, lane);
  if (failure !== undefined) result.lanes = { ...result.lanes, [lane]: { ...failure, about } };
  if (world.observed.operations.some((busy) => busy.lane === lane)) return;
  if (!isHeldBack(failure, world.nowMs)) return void result.operations.push(operation);
  result.notes.push(noteRetry(`${findLaneService(lane)}: `, failure, world.nowMs));
  result.nextMs.push(failure.nextMs);
}
