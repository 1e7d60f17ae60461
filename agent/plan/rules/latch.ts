// A requirement that was healthy a moment ago, while the same start was waiting for another one, still counts: a flap in between
// does not begin the wait anew. Only of the same run of its container, and not of a peer that is not heard. Pure.
// Held by test/scenario/start/peers.test.ts.

import type { GateMemory } from "../../../shared/state/memory.ts";

type Waiting = GateMemory["waiting"];
type HealthySeen = NonNullable<NonNullable<Waiting>["healthySeen"]>;

/** A dependency that is away longer than a flap is waited for again. */
const LATCH_MS = 10_000;

/** Was this run of the target healthy within the last moments of this wait? */
export function isLatched(
  waiting: Waiting,
  { name, start }: { name: string; start: string | undefined },
  nowMs: number,
): boolean {
  const seen = waiting?.healthySeen?.[name];
  return seen !== undefined && start !== undefined && seen.start === start && nowMs - seen.atMs <= LATCH_MS;
}

/** What is to be remembered of the requirements of a start that waits; with a single one there is no flap to bridge. */
export function rememberHealthySeen(
  before: HealthySeen | undefined,
  requirements: readonly { name: string; healthy: boolean; start: string | undefined }[],
  nowMs: number,
): HealthySeen | undefined {
  if (requirements.length < 2) return undefined;
  const seen = requirements.flatMap(({ name, healthy, start }) => {
    const known = healthy && start !== undefined ? { start, atMs: nowMs } : before?.[name];
    return known === undefined || nowMs - known.atMs > LATCH_MS ? [] : [[name, known] as const];
  });
  return seen.length === 0 ? undefined : Object.fromEntries(seen);
}
