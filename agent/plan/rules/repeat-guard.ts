// Bounded repetition: steps that succeed again and again without changing anything mean that a person must look. Pure.
// Held by test/scenario/start/guards.test.ts.

import { backoffDelayMs } from "../../../shared/state/backoff.ts";
import { canonicalJson, sha256 } from "../../../shared/state/identity.ts";
import { type BackoffMemory, type ServiceMemory, setPart } from "../../../shared/state/memory.ts";
import type { Operation, OperationOutcome } from "../../../shared/state/step.ts";
import type { Decision } from "../world.ts";

/** The same operation this often without effect is stalled. */
const MOST_REPEATS = 3;
const STALL_BACKOFF = { initialMs: 30_000, maxMs: 1_800_000 };

/** Starts after a crash, a boot or a person's word repeat by nature and have a backoff of their own. */
const REPEATING_CAUSES: ReadonlySet<string> = new Set([
  "crash",
  "oom",
  "unhealthy",
  "boot",
  "operator",
  "removal",
  "schedule",
]);

/** Holds an operation back for a while whose steps have succeeded so often without effect that a person must look. */
export function guardRepetition(decision: Decision, nowMs: number): Decision {
  const { operation, memory } = decision;
  if (operation === undefined || REPEATING_CAUSES.has(operation.cause.kind)) return decision;
  const steps = nameSteps(operation);
  const known = memory.backoff.repeated;
  const before = known?.steps === steps ? known : { steps, count: 0, rounds: 0 };
  const { untilMs, ...repeated } = before;
  if (untilMs !== undefined && nowMs < untilMs) return stall(decision, before, untilMs);
  if (untilMs !== undefined)
    return { ...decision, memory: setPart(memory, "backoff", { repeated: { ...repeated, count: 0 } }) };
  if (before.count < MOST_REPEATS) return { ...decision, memory: setPart(memory, "backoff", { repeated }) };
  const nextMs = nowMs + backoffDelayMs(STALL_BACKOFF, before.rounds, steps);
  return stall(decision, { ...before, rounds: before.rounds + 1 }, nextMs);
}

/** Counts an operation whose steps succeeded; one that failed or was cancelled has proved nothing, and has its own backoff. */
export function countRepetition(memory: ServiceMemory, { operation, result }: OperationOutcome): ServiceMemory {
  const { repeated } = memory.backoff;
  if (repeated === undefined || (result.kind !== "done" && result.kind !== "replan")) return memory;
  if (repeated.steps !== nameSteps(operation)) return memory;
  return setPart(memory, "backoff", { repeated: { ...repeated, count: repeated.count + 1 } });
}

/** An operation is asked for its name when it is planned and when it has ended, and is the same object then. */
const names = new WeakMap<Operation, string>();

function nameSteps(operation: Operation): string {
  const { steps, fingerprint } = operation;
  const name = names.get(operation) ?? sha256(canonicalJson({ steps, fingerprint })).slice(0, 16);
  names.set(operation, name);
  return name;
}

function stall(decision: Decision, repeated: NonNullable<BackoffMemory["repeated"]>, untilMs: number): Decision {
  const { operation, ...rest } = decision;
  const why = operation?.cause.why ?? decision.reason;
  return {
    ...rest,
    state: "stalled",
    reason: { code: "without-effect", times: MOST_REPEATS, why },
    memory: setPart(decision.memory, "backoff", { repeated: { ...repeated, untilMs } }),
    retryMs: untilMs,
  };
}
