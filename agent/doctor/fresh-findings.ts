// Which findings of a look are new: the agent tells of each once, and again after it was gone for a look. Pure.

import { type Finding, nameFinding } from "./finding.ts";

/** What a look means beside the one before. */
export interface LookVerdict {
  weak: number;
  fresh: readonly Finding[];
  /** The names that are known from now on. */
  known: readonly string[];
}

/** Listed choices are no news, but for secrets that have grown old. */
const LISTED = "age of secrets";

/**
 * Compares a look with what is known.
 * What could not be looked at is told to nobody; what was found there before stays known.
 */
export function compareLook(findings: readonly Finding[], known: readonly string[]): LookVerdict {
  const told = findings.filter(
    ({ severity, check, unseen }) =>
      unseen !== true && (severity === "fail" || severity === "warn" || (check === LISTED && severity === "info")),
  );
  const names = told.map(nameFinding);
  const unseen = findings.filter((finding) => finding.unseen === true).map(({ id, check }) => `${id ?? check} `);
  const kept = known.filter((name) => !names.includes(name) && unseen.some((start) => name.startsWith(start)));
  return {
    weak: told.filter(({ severity }) => severity !== "info").length + kept.length,
    fresh: told.filter((_finding, index) => !known.includes(names[index] ?? "")),
    known: [...new Set([...names, ...kept])],
  };
}
