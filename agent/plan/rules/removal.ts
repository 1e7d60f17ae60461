// What to do about containers whose service is no longer in Git: stopped, kept for the undo window, then removed.
// Their volumes stay. Pure.
// Held by test/scenario/start/guards.test.ts.

import { isHeldBack } from "../../../shared/state/backoff.ts";
import { describeReason } from "../../../shared/text/describe-reason.ts";
import { findFronted } from "../../../shared/state/front.ts";
import type { NodeMemory, RemovalMemory } from "../../../shared/state/memory.ts";
import { isAlive, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import { findCode, pickSaid, type Reason, type Said } from "../../../shared/state/reason.ts";
import type { ServiceView } from "../../../shared/state/status.ts";
import type { Operation } from "../../../shared/state/step.ts";
import { buildCause } from "../cause.ts";
import { findSuccessor } from "./move.ts";
import { rememberLane } from "../memory/remember.ts";
import { buildRemoval } from "../steps.ts";
import type { World } from "../world.ts";

/** What a plan does about removed services. */
export interface Removals {
  removals: NodeMemory["removals"];
  operations: Operation[];
  views: ServiceView[];
  nextMs: number | undefined;
}

/** Plans the end of every service that has containers and no place in Git. */
export function planRemovals(world: World, containers: readonly ObservedContainer[], begun: boolean): Removals {
  const result: Removals = { removals: {}, operations: [], views: [], nextMs: undefined };
  const removals: Record<string, RemovalMemory> = {};
  const byService = Map.groupBy(containers, (container) => container.service);
  for (const [service, list] of byService) {
    if (world.desired.services.has(service) || world.desired.objections.has(service)) continue;
    if (!begun || isKept(world, containers, service)) continue;
    const successor = findSuccessor(world, containers, service);
    if (successor !== undefined) {
      const [first] = list as [ObservedContainer];
      const reason: Reason = { code: "now-named", successor: successor.name };
      const shown = buildRemovedView(first, list.filter(isAlive), { fact: reason, nowMs: world.nowMs });
      result.views.push({ ...shown, sinceMs: world.nowMs });
      continue;
    }
    const known = world.memory.removals[service];
    // A clock that jumped back begins the window again; it never ends early.
    const sinceMs = known === undefined || known.sinceMs > world.nowMs ? world.nowMs : known.sinceMs;
    const failure = rememberLane(known?.failure, world, service);
    removals[service] = { sinceMs, specHash: list[0]?.specHash ?? "", ...(failure === undefined ? {} : { failure }) };
    const busy = world.observed.operations.some((operation) => operation.lane === service);
    const { view, operation } = planOne(world, list, sinceMs);
    const waits = isHeldBack(failure, world.nowMs);
    const shown = waits ? { ...view, ...sayFailed(world, view, failure), nextMs: failure.nextMs } : view;
    result.views.push(shown);
    if (operation !== undefined && !busy && !waits) result.operations.push(operation);
    if (shown.nextMs !== undefined) result.nextMs = Math.min(result.nextMs ?? shown.nextMs, shown.nextMs);
  }
  result.removals = removals;
  return result;
}

/** A person has paused it; or it is a front with something behind it: its ports are of no use to anyone else before. */
function isKept(world: World, containers: readonly ObservedContainer[], name: string): boolean {
  if (world.memory.pauses[name] !== undefined || world.memory.pauses["*"] !== undefined) return true;
  const fronted = findFronted(name);
  if (fronted === undefined) return false;
  // Of a service that cannot be used as it is in Git, its front goes on as its container does.
  if (world.desired.objections.has(fronted)) return true;
  if (!world.desired.services.has(fronted)) return false;
  return containers.some((entry) => entry.frontName === name && isAlive(entry));
}

function planOne(
  world: World,
  list: readonly ObservedContainer[],
  sinceMs: number,
): { view: ServiceView; operation?: Operation } {
  const [first] = list as [ObservedContainer];
  const endMs = sinceMs + world.settings.undoWindowMs;
  const cause = buildCause("removal", { code: "not-in-git" }, { revision: world.desired.revision });
  const running = list.filter(isAlive);
  const over = world.nowMs >= endMs;
  const reason: Reason = over ? { code: "removal-over" } : { code: "removed", now: { untilMs: endMs } };
  const shown = buildRemovedView(first, running, { fact: reason, nowMs: world.nowMs });
  const view: ServiceView = { ...shown, sinceMs, nextMs: over ? undefined : endMs };
  const build = (steps: Operation["steps"]): Operation => ({
    lane: first.service,
    cause,
    fingerprint: "removed",
    steps,
  });
  if (running.length > 0) {
    const stops = running.map((container) => ({
      kind: "stop-container" as const,
      service: container.service,
      container: container.id,
      // Its manifest is gone; the engine still knows the time that it was made with.
      timeoutMs: undefined,
    }));
    return { view, operation: build(stops) };
  }
  return over ? { view, operation: build(list.flatMap(buildRemoval)) } : { view };
}

function sayFailed({ nowMs }: World, { fact }: ServiceView, failure: Said): Pick<ServiceView, "fact" | "reason"> {
  const why: Reason = { code: "beside", why: fact, failed: pickSaid(failure) };
  return { fact: why, reason: describeReason(why, nowMs) };
}

function buildRemovedView(
  first: ObservedContainer,
  running: readonly ObservedContainer[],
  { fact, nowMs }: { fact: Reason; nowMs: number },
): Omit<ServiceView, "sinceMs"> {
  // Other nodes wait for the end of what still runs.
  const shown = running[0] ?? first;
  return {
    name: first.service,
    // What only lies there for its undo window is being removed by nobody yet.
    state: findCode(fact) === "removed" && running.length === 0 ? "stopped" : "removing",
    fact,
    reason: describeReason(fact, nowMs),
    waitingFor: [],
    nextMs: undefined,
    settled: false,
    restarts: 0,
    revision: shown.revision,
    desiredRevision: undefined,
    container: shown.id,
    image: shown.image,
    owner: undefined,
    memoryCapBytes: running[0]?.caps.memoryBytes,
    notes: [],
  };
}
