// What the agent remembers of its backups between starts: when each was due last, and how its last run ended. A small file; lost, the
// next run is counted from now, and the repository still says what there is.

import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import * as z from "zod";

import { makeDirectory } from "../../host/files/make-directory.ts";

const proof = z.looseObject({
  backup: z.string(),
  /** From which repository it was restored. */
  repository: z.string().optional(),
  endedMs: z.number(),
  verdict: z.enum(["good", "bad", "unknown"]),
  detail: z.string(),
  /** What it was held against, by its hash. */
  expects: z.string().optional(),
});
/** What is remembered of one repository of a store. */
const repository = z.looseObject({
  /** Why it did not get the last one. */
  reason: z.string().optional(),
  /** How often it was tried to copy the last one there since, and when last. */
  copies: z.object({ tries: z.number(), atMs: z.number() }).optional(),
  /** Why something that was to go is still there. */
  kept: z.string().optional(),
  /** How many records it had after the last run. */
  expected: z.number().optional(),
  /** Somebody else's backup among this node's own. */
  other: z.object({ backup: z.string(), maker: z.string(), twin: z.boolean().optional() }).optional(),
  /** Backups of a machine that had lost its place to this one by then: how many, and the newest. */
  foreign: z.object({ count: z.number(), backup: z.string() }).optional(),
  /** What the last proof from there has shown. */
  proof: proof.optional(),
});
const run = z.looseObject({
  trigger: z.enum(["schedule", "catch-up", "asked", "before-update"]),
  startedMs: z.number(),
  endedMs: z.number(),
  made: z.string().optional(),
  reason: z.string().optional(),
  advice: z.array(z.string()).readonly().optional(),
  warning: z.string().optional(),
  hooks: z.string().optional(),
  repositories: z
    .array(z.object({ repository: z.string(), reason: z.string().optional() }))
    .readonly()
    .optional(),
  quarantined: z.string().optional(),
});
const store = z.looseObject({
  /** Until when due times are answered; the moment the store was first seen where none was. */
  accountedMs: z.number(),
  /** When it was seen for the first time, and when the newest backup began. */
  seenMs: z.number().optional(),
  madeMs: z.number().optional(),
  /** When the newest good backup in each repository began; left out where it has none. */
  goodMs: z.record(z.string(), z.number()).optional(),
  /** What this agent has made last, the newest last: what else bears its key, a copy of this VM has made. */
  names: z.array(z.string()).optional(),
  /** The newest backup, where it is set aside, and why. */
  setAside: z.object({ backup: z.string(), startedMs: z.number(), reason: z.string() }).optional(),
  /** Backups that a restore has found bad for what was dumped, wherever they lie. */
  bad: z.array(z.string()).optional(),
  proofAccountedMs: z.number().optional(),
  lastRun: run.optional(),
  /** A run began whose hooks after it were not seen to end. */
  owesHooks: z.boolean().optional(),
  lastVerify: proof.optional(),
  /** Of its bases and their log. */
  lastBaseVerify: proof.optional(),
  baseProofAccountedMs: z.number().optional(),
  /** Of `local`, as an earlier version kept it. */
  expected: z.number().optional(),
  repositories: z.record(z.string(), repository).optional(),
});
/** Of the document as this version reads and writes it. */
export const STATE_VERSION = 1;
const state = z.looseObject({ version: z.literal(STATE_VERSION), stores: z.record(z.string(), z.unknown()) });

/** What is remembered of one store. */
export type StoreMemory = z.infer<typeof store>;

/** What is remembered of one of its repositories. */
export type RepositoryMemory = z.infer<typeof repository>;

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
  await makeDirectory(dirname(path), 0o700);
  const text = JSON.stringify({ version: STATE_VERSION, stores: Object.fromEntries(stores) });
  await writeFile(`${path}.new`, text, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
}
