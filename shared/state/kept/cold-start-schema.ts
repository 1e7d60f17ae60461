// What is known of cold starts (shared/state/cold-start.ts) as it is read back from disk. It is history that nothing depends on: what
// does not parse is forgotten, but for the engine's run, or the next start would count as a cold one.

import * as z from "zod";

import type { ColdService, ColdStartMemory, ColdStartReport, OwnColdStart } from "../cold-start.ts";
import { describeFault, isRecord, type Lost } from "./salvage.ts";

const number = z.number();
const text = z.string();
const texts = z.array(text);
const known = z.nullable(number);

const coldService: z.ZodType<ColdService> = z.looseObject({
  at: z.tuple([known, known, known, known]),
  by: z.optional(text),
  forMs: z.optional(number),
  slotMs: z.optional(number),
  without: z.optional(texts),
});

const ownColdStart: z.ZodType<OwnColdStart> = z.looseObject({
  run: text,
  beganMs: number,
  clock: z.exactOptional(z.looseObject({ boot: text, beganMs: number })),
  doneMs: z.exactOptional(number),
  services: z.record(
    text,
    z.looseObject({ word: coldService, waits: z.record(text, number), slotSinceMs: z.exactOptional(number) }),
  ),
});

const report: z.ZodType<ColdStartReport> = z.looseObject({
  scope: z.enum(["node", "realm"]),
  began: text,
  ended: z.nullable(text),
  totalSeconds: known,
  path: z.array(z.looseObject({ name: text, lateSeconds: number, engineSeconds: number, readySeconds: number })),
  pathSeconds: number,
  overheadSeconds: known,
  ratio: known,
  nodes: z.array(z.looseObject({ node: text, run: text, began: known, uncertainSeconds: known, done: z.boolean() })),
  services: z.array(
    z.looseObject({
      name: text,
      node: text,
      gate: known,
      asked: known,
      started: known,
      healthy: known,
      waitedFor: z.nullable(text),
      waitedSeconds: known,
      slotSeconds: number,
      without: texts,
    }),
  ),
  missing: z.array(z.looseObject({ node: text, why: text })),
  notes: texts,
});

const coldStartMemory: z.ZodType<ColdStartMemory> = z.looseObject({
  lastRun: z.optional(text),
  own: z.optional(ownColdStart),
  reports: z.array(report),
  known: texts,
});

/** Reads what is known of cold starts. */
export function readColdStarts(value: unknown, lost: Lost[]): ColdStartMemory {
  const parsed = coldStartMemory.safeParse(value);
  if (parsed.success) return parsed.data;
  lost.push({ path: "cold-starts", reason: describeFault(parsed.error), value });
  const lastRun = isRecord(value) && typeof value["lastRun"] === "string" ? { lastRun: value["lastRun"] } : {};
  return { ...lastRun, reports: [], known: [] };
}
