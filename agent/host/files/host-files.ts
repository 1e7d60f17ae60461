// The host's own files, read when the agent starts and again when they change: policy, stand-ins. Each with a clear error.

import { lstatSync } from "node:fs";
import { readFile } from "node:fs/promises";

import * as z from "zod";

import { type HelpTopic, nameHelp } from "../../../shared/text/help-topic.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { buildStrictPolicy, type Policy, policySchema } from "../../../shared/policy/policy.ts";
import { describeProblem } from "../../../shared/text/problem.ts";
import { imageReference } from "../../../shared/text/schema-leaf.ts";

const standInSchema = z.record(z.union([z.literal("*"), imageReference]), imageReference);

/** A host file that cannot be used, with every problem in it. */
class HostFileError extends Error {}

/**
 * Reads one TOML file of the host; throws a `HostFileError` that names every problem.
 * @param page the topic page about such a file
 */
export async function readHostFile<T>(schema: z.ZodType<T>, file: string, page?: HelpTopic): Promise<T> {
  const more = page === undefined ? "" : ` (${nameHelp(page)})`;
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") throw new HostFileError(`${file} does not exist${more}`);
    throw new HostFileError(
      isRefused(error) ? `this user may not read ${file}: use sudo` : `${file} cannot be read: ${error.code}`,
    );
  });
  const parsed = await parseToml(schema, text, file);
  if (parsed.ok) return parsed.value;
  throw new HostFileError(`${parsed.problems.map(describeProblem).join("\n")}${more}`);
}

/** True for the kernel's word that this user may not. */
export function isRefused(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EACCES" || code === "EPERM";
}

/** False only for what is known not to be there: a file in a directory that this user may not look into counts as there. */
export function mayExist(file: string): boolean {
  try {
    return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    return isRefused(error);
  }
}

/** Reads the host's policy; without a file the strict one holds. */
export function readPolicy(file: string | undefined): Promise<Policy> {
  return file === undefined ? Promise.resolve(buildStrictPolicy()) : readHostFile(policySchema, file, "policy");
}

/** Reads which local image plays which. */
export function readStandIns(file: string | undefined): Promise<Record<string, string> | undefined> {
  return file === undefined ? Promise.resolve(undefined) : readHostFile(standInSchema, file);
}
