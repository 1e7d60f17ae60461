// The kinds of stores, by their names in a manifest. Loaded by the child alone.

import { command } from "./command.ts";
import { files } from "./volume-files.ts";
import { mysql } from "./mysql.ts";
import { postgres } from "./postgres.ts";
import { postgresBase } from "./postgres-base.ts";
import { redis } from "./redis.ts";
import type { StoreEngine } from "./store-engine.ts";

const ENGINES: Readonly<Record<string, StoreEngine>> = {
  postgres,
  "postgres-base": postgresBase,
  mysql,
  redis,
  files,
  command,
};

/** Throws for one that this version does not know. */
export function findEngine(name: string): StoreEngine {
  const engine = Object.hasOwn(ENGINES, name) ? ENGINES[name] : undefined;
  if (engine === undefined) throw new Error(`engine ${name} is not run by this version`);
  return engine;
}
