// `orca schema`: the JSON Schema of what people write, for editors and for checks before a commit.

import * as z from "zod";

import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { fleetSchema } from "../../../shared/fleet/fleet.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { policySchema } from "../../../shared/policy/policy.ts";
import { EXIT } from "../frame/exit-codes.ts";
import { printDocument } from "../frame/terminal.ts";

const SCHEMAS = {
  manifest: manifestSchema,
  fleet: fleetSchema,
  agent: agentConfigSchema,
  policy: policySchema,
} as const;

/** A kind of file that has a schema. */
export type SchemaName = keyof typeof SCHEMAS;

/** Prints the schema of one kind of file. */
export async function printSchema(name: SchemaName): Promise<number> {
  printDocument(buildJsonSchema(name));
  return EXIT.ok;
}

/**
 * Builds the JSON Schema (draft 2020-12) of one kind of file: the input side, with durations and sizes as texts. It accepts
 * every file that lint accepts; rules between keys are lint's alone.
 */
export function buildJsonSchema(name: SchemaName): object {
  return z.toJSONSchema(SCHEMAS[name], { io: "input", target: "draft-2020-12" });
}
