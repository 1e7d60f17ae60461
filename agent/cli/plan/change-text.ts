// How a change of a service looks in the terminal and on a pull request: one sign and one word for each kind, one line for each. Pure.

import type { ChangeAction, ChangeDocument } from "../../../shared/document/plan-preview.ts";

/** The sign in front of a change. */
export const SIGNS: Record<ChangeAction, string> = {
  create: "+",
  recreate: "±",
  update: "~",
  deliver: "»",
  start: "^",
  stop: "v",
  agent: "·",
  remove: "-",
  none: "=",
  invalid: "!",
  refused: "!",
  held: "!",
  waiting: "!",
};

/** What happens, in a word. */
export const WORDS: Record<ChangeAction, string> = {
  create: "created",
  recreate: "recreated",
  update: "updated in place",
  deliver: "files delivered",
  start: "started",
  stop: "stopped",
  agent: "agent only",
  remove: "removed",
  none: "stays",
  invalid: "invalid",
  refused: "refused",
  held: "held",
  waiting: "waiting",
};

/** States in which Git's word is not followed and a new commit, or a person, is needed. */
const NOT_FOLLOWED: ReadonlySet<ChangeAction> = new Set<ChangeAction>(["invalid", "refused", "held"]);

/** True where Git's word is not followed. */
export function isNotFollowed({ action }: Pick<ChangeDocument, "action">): boolean {
  return NOT_FOLLOWED.has(action);
}

/** How wide the names of these services are. */
export function measureNames(changes: readonly Pick<ChangeDocument, "service">[]): number {
  return Math.max(8, ...changes.map(({ service }) => service.length));
}

/** One change on one line. */
export function describeChange(
  { service, action, effects }: Pick<ChangeDocument, "service" | "action" | "effects">,
  width: number,
): string {
  return `  ${SIGNS[action]} ${service.padEnd(width)}  ${[WORDS[action], ...(effects.length === 0 ? [] : [effects.join("; ")])].join(": ")}`;
}
