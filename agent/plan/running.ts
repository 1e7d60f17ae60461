// A container that runs, and what is shown of it while nothing is to be done: its health, and whether it has settled. Pure; used by
// the rules that tend it.

import { describeDuration } from "../../shared/duration.ts";
import type { ServiceMemory } from "../../shared/memory.ts";
import type { ObservedContainer } from "../../shared/observed-state.ts";
import type { Step } from "../../shared/step.ts";
import { buildStop, describeCaps } from "./steps.ts";
import type { Decision, Scene } from "./world.ts";

/** A scene whose current container runs; `waited` where it has been waiting to start anew. */
export type Running = Scene & { current: ObservedContainer; waited: ServiceMemory["waiting"] };

/** Lowering a cap is safe while usage less inactive file cache is at most this share of the new cap (contract, section 5). */
const SAFE_SHARE = 0.9;

/** True where a lower cap would end a process of it. */
export function isLoweringUnsafe({ desired, current }: Running): boolean {
  if (desired.caps.memoryBytes >= current.caps.memoryBytes && current.caps.memoryBytes !== 0) return false;
  return (current.workingSetBytes ?? 0) > desired.caps.memoryBytes * SAFE_SHARE;
}

/** Ends it and starts it again. */
export function buildRestart({ desired, current }: Running): Step[] {
  return [buildStop(desired, current), { kind: "start-container", service: desired.name, container: current.id }];
}

/** A running container that needs nothing: its health, and whether it has settled. */
export function describeRunning(scene: Running): Decision {
  const { health, desired, world, memory, current } = scene;
  const notes = memory.ungated === undefined ? [] : [memory.ungated];
  if (isLoweringUnsafe(scene)) {
    const used = Math.round((current.workingSetBytes ?? 0) / 2 ** 20);
    notes.push(
      `the memory cap is lowered at the next start: ${used} MiB are in use, more than 90 % of ${describeCaps(desired.caps)}`,
    );
  }
  if (health === undefined) return { state: "starting", reason: "not probed yet", memory, notes };
  if (health.status !== "healthy") return { state: health.status, reason: health.message, memory, notes };
  const sinceMs = Math.max(memory.healthy?.sinceMs ?? health.sinceMs, memory.intentMs ?? 0);
  const healthyMs = world.nowMs - sinceMs;
  const left = desired.update.settle - healthyMs;
  if (left > 0) {
    const reason = `healthy for ${describeDuration(healthyMs)}, settled in ${describeDuration(left)}`;
    return { state: "healthy", reason, memory, notes, nextMs: world.nowMs + left, settled: false };
  }
  if (memory.release?.fingerprint === desired.fingerprint) {
    return { state: "healthy", reason: health.message, memory, notes, settled: true };
  }
  // Not yet unhealthy, but its last probe failed, or none was made yet: that is nothing to go back to later.
  if (health.failures > 0 || health.found === true) {
    const nextMs = world.nowMs + (desired.health?.interval ?? 1_000);
    return {
      state: "healthy",
      reason: `not recorded as good: ${health.message}`,
      memory,
      notes,
      nextMs,
      settled: false,
    };
  }
  const release = {
    fingerprint: desired.fingerprint,
    specHash: desired.specHash,
    revision: desired.revision,
    image: desired.spec.image,
    settledMs: world.nowMs,
  };
  return { state: "healthy", reason: health.message, memory: { ...memory, release }, notes, settled: true, release };
}
