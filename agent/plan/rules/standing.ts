// How a service stands with what it was last given: what decides whether others wait for it with a new value of a secret. Pure.
// Held by test/scenario/secrets/rotation-trouble.test.ts.

import type { ServiceStanding } from "../../../shared/state/rotation.ts";
import type { ServiceState } from "../../../shared/state/status.ts";
import { describeReason } from "../../../shared/text/describe-reason.ts";
import { isNotReleaseFault } from "./rollout.ts";
import type { Decision, ServiceContext } from "../world.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** States in which it does not do its work, whatever is at fault. */
const IN_TROUBLE: ReadonlySet<ServiceState> = new Set(["backoff", "unhealthy", "failed", "stalled"]);
/** States in which nothing more is wanted of it. */
const AT_REST: ReadonlySet<ServiceState> = new Set(["stopped", "completed"]);

/** Describes how a service stands after a decision. */
export function describeStanding({ world, desired, wanted }: ServiceContext, decision: Decision): ServiceStanding {
  const { state, reason, memory } = decision;
  const back = memory.release.rolledBack;
  const settled = AT_REST.has(state) || (back === undefined && decision.settled === true);
  const isGood = back === undefined && memory.release.lastGood?.fingerprint === desired.fingerprint;
  const proven = settled || (isGood && memory.backoff.attempt === 0);
  const standing = { settled, proven };
  // A person's word says nothing of what it was given.
  if (back !== undefined)
    return back.uid === undefined && back.wanted === wanted.fingerprint
      ? { ...standing, fault: { reason: back.reason, wentBack: true } }
      : standing;
  // Between two tries it may look well; its failures since it was given this are counted.
  const hasFailed = IN_TROUBLE.has(state) || memory.backoff.attempt > 0;
  if (settled || !hasFailed || isNotReleaseFault(memory, world, desired)) return standing;
  const said = IN_TROUBLE.has(state)
    ? describeReason(reason, world.nowMs)
    : `it has failed ${describeCount(memory.backoff.attempt, "time")}`;
  return { ...standing, fault: { reason: said, wentBack: false } };
}
