// Reads what an agent has stored as what it may be by now: written by an earlier version, by a later one, or damaged. Nothing is
// cast. A part that does not parse is left out by name, so that one part costs itself and nothing beside it. Pure.

import * as z from "zod";

/** A part of what was stored that cannot be used. */
export interface Lost {
  /** Where it stood, as a person finds it: `memory.services.web.failure`. */
  path: string;
  reason: string;
  /** What stood there. */
  value: unknown;
}

/** The schema of every field of a stored object. */
export type Shape = Readonly<Record<string, z.ZodType>>;

/** A key that JSON leaves out when its value is undefined. */
export function maybe<T>(schema: z.ZodType<T>): z.ZodType<T | undefined> {
  return z.optional(schema);
}

/** True for an object with keys, as JSON has them. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Reads an object field by field: one that does not parse is left out and put down in `lost`; one that the shape does not know
 * was written by a later version and is kept as it is.
 */
export function salvageFields(
  shape: Shape,
  value: Readonly<Record<string, unknown>>,
  { path, lost }: { path: string; lost: Lost[] },
): Record<string, unknown> {
  const entries = Object.entries(value).flatMap(([key, part]): [string, unknown][] => {
    const schema = Object.hasOwn(shape, key) ? shape[key] : undefined;
    if (schema === undefined) return [[key, part]];
    const parsed = schema.safeParse(part);
    if (parsed.success) return [[key, parsed.data]];
    lost.push({ path: `${path}.${key}`, reason: describeFault(parsed.error), value: part });
    return [];
  });
  return Object.fromEntries(entries);
}

/** Reads a table of things by name: one that cannot be used is left out and put down. */
export function salvageTable<T>(
  value: unknown,
  read: (entry: unknown, name: string) => T | undefined,
  { path, lost }: { path: string; lost: Lost[] },
): Record<string, T> {
  if (value === undefined) return {};
  if (!isRecord(value)) {
    lost.push({ path, reason: "it is no table", value });
    return {};
  }
  const entries = Object.entries(value).flatMap(([name, entry]): [string, T][] => {
    const known = read(entry, name);
    return known === undefined ? [] : [[name, known]];
  });
  return Object.fromEntries(entries);
}

/** The first fault of a part, with the place in it. */
export function describeFault(error: z.ZodError): string {
  const [issue] = error.issues;
  if (issue === undefined) return "it is of another shape";
  return issue.path.length === 0 ? issue.message : `${issue.path.join(".")}: ${issue.message}`;
}
