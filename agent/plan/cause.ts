// Builds the cause of an operation: what kind of thing asked for it, and why. Pure; the rules of plan/ call it.

import type { Reason } from "../../shared/state/reason.ts";
import type { Cause } from "../../shared/state/step.ts";
import { describeReason } from "../../shared/text/describe-reason.ts";

/** A cause, with its sentence beside it for whoever only shows it. No cause counts time: the sentence is the same at any. */
export function buildCause(kind: Cause["kind"], why: Reason, by: Pick<Cause, "revision" | "uid"> = {}): Cause {
  return { kind, why, detail: describeReason(why, 0), ...by };
}
