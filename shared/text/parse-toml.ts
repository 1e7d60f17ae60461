// One way from TOML text to a typed value or to findings with places. Used for every TOML file in Orca.
// The place of a key is looked up only when something is wrong: the parser that knows places is four times slower. Nothing
// is thrown, whatever the text is.

import type * as z from "zod";

import { describeIssues } from "./describe-issue.ts";
import { describePath, type Finding, type Problem } from "./problem.ts";
import { BOUNDS, readToml, stripMark, type TomlFault } from "./read-toml.ts";
import type { TomlBounds } from "./toml-bounds.ts";

/** What parsing gives: the value, or what is wrong with the file. `raw` is the TOML as plain data, where it parsed at all. */
export type Parsed<T> = { ok: true; value: T; raw: unknown } | { ok: false; problems: Problem[] };

/**
 * Parses and validates one TOML file. Never throws.
 * @param schema what the file must hold
 * @param text the file's text; a byte order mark at its start is passed over, as TOML 1.1 says
 * @param file its name, for the problems
 * @param bounds how deep it may be and how much it may hold
 */
export async function parseToml<T>(
  schema: z.ZodType<T>,
  text: string,
  file: string,
  bounds: TomlBounds = BOUNDS,
): Promise<Parsed<T>> {
  const read = readToml(text, bounds);
  if (!read.ok) return { ok: false, problems: [placeFault(read.fault, file)] };
  const { raw } = read;
  try {
    const result = schema.safeParse(raw);
    const reserved = listReserved(text, raw);
    if (result.success && reserved.length === 0) return { ok: true, value: result.data, raw };
    const issues = result.success ? [] : describeIssues(result.error.issues, schema, raw);
    const findings = [...reserved, ...issues.filter((finding) => finding.path.at(-1) !== RESERVED)];
    return { ok: false, problems: await locateFindings(findings, text, file) };
  } catch (error) {
    // Whatever a text makes a check do, it is that text's fault alone.
    const said = error instanceof Error ? error.name : "an error";
    const message = `it cannot be judged: ${said} while its keys were checked`;
    return {
      ok: false,
      problems: [placeFault({ ...NOWHERE, code: "unjudged", message, hint: "write it plainer" }, file)],
    };
  }
}

/** The same for who only asks whether a text is valid: what is wrong is not described, which costs the most. */
export function readValid<T>(schema: z.ZodType<T>, text: string, bounds: TomlBounds = BOUNDS): T | undefined {
  const read = readToml(text, bounds);
  if (!read.ok) return undefined;
  try {
    const result = schema.safeParse(read.raw);
    return result.success && listReserved(text, read.raw).length === 0 ? result.data : undefined;
  } catch {
    return undefined;
  }
}

const NOWHERE = { line: 1, column: 1 };

function placeFault(fault: Omit<TomlFault, "code"> & { code: string }, file: string): Problem {
  return { severity: "error", file, key: "", ...fault };
}

const RESERVED = "__proto__";

/** The name itself, or an escape that could spell it. */
const MAY_BE_RESERVED = /__proto__|\\[uUx]/;

/** zod drops a key of this name without a word, wherever a table takes any key; what is dropped must be said. */
function listReserved(text: string, raw: unknown): Finding[] {
  return MAY_BE_RESERVED.test(text) ? findReserved(raw, []) : [];
}

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

/** The parser that knows places takes long for long texts: a file that is longer is none that somebody wrote. */
const LONGEST_PLACED = 256 * 1024;

function placeNowhere(): { line: number; column: number } {
  return NOWHERE;
}

/** Gives findings their line and column in the text; a key that is missing gets the place of its table. */
export async function locateFindings(findings: readonly Finding[], text: string, file: string): Promise<Problem[]> {
  if (findings.length === 0) return [];
  const { buildPlaces } = await import("./toml-places.ts");
  const places = text.length > LONGEST_PLACED ? placeNowhere : buildPlaces(stripMark(text));
  return findings.map((finding) => {
    const { line, column } = places(finding.path);
    const { severity, code, message, hint } = finding;
    return { severity, code, file, line, column, key: describePath(finding.path), message, hint };
  });
}
