// What is remembered of a job's runs. Pure.

import { backoffDelayMs } from "../../../shared/state/backoff.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import { type ExitRecord, type JobMemory, type ServiceMemory, setPart } from "../../../shared/state/memory.ts";

/** Finished runs that are kept. */
const KEPT_RUNS = 10;

/** A job that was never seen before has missed nothing. */
export function beginJob(memory: ServiceMemory, nowMs: number): JobMemory {
  const known = memory.job;
  if (known === undefined) return { accountedMs: nowMs, runs: [], skipped: 0 };
  // A clock that jumped back: nothing was accounted for in the future.
  return known.accountedMs > nowMs ? { ...known, accountedMs: nowMs } : known;
}

/**
 * Takes over the end of a run. One that the engine or the host took down is still owed; a failed `@once` is tried again
 * after its backoff, a failed cron at its next time.
 * @param specHash the spec of the container that ran
 */
export function rememberJobRun(
  memory: ServiceMemory,
  exit: ExitRecord,
  desired: DesiredService,
  specHash: string,
): ServiceMemory {
  const job = memory.job ?? { accountedMs: exit.finishedMs, runs: [], skipped: 0 };
  const { current, ...rest } = job;
  const dueMs = current?.dueMs ?? exit.startedMs ?? exit.finishedMs;
  // With the memory lost, a run that ended with 0 is taken at its word: a migration is not made twice for that.
  const isAdopted = memory.job === undefined && exit.exitCode === 0;
  if (exit.engineStopped && !isAdopted)
    return { ...memory, job: { ...rest, accountedMs: Math.min(job.accountedMs, dueMs - 1) } };
  const { exitCode, startedMs, finishedMs: endedMs } = exit;
  const run = { specHash, dueMs, startedMs, endedMs, exitCode };
  const runs = [run, ...job.runs].slice(0, KEPT_RUNS);
  const next = { ...memory, job: { ...rest, runs } };
  if (exitCode === 0 || desired.schedule !== "@once") return setPart(next, "backoff", { attempt: 0 });
  const { initial, max } = desired.restart.backoff;
  const { attempt } = memory.backoff;
  const delayMs = backoffDelayMs({ initialMs: initial, maxMs: max }, attempt, desired.name);
  const nextStartMs = (memory.run.lastExitMs ?? exit.finishedMs) + delayMs;
  return setPart(next, "backoff", { attempt: attempt + 1, nextStartMs });
}

/** True when the newest run of this spec ended with 0: what requires the job may start. */
export function hasCompleted(job: JobMemory | undefined, specHash: string): boolean {
  const [last] = job?.runs ?? [];
  return last?.specHash === specHash && last.exitCode === 0;
}
