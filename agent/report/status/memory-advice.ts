// What cap a service's memory should have, told from what the kernel counted: its working set (usage less inactive file
// cache, since page cache alone fills any cap) and its OOM kills. Pure.

import { describeSize, formatSize } from "../../../shared/text/size.ts";
import type { ServiceRecord } from "./report-state.ts";
import { describeCount } from "../../../shared/text/count.ts";

const STEP_BYTES = 64 * 2 ** 20;
const SMALL_STEP_BYTES = 16 * 2 ** 20;
const LARGE_STEP_BYTES = 256 * 2 ** 20;
/** A working set above this share of the cap is near it. */
const NEAR_SHARE = 0.85;
/** What is suggested above what was seen to be needed: more after an OOM, when nobody saw what it would have taken. */
const ROOM_AFTER_OOM = 1.5;
const ROOM_NEAR_CAP = 1.3;

/** What is known of a service's memory. */
export type MemoryFacts = Pick<ServiceRecord, "oom" | "peakBytes" | "memoryUsedBytes"> & {
  capBytes: number | undefined;
};

/** Suggests a cap after an OOM kill or near the cap; undefined when the cap is fine. */
export function suggestCap({ oom, peakBytes, memoryUsedBytes, capBytes }: MemoryFacts): string | undefined {
  if (capBytes === undefined || capBytes <= 0) return undefined;
  const seenBytes = Math.max(peakBytes ?? 0, memoryUsedBytes ?? 0);
  // A kill under a smaller cap than today's has been answered already.
  if (oom?.capBytes !== undefined && oom.capBytes >= capBytes) {
    const times = oom.kills === 1 ? "once" : describeCount(oom.kills, "time");
    const needed = roundUp(Math.max(seenBytes, capBytes) * ROOM_AFTER_OOM);
    const peak = seenBytes === 0 ? "" : ` with a working set of up to ${describeSize(seenBytes)} seen before`;
    return `the kernel killed it for memory ${times} at a cap of ${describeSize(capBytes)}${peak}: try memory = "${formatSize(needed)}"`;
  }
  if (seenBytes < capBytes * NEAR_SHARE) return undefined;
  const share = Math.round((seenBytes / capBytes) * 100);
  const needed = roundUp(seenBytes * ROOM_NEAR_CAP);
  return `its working set was up to ${describeSize(seenBytes)}, ${share} % of its cap: try memory = "${formatSize(needed)}"`;
}

/** Round figures, as people write them. */
function roundUp(bytes: number): number {
  const step = bytes > 2 ** 31 ? LARGE_STEP_BYTES : bytes > 2 ** 28 ? STEP_BYTES : SMALL_STEP_BYTES;
  return Math.ceil(bytes / step) * step;
}
