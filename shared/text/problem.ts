// What is wrong with an input file, with its place and what to write instead. Made by the schemas and by lint,
// printed by the CLI, status and `/why`. Never holds a value that may be a secret.

import { distance } from "fastest-levenshtein";

type Severity = "error" | "warning" | "info";

/** One finding in one file. `line` and `column` count from 1; `key` is the dotted path, empty for the whole file. */
export interface Problem {
  severity: Severity;
  /** A stable name for the rule, such as `unknown-key` or `cycle`. */
  code: string;
  file: string;
  line: number;
  column: number;
  key: string;
  /** What is wrong. */
  message: string;
  /** What to write instead. */
  hint: string;
}

/** A finding whose key is known but whose line is not yet looked up (see `locateFindings`). */
export interface Finding {
  severity: Severity;
  code: string;
  path: readonly (string | number)[];
  message: string;
  hint: string;
  /** The key that is meant, where this one is a misspelling of it. */
  meant?: string;
}

/** The most characters of a value or a key that a message holds. */
const LONGEST_SHOWN = 80;

/** Cuts a text for a message: what stands in a file may be any length. */
export function cutText(text: string): string {
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN - 1)}…` : text;
}

/** A text in quotes for a message, cut where it is long. */
export function quoteText(text: string): string {
  return JSON.stringify(cutText(text));
}

/** Prints a key path as TOML users read it: `health.http.port`, `ports[1]`. */
export function describePath(path: readonly (string | number)[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += `${text === "" ? "" : "."}${/^[A-Za-z0-9_-]{1,80}$/.test(part) ? part : quoteText(part)}`;
  }
  return text;
}

/** One line: `file:line:column: key: what is wrong (what to write instead)`; what is no error is called what it is. */
export function describeProblem(problem: Problem): string {
  const severity = problem.severity === "error" ? "" : `${problem.severity}: `;
  return `${problem.file}:${problem.line}:${problem.column}: ${severity}${describeFault(problem)}`;
}

/** The same without the place: `key: what is wrong (what to write instead)`. */
export function describeFault(problem: Pick<Problem, "key" | "message" | "hint">): string {
  const key = problem.key === "" ? "" : `${problem.key}: `;
  const hint = problem.hint === "" ? "" : ` (${problem.hint})`;
  return `${key}${problem.message}${hint}`;
}

/**
 * The known word nearest to a misspelt one, or undefined when none is near.
 * Near means an edit distance of at most a third of the word's length, and at least 1.
 */
export function suggestWord(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  const plain = foldWord(word);
  for (const candidate of known) {
    // The distance is at least the difference in length: most candidates need no closer look.
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const apart = distance(plain, foldWord(candidate));
    // Swapped letters are the commonest slip in a short word, and count as two edits.
    if (apart === bestDistance && apart === 2 && sameLetters(plain, foldWord(candidate))) return candidate;
    if (apart < bestDistance) [best, bestDistance] = [candidate, apart];
  }
  return best;
}

function sameLetters(left: string, right: string): boolean {
  const sort = (text: string): string => text.split("").toSorted(compareText).join("");
  return sort(left) === sort(right);
}

function foldWord(word: string): string {
  return word.toLowerCase().replaceAll("-", "_");
}

/** Orders problems by file, line, column and code, so that output is the same on every run. */
export function compareProblems(left: Problem, right: Problem): number {
  return (
    compareText(left.file, right.file) ||
    left.line - right.line ||
    left.column - right.column ||
    compareText(left.code, right.code) ||
    compareText(left.message, right.message)
  );
}

/** Code-unit order, the same in every locale. */
export function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
