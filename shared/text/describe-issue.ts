// From a zod issue to what a person reads: what is wrong, what to write instead, and which key was meant.
// Only parse-toml.ts calls this. Never shows what stands in a table whose values may be secrets.

import type * as z from "zod";

import { translateKey, translateValue } from "../manifest/compose-words.ts";
import { DURATION_PATTERN, suggestDuration } from "./duration.ts";
import { cutText, type Finding, suggestWord } from "./problem.ts";
import { listKeys, listLeaves } from "./schema-keys.ts";
import { SIZE_PATTERN, suggestSize } from "./size.ts";
import { describeCount } from "./count.ts";

type Issue = z.core.$ZodIssue;
type Path = (string | number)[];

/** More findings than this in one file help nobody, and a hostile file could hold a million. */
const MOST_FINDINGS = 200;

/** Tables and lists whose values may be secrets. */
const PRIVATE_KEYS: ReadonlySet<string | number> = new Set([
  "env",
  "secrets",
  "labels",
  "options",
  "command",
  "entrypoint",
  "exec",
  "queries",
]);

/**
 * Turns zod's issues into findings, 200 at most; then the last one says how many more there are.
 * @param issues what the schema said
 * @param schema the schema itself, to know which keys exist where
 * @param raw the input, to choose the branch of a union that was meant
 */
export function describeIssues(issues: readonly Issue[], schema: z.ZodType, raw: unknown): Finding[] {
  const findings: Finding[] = [];
  // A misspelt key comes before what is missing for it: who is told only the first of them is told what to mend.
  const sorted = issues.toSorted((left, right) => rankIssue(left) - rankIssue(right));
  for (const [index, issue] of sorted.entries()) {
    findings.push(...describeIssue(issue, [], { schema, raw }));
    const more = Math.max(0, findings.length - MOST_FINDINGS) + issues.length - index - 1;
    if (findings.length < MOST_FINDINGS || more === 0) continue;
    return [...findings.slice(0, MOST_FINDINGS), describeMore(more)];
  }
  return dropMisspelt(findings);
}

function rankIssue({ code }: Issue): number {
  return code === "unrecognized_keys" ? 0 : 1;
}

/** What is missing only because its key is misspelt in the same table is one mistake, told once. */
function dropMisspelt(findings: readonly Finding[]): Finding[] {
  const meant = new Set(
    findings.flatMap(({ path, meant: word }) =>
      word === undefined ? [] : [JSON.stringify([...path.slice(0, -1), word])],
    ),
  );
  return findings.filter(({ code, path }) => !MISSING.has(code) || !meant.has(JSON.stringify(path)));
}

const MISSING: ReadonlySet<string> = new Set(["missing-key", "no-memory-cap", "no-health"]);

function describeMore(count: number): Finding {
  const message = `this file has ${describeCount(count, "more problem")} or above`;
  return { severity: "error", code: "more", path: [], message, hint: "mend the ones above first" };
}

interface Input {
  schema: z.ZodType;
  raw: unknown;
}

function describeIssue(issue: Issue, base: Path, input: Input): Finding[] {
  const path = [...base, ...issue.path.map((part) => (typeof part === "symbol" ? String(part) : part))];
  const finding = (code: string, message: string, hint: string): Finding => ({
    severity: "error",
    code,
    path,
    message,
    hint,
  });
  switch (issue.code) {
    case "unrecognized_keys": {
      const known = listKeys(input.schema, path);
      return issue.keys.slice(0, MOST_FINDINGS + 1).map((key) => describeUnknownKey(key, path, known));
    }
    case "invalid_union":
      return describeUnion(issue, path, input);
    case "invalid_type":
      return [describeType(issue, path, input)];
    case "invalid_value":
      return [finding("value", `${showAt(input, path)} is not one of the values`, hintValues(issue.values))];
    case "too_small":
      return [finding("range", `${measure(issue.origin, input, path)} is too little`, hintSmallest(issue))];
    case "too_big":
      return [finding("range", `${measure(issue.origin, input, path)} is too much`, hintLargest(issue))];
    case "invalid_key":
    case "invalid_element":
      return issue.issues.flatMap((inner) => describeIssue(inner, path, input));
    case "custom": {
      const params = issue.params as { hint?: string; rule?: string } | undefined;
      return [finding(params?.rule ?? "value", issue.message, params?.hint ?? "")];
    }
    case "invalid_format": {
      // Our own patterns say what to write; zod's own words are for programmers.
      const hint = issue.format === "url" ? 'write "https://host/path"' : issue.message;
      return [finding("value", `${showAt(input, path)} does not fit`, hint)];
    }
    default:
      return [finding("value", `${showAt(input, path)} does not fit`, issue.message)];
  }
}

function describeUnknownKey(key: string, path: Path, known: readonly string[]): Finding {
  const unknown = {
    severity: "error",
    code: "unknown-key",
    path: [...path, key],
    message: "there is no such key",
  } as const;
  const translated = translateKey(key, path, known);
  if (translated !== undefined) return { ...unknown, hint: translated };
  const meant = suggestWord(key, known);
  if (meant === undefined) return { ...unknown, hint: hintKnown(known) };
  return { ...unknown, hint: `did you mean ${JSON.stringify(meant)}?`, meant };
}

/** More names than a line holds help nobody to choose. */
const LONGEST_LIST = 100;

function hintKnown(known: readonly string[]): string {
  const list = [...known].toSorted().join(", ");
  return list.length <= LONGEST_LIST ? `known here: ${list}` : "orca schema prints the keys that there are";
}

function describeType(issue: z.core.$ZodIssueInvalidType, path: Path, input: Input): Finding {
  const value = readAt(input.raw, path);
  if (value === undefined) return describeMissing(issue.expected, path);
  const expected = TYPE_WORDS[issue.expected] ?? issue.expected;
  const isBare = typeof value === "number" || typeof value === "boolean" || typeof value === "bigint";
  const quoted = isPrivate(path) || !isBare ? "put it in quotes" : `put it in quotes: "${String(value)}"`;
  const example = `write ${TYPE_EXAMPLES[issue.expected] ?? `it as ${expected}`}`;
  const hint =
    (isManifest(input) ? translateValue(path, value) : undefined) ??
    hintUnit(listLeaves(input.schema, path), value) ??
    (issue.expected === "string" && isBare ? quoted : (hintBare(issue.expected, path, value) ?? example));
  return { severity: "error", code: "type", path, message: `this is ${wordFor(value)}, not ${expected}`, hint };
}

/** The number or the truth that stands in quotes. */
function hintBare(expected: string, path: Path, value: unknown): string | undefined {
  if (typeof value !== "string" || isPrivate(path)) return undefined;
  const text = value.trim();
  const isNumber = (expected === "number" || expected === "int") && /^-?\d{1,15}(\.\d{1,6})?$/.test(text);
  if (isNumber) return `write ${text}, without quotes`;
  if (expected === "number" || expected === "int") return "write a number, without quotes";
  if (expected !== "boolean") return undefined;
  return `write ${/^(true|yes|on|1)$/i.test(text) ? "true" : "false"}, without quotes`;
}

/** A bare number where a size or a duration is meant: quotes alone would be the next mistake. */
function hintUnit(leaves: readonly z.ZodType[], value: unknown): string | undefined {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) return undefined;
  const patterns = new Set(leaves.map((leaf) => leaf.meta()?.["pattern"]));
  if (patterns.has(SIZE_PATTERN.source)) return suggestSize(String(value));
  return patterns.has(DURATION_PATTERN.source) ? suggestDuration(String(value)) : undefined;
}

/** The words of Compose are those of manifests: the other files have keys of their own. */
function isManifest({ schema }: Input): boolean {
  return listKeys(schema, []).includes("image");
}

function describeMissing(expected: string, path: Path): Finding {
  const place = path.join(".");
  if (place === "resources" || place === "resources.memory") {
    const hint = `write ${place === "resources" ? "[resources] with " : ""}memory = "512MiB", or what it really needs`;
    return { severity: "error", code: "no-memory-cap", path, message: "the memory cap is missing", hint };
  }
  const key = path.at(-1) ?? "";
  const hint = `write ${key} = ${TYPE_EXAMPLES[expected] ?? "…"}`;
  return { severity: "error", code: "missing-key", path, message: `${key} is missing`, hint };
}

/** In a union, the branch that was meant is the one that takes this type of value; its issues are the useful ones. */
function describeUnion(issue: z.core.$ZodIssueInvalidUnion, path: Path, input: Input): Finding[] {
  const meant = issue.errors.find((branch) => !branch.some((inner) => isTypeMismatch(inner)));
  if (meant !== undefined) return meant.flatMap((inner) => describeIssue(inner, path, input));
  const value = readAt(input.raw, path);
  if (value === undefined) return [describeMissing("", path)];
  const words = issue.errors.flat().flatMap((inner) => {
    if (inner.path.length > 0) return [];
    if (inner.code === "invalid_type") return [TYPE_WORDS[inner.expected] ?? inner.expected];
    return inner.code === "invalid_value" ? inner.values.map(show) : [];
  });
  // A union by a key, such as `kind`, names its values instead of its branches.
  const options = issue.errors.length === 0 && "options" in issue ? (issue.options as unknown[]).map(show) : [];
  const hint = `write ${[...new Set([...words, ...options])].join(" or ")}`;
  const told = (isManifest(input) ? translateValue(path, value) : undefined) ?? hint;
  return [{ severity: "error", code: "value", path, message: `${showAt(input, path)} does not fit here`, hint: told }];
}

function isTypeMismatch(issue: Issue): boolean {
  return issue.path.length === 0 && (issue.code === "invalid_type" || issue.code === "invalid_value");
}

const TYPE_WORDS: Record<string, string> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a table",
  record: "a table",
};

const TYPE_EXAMPLES: Record<string, string> = {
  string: '"…"',
  number: "1",
  int: "1",
  boolean: "true",
  array: "[…]",
  object: "{ … }",
  record: "{ … }",
};

function wordFor(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  if (typeof value === "object") return "a table";
  if (typeof value === "string") return "a text";
  if (typeof value === "boolean") return "true or false";
  if (typeof value !== "number" || Number.isFinite(value)) return "a number";
  return Number.isNaN(value) ? "nan" : "inf";
}

/** What was too little or too much: the number itself, or how much a text or a list holds. */
function measure(origin: string, input: Input, path: Path): string {
  const value = readAt(input.raw, path);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return origin === "string" && typeof value === "string" ? `a text of ${value.length}` : showAt(input, path);
}

function hintSmallest(issue: z.core.$ZodIssueTooSmall): string {
  return `write ${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}${unitOf(issue.origin, issue.minimum)}`;
}

function hintLargest(issue: z.core.$ZodIssueTooBig): string {
  return `write ${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}${unitOf(issue.origin, issue.maximum)}`;
}

function unitOf(origin: string, count: number | bigint): string {
  if (origin === "array") return count === 1 ? " entry" : " entries";
  if (origin === "string") return count === 1 ? " character" : " characters";
  return "";
}

function hintValues(values: readonly unknown[]): string {
  return `write ${values.map(show).join(" or ")}`;
}

function isPrivate(path: Path): boolean {
  return path.some((part) => PRIVATE_KEYS.has(part));
}

function showAt(input: Input, path: Path): string {
  return isPrivate(path) ? "this" : show(readAt(input.raw, path));
}

/** Short text of a value; long texts are cut, since a value may be anything. */
function show(value: unknown): string {
  if (Array.isArray(value) || (typeof value === "object" && value !== null)) return wordFor(value);
  return typeof value === "number" || typeof value === "bigint"
    ? String(value)
    : cutText(JSON.stringify(value) ?? "nothing");
}

function readAt(raw: unknown, path: Path): unknown {
  let value = raw;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}
