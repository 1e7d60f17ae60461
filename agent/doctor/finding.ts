// What `orca doctor` says: the words every group of checks uses. Pure; a later group is one more file beside this one and one
// more line in checks.ts.

import type { HelpTopic } from "../../shared/text/help-topic.ts";

/** `fail`: it is broken or open. `warn`: it is weaker than it should be. `info`: a choice that is listed. `fine`: as it should be. */
export type Severity = "fail" | "warn" | "info" | "fine";

/** One thing that was looked at. */
export interface Finding {
  /** The check, as a person may look for it. */
  check: string;
  severity: Severity;
  what: string;
  /** Why it matters; empty where all is fine. */
  why: string;
  /** What to do: a command where there is one. */
  fix: string;
  /** True where it could not be looked at, such as without the right to: nobody is alerted of that. */
  unseen?: boolean;
  /** Its short name, for scripts; where the rule comes from; and the topic page about it: examine() adds them. */
  id?: string;
  source?: string;
  page?: HelpTopic;
}

/** Says that a check found nothing. */
export function fine(check: string, what: string): Finding {
  return { check, severity: "fine", what, why: "", fix: "" };
}

/**
 * Judges one rule.
 * @param bad true where it is broken: then all but `good` is said, else `good` alone
 */
export function judge(
  check: string,
  bad: boolean,
  { good, ...finding }: { severity: Severity; what: string; why: string; fix: string; good: string },
): Finding {
  return bad ? { check, ...finding } : fine(check, good);
}

/** True where something is to be done: what is listed as a choice is not. */
export function isWeak(findings: readonly Finding[]): boolean {
  return findings.some(({ severity }) => severity === "fail" || severity === "warn");
}

/** What tells a finding from others, also of another day: the check and what it is about, without the numbers, which change. */
export function nameFinding({ id, check, what }: Finding): string {
  return `${id ?? check} ${what.replaceAll(/\d+/g, "0")}`;
}
