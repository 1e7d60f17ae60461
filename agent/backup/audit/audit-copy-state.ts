// What the agent remembers of the copies of its audit log, between starts: a small file. Lost, each repository is looked at anew.

import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import * as z from "zod";

import { makeDirectory } from "../../host/files/make-directory.ts";

const memory = z.looseObject({
  /** When it was tried last; a day is accounted for by that. */
  triedMs: z.number(),
  /** When all that there was lay in the repository. */
  copiedMs: z.number().optional(),
  /** Which log it was, as the names of its copies say it. */
  log: z.string().optional(),
  /** The newest line that it has. */
  lines: z.number().optional(),
  /** Why the last try did not copy all. */
  reason: z.string().optional(),
  /** A line of this host is another one than was copied. */
  altered: z.number().optional(),
});

/** Of the document as this version reads and writes it. */
export const AUDIT_COPIES_VERSION = 1;
const state = z.looseObject({
  version: z.literal(AUDIT_COPIES_VERSION),
  repositories: z.record(z.string(), z.unknown()),
});

/** What is known of one repository. */
export type AuditCopyMemory = z.infer<typeof memory>;

/** Reads what was kept; an entry of another shape is left out. */
export function readAuditCopies(path: string): Map<string, AuditCopyMemory> {
  try {
    const { repositories } = state.parse(JSON.parse(readFileSync(path, "utf8")));
    const entries = Object.entries(repositories).flatMap(([name, value]) => {
      const { data } = memory.safeParse(value);
      return data === undefined ? [] : [[name, data] as const];
    });
    return new Map(entries);
  } catch {
    return new Map();
  }
}

/** Keeps it, whole or not at all. */
export async function writeAuditCopies(path: string, copies: ReadonlyMap<string, AuditCopyMemory>): Promise<void> {
  await makeDirectory(dirname(path), 0o700);
  const text = JSON.stringify({ version: AUDIT_COPIES_VERSION, repositories: Object.fromEntries(copies) });
  await writeFile(`${path}.new`, text, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
}
