// What is remembered of prunes between starts: when the last one was, and since when which image lies idle. A small file; lost, the next
// prune is counted from now, and every image's idle time too.

import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import * as z from "zod";

import { makeDirectory } from "../host/files/make-directory.ts";

const image = z.object({
  sinceMs: z.number(),
  idle: z.boolean(),
  used: z.boolean(),
  tags: z.array(z.string()).readonly(),
});
const removed = z.object({
  kind: z.enum(["container", "image", "build-cache"]),
  name: z.string(),
  freedBytes: z.number(),
});
const run = z.object({
  trigger: z.enum(["schedule", "catch-up", "low-disk", "asked"]),
  startedMs: z.number(),
  endedMs: z.number(),
  removed: z.array(removed).readonly(),
  troubles: z.array(z.string()).readonly(),
});
/** Of the document as this version reads and writes it. */
export const PRUNE_VERSION = 1;
const state = z.looseObject({
  version: z.literal(PRUNE_VERSION),
  accountedMs: z.number(),
  earlyMs: z.number().optional(),
  images: z.record(z.string(), image).catch({}),
  lastRun: run.optional().catch(undefined),
});

/** What is remembered. */
export type PruneMemory = z.infer<typeof state>;

/** Reads what was kept; begins anew where that cannot be read. */
export function readPruneState(path: string, nowMs: number): PruneMemory {
  try {
    const { accountedMs, earlyMs, ...memory } = state.parse(JSON.parse(readFileSync(path, "utf8")));
    // What was answered later than now was answered by a clock that was wrong: counted from then, none would be due before that day comes.
    return {
      ...memory,
      accountedMs: Math.min(accountedMs, nowMs),
      ...(earlyMs === undefined || earlyMs > nowMs ? {} : { earlyMs }),
    };
  } catch {
    return { version: PRUNE_VERSION, accountedMs: nowMs, images: {} };
  }
}

/** Keeps it, whole or not at all. */
export async function writePruneState(path: string, memory: PruneMemory): Promise<void> {
  await makeDirectory(dirname(path), 0o700);
  await writeFile(`${path}.new`, JSON.stringify(memory), { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
}
