// Jobs: one-shot containers on a schedule, never two runs at once, a missed time made up exactly once. Pure.
// The container of a run stays until the next one, for its log.
// Held by test/scenario/start/jobs.test.ts.

import { findNextDue } from "../../../shared/manifest/schedule.ts";
import { findService, setPart } from "../../../shared/state/memory.ts";
import { isAlive } from "../../../shared/state/observed-state.ts";
import type { Reason } from "../../../shared/state/reason.ts";
import type { Cause, Step } from "../../../shared/state/step.ts";
import { buildCause } from "../cause.ts";
import { beginJob, hasCompleted } from "../memory/job-memory.ts";
import { readBegunMs } from "../memory/run.ts";
import { askStart, explainAsked } from "./start.ts";
import { buildOperation, buildPrepareSteps, buildRemoval } from "../steps.ts";
import type { Decision, ServiceContext } from "../world.ts";

/** A job that runs is left alone; times that pass meanwhile are skipped, and counted. */
export function tendJob(context: ServiceContext): Decision | undefined {
  const { current, others, desired, world, memory } = context;
  const running = [current, ...others].find((entry) => entry !== undefined && isAlive(entry));
  if (running === undefined) return undefined;
  const job = beginJob(memory, world.nowMs);
  const nextMs = desired.schedule === "@once" ? undefined : findNextDue(desired.schedule ?? "", job.accountedMs);
  const passed = nextMs !== undefined && nextMs <= world.nowMs;
  const known = passed ? { ...job, accountedMs: world.nowMs, skipped: job.skipped + 1 } : job;
  const notes: Reason[] = known.skipped > 0 ? [{ code: "job-skipped", now: { times: known.skipped } }] : [];
  const reason: Reason = { code: "job-running", now: { sinceMs: readBegunMs(memory, running, world.nowMs) } };
  const settled = setPart(memory, "run", { stopping: undefined });
  const next = { ...setPart(settled, "operator", { startAsked: undefined }), job: known };
  const decision = { state: "healthy" as const, reason, memory: next, notes };
  return nextMs === undefined || passed ? decision : { ...decision, nextMs };
}

/** A job that is not due rests, and shows how its last run ended. */
export function restJob(context: ServiceContext): Decision | undefined {
  const { desired, memory, world } = context;
  const job = beginJob(memory, world.nowMs);
  const asked = memory.operator.startAsked !== undefined || memory.operator.restartAsked !== undefined;
  const nextMs = findDue(context);
  if (asked || (nextMs !== undefined && nextMs <= world.nowMs)) return undefined;
  const [last] = job.runs;
  const base = { memory: { ...memory, job }, settled: last === undefined || last.exitCode === 0 };
  // What waits for this job is planned with the memory of the turn before.
  const fresh =
    last !== undefined && findService(world.memory.services, desired.name)?.job?.runs[0]?.endedMs !== last.endedMs;
  const at = fresh ? world.nowMs : nextMs;
  const wake = at === undefined ? {} : { nextMs: at };
  if (last === undefined) return { ...base, ...wake, state: "completed", reason: { code: "job-not-due", nextMs } };
  const { dueMs, exitCode, endedMs, startedMs = endedMs } = last;
  const reason: Reason = { code: "job-ended", dueMs, exitCode, tookMs: endedMs - startedMs, nextMs };
  return { ...base, ...wake, state: exitCode === 0 ? "completed" : "failed", reason };
}

/** When the job is due next, also in the past; undefined for a `@once` that has completed. */
function findDue({ desired, memory, world }: ServiceContext): number | undefined {
  const job = beginJob(memory, world.nowMs);
  if (desired.schedule !== "@once") return findNextDue(desired.schedule ?? "", job.accountedMs);
  return hasCompleted(job, desired.specHash) ? undefined : world.nowMs;
}

/** Runs a job that is due: a new container each time, once its gate and a slot allow it. */
export function startJob(context: ServiceContext): Decision | undefined {
  const { desired, current, others, world, memory } = context;
  const answer = askStart(context);
  if (!answer.go) return answer.decision;
  const dueMs = Math.min(findDue(context) ?? world.nowMs, world.nowMs);
  const { startAsked, restartAsked } = memory.operator;
  const uid = (startAsked ?? restartAsked)?.uid;
  const cause: Cause =
    uid === undefined
      ? buildCause("schedule", { code: "job-due", dueMs }, { revision: desired.revision })
      : explainAsked("run", uid);
  const old: Step[] = others.flatMap(buildRemoval);
  if (current !== undefined) old.push({ kind: "remove-container", service: desired.name, container: current.id });
  const steps: Step[] = [
    ...old,
    ...buildPrepareSteps(context),
    { kind: "start-container", service: desired.name, container: "created" },
  ];
  const job = { ...beginJob(memory, world.nowMs), accountedMs: world.nowMs, current: { dueMs } };
  const { memory: next, notes, start } = answer;
  const operation = buildOperation(context, cause, steps);
  return { state: "starting", reason: cause.why, memory: { ...next, job }, notes, start, operation };
}
