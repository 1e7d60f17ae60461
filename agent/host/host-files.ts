// The host's own files, read when the agent starts and again when they change: policy, stand-ins. Each with a clear error.

import { readFile } from "node:fs/promises";

import * as z from "zod";

import { parseToml } from "../../shared/parse-toml.ts";
import { buildStrictPolicy, type Policy, policySchema } from "../../shared/policy.ts";
import { describeProblem } from "../../shared/problem.ts";
import { imageReference } from "../../shared/schema-leaf.ts";

const standInSchema = z.record(z.union([z.literal("*"), imageReference]), imageReference);

/** A host file that cannot be used, with every problem in it. */
class HostFileError extends Error {}

/** Reads one TOML file of the host; throws a `HostFileError` that names every problem. */
export async function readHostFile<T>(schema: z.ZodType<T>, file: string): Promise<T> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new HostFileError(
      error.code === "ENOENT" ? `${file} does not exist` : `${file} cannot be read: ${error.code}`,
    );
  });
  const parsed = await parseToml(schema, text, file);
  if (parsed.ok) return parsed.value;
  throw new HostFileError(parsed.problems.map(describeProblem).join("\n"));
}

/** Reads the host's policy; without a file the strict one holds. */
export function readPolicy(file: string | undefined): Promise<Policy> {
  return file === undefined ? Promise.resolve(buildStrictPolicy()) : readHostFile(policySchema, file);
}

/** Reads which local image plays which. */
export function readStandIns(file: string | undefined): Promise<Record<string, string> | undefined> {
  return file === undefined ? Promise.resolve(undefined) : readHostFile(standInSchema, file);
}
