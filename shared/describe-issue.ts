// From a zod issue to what a person reads: what is wrong, what to write instead, and which key was meant.
// Only parse-toml.ts calls this.

import { z } from "zod";

import { type Finding, suggestWord } from "./problem.ts";

type Issue = z.core.$ZodIssue;
type Path = (string | number)[];

/**
 * Turns zod's issues into findings.
 * @param issues what the schema said
 * @param schema the schema itself, to know which keys exist where
 * @param raw the input, to choose the branch of a union that was meant
 */
export function describeIssues(issues: readonly Issue[], schema: z.ZodType, raw: unknown): Finding[] {
  return issues.flatMap((issue) => describeIssue(issue, [], { schema, raw }));
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
      return issue.keys.map((key) => describeUnknownKey(key, path, known));
    }
    case "invalid_union":
      return describeUnion(issue, path, input);
    case "invalid_type":
      return [describeType(issue, path, readAt(input.raw, path))];
    case "invalid_value":
      return [
        finding(
          "value",
          `${show(readAt(input.raw, path))} is not one of the values`,
          `write ${issue.values.map(show).join(" or ")}`,
        ),
      ];
    case "too_small":
      return [
        finding(
          "range",
          describeRange(issue.origin, "at least", issue.minimum),
          `write ${rangeHint(issue.origin, "at least", issue.minimum)}`,
        ),
      ];
    case "too_big":
      return [
        finding(
          "range",
          describeRange(issue.origin, "at most", issue.maximum),
          `write ${rangeHint(issue.origin, "at most", issue.maximum)}`,
        ),
      ];
    case "invalid_key":
    case "invalid_element":
      return issue.issues.flatMap((inner) => describeIssue(inner, path, input));
    case "custom": {
      const params = issue.params as { hint?: string; rule?: string } | undefined;
      return [finding(params?.rule ?? "value", issue.message, params?.hint ?? "")];
    }
    default:
      return [finding("value", `${show(readAt(input.raw, path))} does not fit`, issue.message)];
  }
}

function describeUnknownKey(key: string, path: Path, known: readonly string[]): Finding {
  const meant = suggestWord(key, known);
  const hint =
    meant === undefined ? `known here: ${[...known].toSorted().join(", ")}` : `did you mean ${JSON.stringify(meant)}?`;
  return { severity: "error", code: "unknown-key", path: [...path, key], message: "there is no such key", hint };
}

function describeType(issue: z.core.$ZodIssueInvalidType, path: Path, value: unknown): Finding {
  const expected = TYPE_WORDS[issue.expected] ?? issue.expected;
  if (value === undefined) {
    const key = path.at(-1) ?? "";
    const code = key === "memory" ? "no-memory-cap" : "missing-key";
    return {
      severity: "error",
      code,
      path,
      message: `${key} is missing`,
      hint: `write ${key} = ${TYPE_EXAMPLES[issue.expected] ?? "…"}`,
    };
  }
  const hint =
    issue.expected === "string" && ["number", "boolean", "bigint"].includes(typeof value)
      ? `put it in quotes: "${JSON.stringify(value)}"`
      : `write ${TYPE_EXAMPLES[issue.expected] ?? expected}`;
  return { severity: "error", code: "type", path, message: `this is ${wordFor(value)}, not ${expected}`, hint };
}

/** In a union, the branch that was meant is the one that takes this type of value; its issues are the useful ones. */
function describeUnion(issue: z.core.$ZodIssueInvalidUnion, path: Path, input: Input): Finding[] {
  if (issue.errors.length === 0 || issue.discriminator !== undefined) {
    const hint = `write a known ${issue.discriminator ?? "value"}`;
    return [
      {
        severity: "error",
        code: "value",
        path: [...path, issue.discriminator ?? []].flat(),
        message: "this is not a known kind",
        hint,
      },
    ];
  }
  const meant = issue.errors.filter((branch) => !branch.some((inner) => isTypeMismatch(inner)));
  const chosen = meant[0] ?? issue.errors[0] ?? [];
  if (meant.length > 0) return chosen.flatMap((inner) => describeIssue(inner, path, input));
  const words = issue.errors.flat().flatMap((inner) => {
    if (inner.path.length > 0) return [];
    if (inner.code === "invalid_type") return [TYPE_WORDS[inner.expected] ?? inner.expected];
    return inner.code === "invalid_value" ? inner.values.map(show) : [];
  });
  return [
    {
      severity: "error",
      code: "type",
      path,
      message: `${show(readAt(input.raw, path))} does not fit here`,
      hint: `write ${[...new Set(words)].join(" or ")}`,
    },
  ];
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
  return typeof value === "boolean" ? "true or false" : "a number";
}

function describeRange(origin: string, bound: string, limit: number | bigint): string {
  return origin === "string" || origin === "array" ? `it must hold ${bound} ${limit}` : `it must be ${bound} ${limit}`;
}

function rangeHint(origin: string, bound: string, limit: number | bigint): string {
  return origin === "array"
    ? `${bound} ${limit} ${limit === 1 ? "entry" : "entries"}`
    : origin === "string"
      ? `${bound} ${limit} characters`
      : `${bound} ${limit}`;
}

/** Short text of a value; long texts are cut, since a value may be anything. */
function show(value: unknown): string {
  const text = typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? "nothing");
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function readAt(raw: unknown, path: Path): unknown {
  let value = raw;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

/** The keys that a schema knows at a path, through optionals, lists, records, pipes and unions. */
function listKeys(schema: z.ZodType, path: Path): string[] {
  let layer: z.ZodType[] = unwrap(schema);
  for (const part of path) layer = layer.flatMap((entry) => step(entry, part)).flatMap(unwrap);
  return [...new Set(layer.flatMap((entry) => (entry instanceof z.ZodObject ? Object.keys(entry.shape) : [])))];
}

function step(schema: z.ZodType, part: string | number): z.ZodType[] {
  if (schema instanceof z.ZodObject) return part in schema.shape ? [schema.shape[part] as z.ZodType] : [];
  if (schema instanceof z.ZodArray) return [schema.element as z.ZodType];
  return schema instanceof z.ZodRecord ? [schema.valueType as z.ZodType] : [];
}

function unwrap(schema: z.ZodType): z.ZodType[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return unwrap(schema.unwrap() as z.ZodType);
  }
  if (schema instanceof z.ZodPipe) return unwrap(schema.in as z.ZodType);
  if (schema instanceof z.ZodUnion) return (schema.options as z.ZodType[]).flatMap(unwrap);
  return [schema];
}
