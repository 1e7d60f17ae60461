// A container that runs, and what is shown of it while nothing is to be done: its health, and whether it has settled. Pure; used by
// the rules that tend it.
// Held by test/scenario/start/start-failures.test.ts.
// Held by test/docker/engine/delivery.test.ts.

import { type GateMemory, setPart } from "../../../shared/state/memory.ts";
import type { HealthView, ObservedContainer } from "../../../shared/state/observed-state.ts";
import { pickSaid, type Reason } from "../../../shared/state/reason.ts";
import type { Step } from "../../../shared/state/step.ts";
import { listObstacles, lookAround, type Obstacle } from "./start-obstacles.ts";
import { findHealthySince, isRunOf } from "../memory/run.ts";
import { buildStop } from "../steps.ts";
import type { Decision, ServiceContext } from "../world.ts";

/** A context whose current container runs; `waited` where it has been waiting to start anew. */
export type Running = ServiceContext & { current: ObservedContainer; waited: GateMemory["waiting"] };

/** Lowering a cap is safe while usage less inactive file cache is at most this share of the new cap (contract, section 5). */
const SAFE_SHARE = 0.9;

/** True where a lower cap would end a process of it. */
export function isLoweringUnsafe({ desired, current }: Running): boolean {
  if (desired.caps.memoryBytes >= current.caps.memoryBytes && current.caps.memoryBytes !== 0) return false;
  return (current.workingSetBytes ?? 0) > desired.caps.memoryBytes * SAFE_SHARE;
}

/** What would keep it from starting again, were it stopped. */
export function findObstacle({ desired, engine, world }: Running): Obstacle | undefined {
  return listObstacles(desired, engine, lookAround(world))[0];
}

/** Ends it and starts it again. */
export function buildRestart({ desired, current }: Running): Step[] {
  return [buildStop(desired, current), { kind: "start-container", service: desired.name, container: current.id }];
}

/** A running container that needs nothing: its health, and whether it has settled. */
export function describeRunning(context: Running): Decision {
  const { health, memory } = context;
  const notes = listNotes(context);
  if (health === undefined) return { state: "starting", reason: { code: "not-probed" }, memory, notes };
  const { status: state } = health;
  const reason: Reason = { code: "said", said: pickSaid(health) };
  // What it was well with before it had all that it should have is no word about this release.
  if (state === "healthy" && isRunOf(context.desired, memory, context.current)) return settle(context, health, notes);
  return { state, reason, memory, notes, settled: false };
}

function listNotes(context: Running): Reason[] {
  const { desired, memory, current } = context;
  const { startedWithout: without } = memory.gate;
  const notes: Reason[] = without === undefined ? [] : [{ code: "said", said: { message: without } }];
  const obstacle = memory.operator.restartAsked === undefined ? undefined : findObstacle(context);
  if (obstacle !== undefined) notes.push({ code: "restart-waits", why: obstacle.why });
  if (!isLoweringUnsafe(context)) return notes;
  const now = { usedBytes: current.workingSetBytes ?? 0 };
  return [...notes, { code: "cap-lowered-later", wanted: desired.caps, now }];
}

/** A healthy run of this release: recorded as good when it has been so for its time, by its own probes. */
function settle({ desired, world, memory, current }: Running, health: HealthView, notes: readonly Reason[]): Decision {
  const state = "healthy";
  const intentMs = memory.intent.sinceMs ?? 0;
  const healthyMs = world.nowMs - Math.max(findHealthySince(memory, current) ?? health.sinceMs, intentMs);
  const left = desired.update.settle - healthyMs;
  if (left > 0) {
    const now = { sinceMs: world.nowMs - healthyMs, untilMs: world.nowMs + left };
    const reason: Reason = { code: "settling", now };
    return { state, reason, memory, notes, nextMs: world.nowMs + left, settled: false };
  }
  const said = pickSaid(health);
  const good = { state, reason: { code: "said", said }, notes, settled: true } as const;
  const { lastGood } = memory.release;
  if (lastGood?.fingerprint === desired.fingerprint && lastGood.specHash === desired.specHash)
    return { ...good, memory };
  // Not yet unhealthy, but its last probe failed, or was made before this was wanted: that is nothing to go back to later.
  const isOld =
    health.found === true || ((memory.run.newest?.begunMs ?? 0) < intentMs && (health.probedMs ?? 0) <= intentMs);
  if (health.failures > 0 || isOld) {
    const nextMs = world.nowMs + (desired.health?.interval ?? 1_000);
    const reason: Reason = { code: "not-recorded", said: health.failures === 0 ? undefined : said };
    return { state, reason, memory, notes, nextMs, settled: false };
  }
  const { fingerprint, specHash, revision } = desired;
  const release = { fingerprint, specHash, revision, image: desired.spec.image, settledMs: world.nowMs };
  return { ...good, memory: setPart(memory, "release", { lastGood: release }), release };
}
