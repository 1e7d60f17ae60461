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
  /** The topic page about it: examine() names it. */
  page?: HelpTopic;
}

/** Says that a check found nothing. */
export function fine(check: string, what: string): Finding {
  return { check, severity: "fine", what, why: "", fix: "" };
}

/** True where something is to be done: what is listed as a choice is not. */
export function isWeak(findings: readonly Finding[]): boolean {
  return findings.some(({ severity }) => severity === "fail" || severity === "warn");
}
