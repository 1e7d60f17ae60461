// The start gate: may this container start now? Hard for a release's first start and after a boot; soft after a crash in
// the same engine run, so that a gossip cut never turns a crash into an outage (behaviour, section 3). Pure.
// Held by test/scenario/start/order.test.ts.

import { describeTarget, type Requirement, type RequirementTarget } from "../../../shared/manifest/requirement.ts";
import { findService } from "../../../shared/state/memory.ts";
import { findHealth, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import { type Missing, pickSaid, type Reason, type ReasonOf } from "../../../shared/state/reason.ts";
import { isServed } from "../front/traffic.ts";
import { hasCompleted } from "../memory/job-memory.ts";
import { isLatched, rememberHealthySeen } from "./latch.ts";
import type { ServiceContext, World } from "../world.ts";

/**
 * The gate's answer. Open with `ungated` means that something required was not healthy and the start goes on all the same;
 * `without` names that, and what it only wants and did not get.
 */
export type GateVerdict =
  | {
      open: true;
      ungated: ReasonOf<"started-without" | "started-by-person"> | undefined;
      notes: readonly Reason[];
      without: readonly string[];
    }
  | { open: false; failed: boolean; waitingFor: readonly string[]; reason: Reason; nextMs: number | undefined };

/** Whether something that a service waits for is healthy now, and if not, why. */
export interface TargetHealth {
  healthy: boolean;
  why: Reason;
  /** The run of its container that this is said of. */
  start?: string;
}

/** Looks at one thing that is waited for. Unknown is never healthy. */
export function checkTarget(world: World, target: RequirementTarget): TargetHealth {
  if (target.kind === "endpoint") {
    const endpoint = world.observed.endpoints.get(target.url);
    return {
      healthy: endpoint?.healthy ?? false,
      why: endpoint === undefined ? { code: "not-probed" } : { code: "said", said: pickSaid(endpoint) },
    };
  }
  if (target.node !== undefined && target.node !== world.desired.node)
    return checkPeer(world, target.node, target.service);
  return checkLocal(world, target.service);
}

function checkPeer(world: World, node: string, service: string): TargetHealth {
  if (world.peers.kind === "assume") return { healthy: true, why: { code: "assumed-healthy" } };
  const known = world.peers.services[`${node}/${service}`];
  return known === undefined
    ? { healthy: false, why: { code: "node-unknown", node } }
    : {
        healthy: known.healthy,
        why: { code: "said", said: pickSaid(known) },
        ...(known.start === undefined ? {} : { start: known.start }),
      };
}

function checkLocal(world: World, service: string): TargetHealth {
  const desired = world.desired.services.get(service);
  if (desired === undefined) {
    const objection = world.desired.objections.get(service);
    return {
      healthy: false,
      why: objection === undefined ? { code: "no-such-service" } : { code: "target-state", state: objection.state },
    };
  }
  if (desired.kind === "job") {
    const done = hasCompleted(findService(world.memory.services, service)?.job, desired.specHash);
    return { healthy: done, why: { code: done ? "job-completed" : "job-not-completed" } };
  }
  if (!desired.running) return { healthy: false, why: { code: "manifest-stopped" } };
  const engine = world.observed.engine;
  if (!engine.reachable) return { healthy: false, why: { code: "engine-not-asked" } };
  const own = engine.containers.filter((entry) => entry.service === service && entry.status === "running");
  // The data of the release before is about to go: whoever waits, to fill it above all, waits for the new one.
  const begins = (desired.spec.volumes ?? []).some(({ ephemeral }) => ephemeral === true);
  const running = begins ? own.filter(({ specHash }) => specHash === desired.specHash) : own;
  if (running.length === 0) return { healthy: false, why: { code: "not-running" } };
  const healthy = running.filter((entry) => findHealth(world.observed, entry)?.status === "healthy");
  const start = describeStart(healthy[0] ?? (running[0] as ObservedContainer));
  if (healthy.length === 0) return { healthy: false, why: { code: "not-healthy" }, start };
  const served = healthy.some((entry) => isServed(world, desired, entry));
  return { healthy: served, why: { code: served ? "healthy" : "no-traffic-yet" }, start };
}

/** One run of a container: a restart of the same container is another. */
export function describeStart({ id, startedMs }: ObservedContainer): string {
  return `${id.slice(0, 12)}@${startedMs ?? 0}`;
}

/** Is it healthy, or was it a moment ago while this same start was waiting? */
function isMet({ world, memory, engine }: ServiceContext, target: RequirementTarget): boolean {
  const { healthy, start } = checkTarget(world, target);
  const { waiting } = memory.gate;
  if (healthy || waiting?.engineRun !== engine.run) return healthy;
  return isLatched(waiting, { name: describeTarget(target), start }, world.nowMs);
}

/** What a start that waits remembers of what it requires. */
export function selectHealthySeen({ world, desired, memory }: ServiceContext): ReturnType<typeof rememberHealthySeen> {
  const requirements = desired.requires.map(({ target }) => {
    const { healthy, start } = checkTarget(world, target);
    return { name: describeTarget(target), healthy, start };
  });
  return rememberHealthySeen(memory.gate.waiting?.healthySeen, requirements, world.nowMs);
}

/** Asks the gate for one start. */
export function askGate(context: ServiceContext): GateVerdict {
  const { world, desired, memory, engine } = context;
  const { waiting } = memory.gate;
  const waitedMs = waiting?.engineRun === engine.run ? world.nowMs - waiting.sinceMs : 0;
  const missing = desired.requires.filter((entry) => !isMet(context, entry.target));
  const unmet = missing.filter((entry) => !hasExpired(entry, waitedMs));
  const expired = missing.filter((entry) => hasExpired(entry, waitedMs));
  const failed = expired.find((entry) => entry.then === "fail");
  if (failed !== undefined) return buildFailed(world, failed);
  const soft = softLeftMs(context);
  if (unmet.length > 0 && (soft === undefined || soft > 0)) return buildWaiting(context, unmet, { waitedMs, soft });
  const wanted = desired.wants.filter((target) => !checkTarget(world, target).healthy);
  if (wanted.length > 0 && waitedMs < desired.wantsTimeoutMs && soft === undefined) {
    const nextMs = world.nowMs + desired.wantsTimeoutMs - waitedMs;
    const timeoutMs = desired.wantsTimeoutMs;
    const reason: Reason = { code: "waiting-wanted", missing: listMissing(world, wanted), timeoutMs };
    return { open: false, failed: false, waitingFor: wanted.map(describeTarget), reason, nextMs };
  }
  const started = [...unmet, ...expired].map((entry) => describeTarget(entry.target));
  const without = wanted.map(describeTarget);
  const ungated = started.length === 0 ? undefined : nameWithout(started, false);
  const notes = without.length === 0 ? [] : [nameWithout(without, true)];
  return { open: true, ungated, notes, without: [...started, ...without] };
}

function nameWithout(names: readonly string[], wanted: boolean): ReasonOf<"started-without"> {
  return { code: "started-without", names, wanted };
}

function hasExpired(entry: Requirement, waitedMs: number): boolean {
  return entry.expiresMs !== undefined && waitedMs >= entry.expiresMs;
}

/**
 * How long a crashed container still waits at the gate, or undefined where the gate is hard: only a container that was
 * healthy in this run of the engine, and ended by itself in it, has a soft gate.
 */
function softLeftMs(context: ServiceContext): number | undefined {
  const { memory, current, engine, desired, world } = context;
  const { lastHealthy, lastExit, lastExitMs } = memory.run;
  const wasHealthyHere =
    current !== undefined && lastHealthy?.container === current.id && lastHealthy.engineRun === engine.run;
  if (!wasHealthyHere || lastExit?.container !== current.id) return undefined;
  return Math.max(0, (lastExitMs ?? lastExit.finishedMs) + desired.wantsTimeoutMs - world.nowMs);
}

function buildWaiting(
  context: ServiceContext,
  unmet: readonly Requirement[],
  left: { waitedMs: number; soft: number | undefined },
): GateVerdict {
  const { world } = context;
  const targets = unmet.map((entry) => entry.target);
  const expiries = unmet.flatMap((entry) => (entry.expiresMs === undefined ? [] : [entry.expiresMs - left.waitedMs]));
  const waits = left.soft === undefined ? expiries : [...expiries, left.soft];
  const nextMs = waits.length === 0 ? undefined : world.nowMs + Math.max(0, Math.min(...waits));
  const softly = left.soft === undefined ? {} : { now: { untilMs: world.nowMs + left.soft } };
  const reason: Reason = { code: "waiting-for", missing: listMissing(world, targets), ...softly };
  return { open: false, failed: false, waitingFor: targets.map(describeTarget), reason, nextMs };
}

function buildFailed(world: World, entry: Requirement): GateVerdict {
  const [missing] = listMissing(world, [entry.target]) as [Missing];
  const reason: Reason = { code: "not-healthy-within", missing, withinMs: entry.expiresMs ?? 0 };
  return { open: false, failed: true, waitingFor: [describeTarget(entry.target)], reason, nextMs: undefined };
}

function listMissing(world: World, targets: readonly RequirementTarget[]): Missing[] {
  return targets.map((target) => ({ target: describeTarget(target), why: checkTarget(world, target).why }));
}
