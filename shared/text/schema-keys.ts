// What a schema has at a path: its keys and its leaves, through optionals, lists, records, pipes and unions. Only describe-issue.ts
// asks, to say which keys there are and what a value should be. Pure.

import * as z from "zod";

/** The keys that a schema knows at a path, through optionals, lists, records, pipes and unions. */
export function listKeys(schema: z.ZodType, path: readonly (string | number)[]): string[] {
  const layer = listLeaves(schema, path);
  return [...new Set(layer.flatMap((entry) => (entry instanceof z.ZodObject ? Object.keys(entry.shape) : [])))];
}

/** What the schema has at a path, in all its branches. */
export function listLeaves(schema: z.ZodType, path: readonly (string | number)[]): z.ZodType[] {
  let layer: z.ZodType[] = unwrap(schema);
  for (const part of path) layer = layer.flatMap((entry) => step(entry, part)).flatMap(unwrap);
  return layer;
}

function step(schema: z.ZodType, part: string | number): z.ZodType[] {
  if (schema instanceof z.ZodObject) {
    return Object.hasOwn(schema.shape, part) ? [schema.shape[part] as z.ZodType] : [];
  }
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
