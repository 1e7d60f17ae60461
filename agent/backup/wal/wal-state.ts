// What the agent remembers of the logs that it streams, between starts: a small file. Lost, each log is begun anew, with a new base.

import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import * as z from "zod";

import { makeDirectory } from "../../host/files/make-directory.ts";

/** The base that a log has. */
const base = z.looseObject({
  name: z.string(),
  startedMs: z.number(),
  endedMs: z.number(),
  start: z.string(),
  stop: z.string(),
  /** Who has it. */
  repositories: z.array(z.string()),
});

const log = z.looseObject({
  systemId: z.string(),
  timeline: z.number(),
  segmentBytes: z.number(),
  slot: z.string(),
  /** The receiver's directory, below the spool. */
  directory: z.string(),
  beganMs: z.number(),
  /** How the server was reached, for when the manifest says nothing of it any more. */
  user: z.string(),
  password: z.string().optional(),
  databases: z.array(z.string()).optional(),
  /** The first position that was received. */
  first: z.string().optional(),
  /** Repository → up to where it has the log. */
  shipped: z.record(z.string(), z.string()),
  /** Repository → a moment of which it has everything that was on the server's disk. */
  caughtUpMs: z.record(z.string(), z.number()),
  base: base.optional(),
  /** When a base was tried last, and why there is none of that time. */
  baseTriedMs: z.number().optional(),
  baseReason: z.string().optional(),
  /** The log before this one was lost: why, and when. Until this one's base is complete. */
  lost: z.object({ why: z.string(), atMs: z.number() }).optional(),
  /** Repository → what is missing there of what was shipped. */
  gaps: z.record(z.string(), z.object({ from: z.string(), to: z.string() })).optional(),
  checkedMs: z.number().optional(),
  /** Repository → what was stored there and is in no index yet. */
  unindexed: z.record(z.string(), z.array(z.object({ name: z.string(), sha256: z.string() }))).optional(),
});

/** Of the document as this version reads and writes it. */
export const WAL_STATE_VERSION = 1;
const state = z.looseObject({ version: z.literal(WAL_STATE_VERSION), logs: z.record(z.string(), z.unknown()) });

/** One log that is streamed. */
export type LogMemory = z.infer<typeof log>;

/** Reads what was kept; an entry of another shape is left out. */
export function readWalState(path: string): Map<string, LogMemory> {
  try {
    const { logs } = state.parse(JSON.parse(readFileSync(path, "utf8")));
    const entries = Object.entries(logs).flatMap(([key, value]) => {
      const { data } = log.safeParse(value);
      return data === undefined ? [] : [[key, data] as const];
    });
    return new Map(entries);
  } catch {
    return new Map();
  }
}

/** Keeps it, whole or not at all. */
export async function writeWalState(path: string, logs: ReadonlyMap<string, LogMemory>): Promise<void> {
  await makeDirectory(dirname(path), 0o700);
  const text = JSON.stringify({ version: WAL_STATE_VERSION, logs: Object.fromEntries(logs) });
  await writeFile(`${path}.new`, text, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
}
