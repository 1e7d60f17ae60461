// Walks a zod schema and lists every place where a file says something: each key, each entry of a list, each name and value of an
// open table. A kind of schema that is not known here throws, so that nothing is passed over.

import type * as z from "zod";

type Def = Record<string, unknown> & { type: string };

/** Lists the places of a schema's input, as `health.http.port`, `ports.*`, `env.*` for a value and `env.<name>` for a name. */
export function listPlaces(schema: z.ZodType): string[] {
  const places = new Set<string>();
  walk(schema, "", places);
  return [...places];
}

function walk(schema: z.ZodType, path: string, places: Set<string>): void {
  const def = schema._zod.def as unknown as Def;
  const below = (key: string): string => (path === "" ? key : `${path}.${key}`);
  switch (def.type) {
    case "object":
      for (const [key, entry] of Object.entries(def["shape"] as Record<string, z.ZodType>))
        walk(entry, below(key), places);
      return;
    case "array":
      return walk(def["element"] as z.ZodType, below("*"), places);
    case "record":
      walk(def["keyType"] as z.ZodType, below("<name>"), places);
      return walk(def["valueType"] as z.ZodType, below("*"), places);
    case "union":
      for (const option of def["options"] as z.ZodType[]) walk(option, path, places);
      return;
    case "optional":
    case "default":
    case "prefault":
    case "nullable":
      return walk(def["innerType"] as z.ZodType, path, places);
    case "pipe":
      return walk(def["in"] as z.ZodType, path, places);
    case "string":
    case "number":
    case "boolean":
    case "enum":
    case "literal":
      places.add(path);
      return;
    default:
      throw new Error(`${path}: a schema of the kind ${def.type} is not walked yet`);
  }
}
