// What the agent remembers of its backups between starts: when each was due last, and how its last run ended. A small file; lost, the
// next run is counted from now, and the repository still says what there is.

import { readFileSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import * as z from "zod";

const run = z.looseObject({
  trigger: z.enum(["schedule", "catch-up", "asked"]),
  startedMs: z.number(),
  endedMs: z.number(),
  made: z.string().optional(),
  reason: z.string().optional(),
});
const proof = z.looseObject({
  backup: z.string(),
  endedMs: z.number(),
  verdict: z.enum(["good", "bad", "unknown"]),
  detail: z.string(),
});
const store = z.looseObject({
  /** Until when due times are answered; the moment the store was first seen where none was. */
  accountedMs: z.number(),
  /** When it was seen for the first time, and when the newest backup began. */
  seenMs: z.number().optional(),
  madeMs: z.number().optional(),
  proofAccountedMs: z.number().optional(),
  lastRun: run.optional(),
  lastVerify: proof.optional(),
  /** How many records the repository had after the last run. */
  expected: z.number().optional(),
});
const state = z.looseObject({ version: z.literal(1), stores: z.record(z.string(), z.unknown()) });

/** What is remembered of one store. */
export type StoreMemory = z.infer<typeof store>;

/** Reads what was kept; an entry of another shape is left out. */
export function readBackupState(path: string): Map<string, StoreMemory> {
  try {
    const { stores } = state.parse(JSON.parse(readFileSync(path, "utf8")));
    const entries = Object.entries(stores).flatMap(([key, value]) => {
      const { data } = store.safeParse(value);
      return data === undefined ? [] : [[key, data] as const];
    });
    return new Map(entries);
  } catch {
    return new Map();
  }
}

/** Keeps it, whole or not at all. */
export async function writeBackupState(path: string, stores: ReadonlyMap<string, StoreMemory>): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const text = JSON.stringify({ version: 1, stores: Object.fromEntries(stores) });
  await writeFile(`${path}.new`, text, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
}
