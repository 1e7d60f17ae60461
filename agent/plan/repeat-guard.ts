// Bounded repetition: steps that succeed again and again without changing anything mean that a person must look. Pure.

import { backoffDelayMs } from "../../shared/backoff.ts";
import { canonicalJson, sha256 } from "../../shared/identity.ts";
import type { ServiceMemory } from "../../shared/memory.ts";
import type { Decision } from "./world.ts";

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

/** Counts equal operations of one service, and holds the fourth back for a while. */
export function guardRepetition(decision: Decision, nowMs: number): Decision {
  const { operation, memory } = decision;
  if (operation === undefined || REPEATING_CAUSES.has(operation.cause.kind)) return decision;
  const steps = sha256(canonicalJson({ steps: operation.steps, fingerprint: operation.fingerprint })).slice(0, 16);
  const before = memory.repeated?.steps === steps ? memory.repeated : { steps, count: 0, rounds: 0 };
  if (before.untilMs !== undefined && nowMs < before.untilMs) return stall(decision, before, before.untilMs);
  if (before.count < MOST_REPEATS || before.untilMs !== undefined) {
    const count = before.untilMs === undefined ? before.count + 1 : 1;
    return { ...decision, memory: { ...memory, repeated: { steps, count, rounds: before.rounds } } };
  }
  const untilMs = nowMs + backoffDelayMs(STALL_BACKOFF, before.rounds, steps);
  return stall(decision, { ...before, rounds: before.rounds + 1 }, untilMs);
}

function stall(decision: Decision, repeated: NonNullable<ServiceMemory["repeated"]>, untilMs: number): Decision {
  const { operation, ...rest } = decision;
  const detail = operation?.cause.detail ?? "";
  return {
    ...rest,
    state: "stalled",
    reason: `the same steps were done ${MOST_REPEATS} times without effect: ${detail}`,
    memory: { ...decision.memory, repeated: { ...repeated, untilMs } },
    retryMs: untilMs,
  };
}
