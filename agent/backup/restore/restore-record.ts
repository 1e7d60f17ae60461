// What is kept of restores on disk, so that the next agent goes on or takes back what one that was killed has begun. The newest stands
// first; a record that does not parse is no restore.

import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import * as z from "zod";

import { makeDirectory } from "../../host/files/make-directory.ts";
import type { RestoreProgress, RestoreRecord } from "../../../shared/state/restore.ts";

const record: z.ZodType<RestoreRecord> = z.looseObject({
  service: z.string(),
  store: z.string(),
  backup: z.string(),
  backupMs: z.number(),
  volume: z.string(),
  from: z.string(),
  to: z.string(),
  also: z.array(z.object({ volume: z.string(), from: z.string(), to: z.string() })).optional(),
  image: z.string().optional(),
  replayed: z.string().optional(),
  moment: z.object({ atMs: z.number(), systemId: z.string(), timeline: z.number() }).optional(),
  uid: z.number(),
  stage: z.enum(["asked", "filling", "switching", "going-back", "ended"]),
  startedMs: z.number(),
  endedMs: z.number().optional(),
  tries: z.number(),
  outcome: z.looseObject({ kind: z.enum(["restored", "failed", "went-back"]), detail: z.string() }).optional(),
});
/** Of the document as this version reads and writes it. */
export const RESTORES_VERSION = 1;
const kept = z.looseObject({ version: z.literal(RESTORES_VERSION), restores: z.array(z.unknown()) });
const progress: z.ZodType<RestoreProgress> = z.looseObject({
  doing: z.string(),
  doneBytes: z.number(),
  totalBytes: z.number(),
  sinceMs: z.number(),
});

/** So many are remembered. */
const MOST_KEPT = 20;

/** Reads what was kept. */
export function readRestores(path: string): RestoreRecord[] {
  try {
    const { restores } = kept.parse(JSON.parse(readFileSync(path, "utf8")));
    return restores.flatMap((entry) => record.safeParse(entry).data ?? []);
  } catch {
    return [];
  }
}

/** Keeps it, whole or not at all, and on disk before it resolves. */
export async function writeRestores(path: string, restores: readonly RestoreRecord[]): Promise<void> {
  await makeDirectory(dirname(path), 0o700);
  const text = JSON.stringify({ version: RESTORES_VERSION, restores: restores.slice(0, MOST_KEPT) });
  await writeFile(`${path}.new`, text, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
}

/** What the child last said of its work; undefined before it says anything. */
export function readProgress(path: string): RestoreProgress | undefined {
  try {
    return progress.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return undefined;
  }
}

/** Said by the child, whole or not at all. */
export async function writeProgress(path: string, now: RestoreProgress): Promise<void> {
  await writeFile(`${path}.new`, JSON.stringify(now), { mode: 0o600 });
  await rename(`${path}.new`, path);
}
