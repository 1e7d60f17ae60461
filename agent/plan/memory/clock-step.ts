// What happens to what is remembered when somebody sets the wall clock: remembered times move with it, so that what has passed
// since, or is left until, stays as it was. Pure; the loop calls it before anything is planned. Times that only name a moment
// (an exit, a release, a run of a job, a person's word) stay as they are.

import { type GateMemory, type NodeMemory, type ServiceMemory, setPart } from "../../../shared/state/memory.ts";

/**
 * How far the wall clock stands before the host's monotonic clock. The second one runs on through restarts of the agent and begins
 * anew with each boot of the host.
 */
export interface ClockReading {
  boot: string;
  offsetMs: number;
}

/** Less than this is the reading's own noise. */
const LEAST_STEP_MS = 50;

/**
 * Takes a reading. After a boot nobody can tell how much time has passed: the wall clock is taken at its word there, and what it
 * makes absurd is bounded when it is used.
 * @returns the memory by today's names of times; the same one where the clock was not set
 */
export function followClock(memory: NodeMemory, reading: ClockReading): NodeMemory {
  const before = memory.clock;
  if (before?.boot !== reading.boot) return { ...memory, clock: reading };
  const stepMs = reading.offsetMs - before.offsetMs;
  if (Math.abs(stepMs) < LEAST_STEP_MS) return memory;
  return { ...moveTimes(memory, stepMs), clock: reading };
}

function moveTimes(memory: NodeMemory, byMs: number): NodeMemory {
  const next = <T extends { nextMs: number }>(entry: T): T => ({ ...entry, nextMs: entry.nextMs + byMs });
  const { services, removals, lanes, nodeFailure } = memory;
  return {
    ...memory,
    services: mapValues(services, (service) => moveService(service, byMs)),
    removals: mapValues(removals, (removal) => ({
      ...removal,
      sinceMs: removal.sinceMs + byMs,
      ...(removal.failure && { failure: next(removal.failure) }),
    })),
    ...(lanes && { lanes: mapValues(lanes, next) }),
    ...(nodeFailure && { nodeFailure: next(nodeFailure) }),
  };
}

function moveService(memory: ServiceMemory, byMs: number): ServiceMemory {
  const move = (atMs: number | undefined): number | undefined => (atMs === undefined ? undefined : atMs + byMs);
  const { newest, lastHealthy, lastExitMs } = memory.run;
  const { failure, repeated, nextStartMs } = memory.backoff;
  const { rollout } = memory.release;
  const { shownState, intent, gate } = memory;
  let next = setPart(memory, "intent", { sinceMs: move(intent.sinceMs) });
  next = setPart(next, "run", {
    newest: newest && { ...newest, begunMs: newest.begunMs + byMs },
    lastHealthy:
      lastHealthy?.sinceMs === undefined ? lastHealthy : { ...lastHealthy, sinceMs: lastHealthy.sinceMs + byMs },
    lastExitMs: move(lastExitMs),
  });
  next = setPart(next, "gate", { waiting: gate.waiting && moveWaiting(gate.waiting, byMs) });
  next = setPart(next, "backoff", {
    nextStartMs: move(nextStartMs),
    failure: failure && { ...failure, nextMs: failure.nextMs + byMs },
    repeated: repeated?.untilMs === undefined ? repeated : { ...repeated, untilMs: repeated.untilMs + byMs },
  });
  next = setPart(next, "release", { rollout: rollout && { ...rollout, seenMs: rollout.seenMs + byMs } });
  return shownState === undefined
    ? next
    : { ...next, shownState: { ...shownState, sinceMs: shownState.sinceMs + byMs } };
}

function moveWaiting(waiting: NonNullable<GateMemory["waiting"]>, byMs: number): typeof waiting {
  const { healthySeen } = waiting;
  return {
    ...waiting,
    sinceMs: waiting.sinceMs + byMs,
    ...(healthySeen && { healthySeen: mapValues(healthySeen, (entry) => ({ ...entry, atMs: entry.atMs + byMs })) }),
  };
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
