// Freeze windows: whether changes are frozen now, and until when. Pure; the schedules are UTC, as all are.

import type { FleetNode } from "../../../shared/fleet/fleet.ts";
import { findNextDue } from "../../../shared/manifest/schedule.ts";

/** Windows that follow each other without a gap are one; so many are followed. */
const MOST_WINDOWS = 400;

/**
 * Finds when the freeze ends that holds now.
 * @returns milliseconds since the epoch, or undefined where nothing is frozen
 */
export function findFreezeEnd(freeze: FleetNode["freeze"], nowMs: number): number | undefined {
  let endMs: number | undefined;
  for (let window = 0; window < MOST_WINDOWS; window += 1) {
    const next = findEnd(freeze, endMs ?? nowMs);
    if (next === undefined) return endMs;
    endMs = next;
  }
  return endMs;
}

/** The latest end among the windows that hold at one moment. A window holds from its beginning, and no more at its end. */
function findEnd(freeze: FleetNode["freeze"], atMs: number): number | undefined {
  const ends = freeze
    .map(({ schedule, for: lengthMs }) => ({ begunMs: findNextDue(schedule, atMs - lengthMs), lengthMs }))
    .filter(({ begunMs }) => begunMs <= atMs)
    .map(({ begunMs, lengthMs }) => begunMs + lengthMs);
  return ends.length === 0 ? undefined : Math.max(...ends);
}
