// The last things that were done for a service, newest first. What goes the same way again and again is one entry with
// a count, so that a registry that is down for hours does not push everything else out. Pure.

import type { AgentEvent } from "../../../shared/state/event.ts";
import type { Cause } from "../../../shared/state/step.ts";
import { type Action, KEPT_ACTIONS } from "./report-state.ts";

type Of<K extends AgentEvent["kind"]> = Extract<AgentEvent, { kind: K }>;

/** Adds a step that changed something. */
export function addDone(actions: readonly Action[], event: Of<"step-done">): readonly Action[] {
  const { atMs, step, cause, tookMs } = event;
  return add(actions, { ...base(atMs, step.kind, describeCause(cause)), tookMs });
}

/** Adds a step that failed. */
export function addFailed(actions: readonly Action[], event: Of<"step-failed">): readonly Action[] {
  const { atMs, step, cause, message } = event;
  return add(actions, { ...base(atMs, step.kind, describeCause(cause)), ok: false, message });
}

/** Adds what a person asked for; what exactly (a command's words) is in the audit log alone. */
export function addAct(actions: readonly Action[], event: Of<"acted">): readonly Action[] {
  const { actor, action, atMs } = event;
  return add(
    actions,
    base(atMs, action, `uid ${actor.uid}${actor.user === undefined ? "" : ` (${actor.user})`} asked`),
  );
}

/** A cause in words: `commit: new spec from 1a2b3c`. */
export function describeCause(cause: Cause): string {
  return `${cause.kind}: ${cause.detail}`;
}

function base(atMs: number, action: string, cause: string): Action {
  return { atMs, action, cause, tookMs: undefined, ok: true, message: undefined, times: 1 };
}

function add(actions: readonly Action[], action: Action): readonly Action[] {
  const [last, ...rest] = actions;
  if (last !== undefined && !action.ok && isSame(last, action)) return [{ ...action, times: last.times + 1 }, ...rest];
  return [action, ...actions].slice(0, KEPT_ACTIONS);
}

function isSame(left: Action, right: Action): boolean {
  return left.action === right.action && left.ok === right.ok && left.message === right.message;
}
