// One way from TOML text to a typed value or to findings with places. Used for every TOML file in Orca.
// The place of a key is looked up only when something is wrong: the parser that knows places is four times slower.

import { parse, TomlError } from "smol-toml";
import type { z } from "zod";

import { describeIssues } from "./describe-issue.ts";
import { describePath, type Finding, type Problem } from "./problem.ts";

/** What parsing gives: the value, or what is wrong with the file. `raw` is the TOML as plain data, where it parsed at all. */
export type Parsed<T> = { ok: true; value: T; raw: unknown } | { ok: false; problems: Problem[] };

/**
 * Parses and validates one TOML file.
 * @param schema what the file must hold
 * @param text the file's text
 * @param file its name, for the problems
 */
export async function parseToml<T>(schema: z.ZodType<T>, text: string, file: string): Promise<Parsed<T>> {
  let raw: unknown;
  try {
    raw = parse(text);
  } catch (error) {
    return { ok: false, problems: [describeSyntaxError(error, file)] };
  }
  const result = schema.safeParse(raw);
  if (result.success) return { ok: true, value: result.data, raw };
  return { ok: false, problems: await locateFindings(describeIssues(result.error.issues, schema, raw), text, file) };
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
  const places = buildPlaces(text);
  return findings.map((finding) => {
    const { line, column } = places(finding.path);
    const { severity, code, message, hint } = finding;
    return { severity, code, file, line, column, key: describePath(finding.path), message, hint };
  });
}
