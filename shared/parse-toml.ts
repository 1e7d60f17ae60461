// One way from TOML text to a typed value or to findings with places. Used for every TOML file in Orca.
// The place of a key is looked up only when something is wrong: the parser that knows places is four times slower.

import { parse, TomlError } from "smol-toml";
import type * as z from "zod";

import { describeIssues } from "./describe-issue.ts";
import { describePath, type Finding, type Problem } from "./problem.ts";

/** What parsing gives: the value, or what is wrong with the file. `raw` is the TOML as plain data, where it parsed at all. */
export type Parsed<T> = { ok: true; value: T; raw: unknown } | { ok: false; problems: Problem[] };

/**
 * Parses and validates one TOML file.
 * @param schema what the file must hold
 * @param text the file's text; a byte order mark at its start is passed over, as TOML 1.1 says
 * @param file its name, for the problems
 */
export async function parseToml<T>(schema: z.ZodType<T>, text: string, file: string): Promise<Parsed<T>> {
  let raw: unknown;
  try {
    raw = parse(stripMark(text));
  } catch (error) {
    return { ok: false, problems: [describeSyntaxError(error, file)] };
  }
  const result = schema.safeParse(raw);
  // zod drops a key of this name without a word, wherever a table takes any key; what is dropped must be said.
  const reserved = MAY_BE_RESERVED.test(text) ? findReserved(raw, []) : [];
  if (result.success && reserved.length === 0) return { ok: true, value: result.data, raw };
  const issues = result.success ? [] : describeIssues(result.error.issues, schema, raw);
  const findings = [...reserved, ...issues.filter((finding) => finding.path.at(-1) !== RESERVED)];
  return { ok: false, problems: await locateFindings(findings, text, file) };
}

const RESERVED = "__proto__";

/** The name itself, or an escape that could spell it. */
const MAY_BE_RESERVED = /__proto__|\\[uUx]/;

/** A name that JavaScript keeps for itself: as a key it cannot be told from nothing at all. */
function findReserved(value: unknown, path: readonly (string | number)[]): Finding[] {
  if (typeof value !== "object" || value === null || value instanceof Date) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const here = [...path, Array.isArray(value) ? Number(key) : key];
    if (key !== RESERVED) return findReserved(inner, here);
    const message = "this name cannot be used";
    return [{ severity: "error" as const, code: "unknown-key", path: here, message, hint: "choose another name" }];
  });
}

function stripMark(text: string): string {
  return text.startsWith("\uFEFF") ? text.slice(1) : text;
}

function describeSyntaxError(error: unknown, file: string): Problem {
  // smol-toml quotes the source line after the first line of its message: a line may hold a secret, so it is cut off.
  const first = (error instanceof Error ? error.message : String(error)).split("\n", 1)[0] ?? "";
  const [line, column] = error instanceof TomlError ? [error.line, error.column] : [1, 1];
  return {
    severity: "error",
    code: "syntax",
    file,
    line,
    column,
    key: "",
    message: first.replace(/^Invalid TOML document:\s*/i, "this is not TOML: "),
    hint: "see https://toml.io for the syntax",
  };
}

/** Gives findings their line and column in the text; a key that is missing gets the place of its table. */
export async function locateFindings(findings: readonly Finding[], text: string, file: string): Promise<Problem[]> {
  if (findings.length === 0) return [];
  const { buildPlaces } = await import("./toml-places.ts");
  const places = buildPlaces(stripMark(text));
  return findings.map((finding) => {
    const { line, column } = places(finding.path);
    const { severity, code, message, hint } = finding;
    return { severity, code, file, line, column, key: describePath(finding.path), message, hint };
  });
}
