// What report/ has kept on disk, as it is read back: each entry is parsed by itself, and one of another shape is left out. It is
// history: nothing that runs depends on it. A later version adds fields, and this one passes over what it does not know.

import * as z from "zod";

import type { ServiceState } from "../../../shared/state/status.ts";
import type { ClockReading } from "../../plan/memory/clock-step.ts";
import type { AlertMemory } from "../notify/alert-judge.ts";
import type { CommitMemory } from "../notify/commit-status-judge.ts";
import type { ServiceHistory } from "./report-state.ts";

const number = z.number();
const text = z.string();
const state = text as unknown as z.ZodType<ServiceState>;

/** A key that JSON leaves out when its value is undefined. */
function maybe<T>(schema: z.ZodType<T>): z.ZodType<T | undefined> {
  return z.optional(schema);
}

export const serviceHistory: z.ZodType<ServiceHistory> = z.looseObject({
  fingerprint: maybe(text),
  revision: maybe(text),
  fields: z.record(text, text),
  change: maybe(
    z.looseObject({
      atMs: number,
      fromRevision: text,
      toRevision: text,
      fields: z.array(z.looseObject({ field: text, from: z.exactOptional(text), to: z.exactOptional(text) })),
    }),
  ),
  rotation: z.exactOptional(
    z.looseObject({
      atMs: number,
      paths: z.array(text),
      end: z.exactOptional(
        z.looseObject({
          atMs: number,
          how: z.enum(["settled", "went-back", "replaced"]),
          reason: z.exactOptional(text),
        }),
      ),
    }),
  ),
  actions: z.array(
    z.looseObject({
      atMs: number,
      action: text,
      cause: text,
      tookMs: maybe(number),
      ok: z.boolean(),
      message: maybe(text),
      times: number,
    }),
  ),
  transitions: z.array(z.looseObject({ atMs: number, from: maybe(state), to: state, reason: text })),
  oom: maybe(z.looseObject({ kills: number, lastMs: number, capBytes: maybe(number), run: text })),
  peakBytes: maybe(number),
});

export const alertMemory: z.ZodType<AlertMemory> = z.looseObject({
  told: z.record(text, z.looseObject({ state: text, severity: z.enum(["info", "warning", "critical"]) })),
  sent: z.record(text, number),
  since: z.record(text, number),
  recent: z.array(number),
});

export const clockReading: z.ZodType<ClockReading> = z.looseObject({ boot: text, offsetMs: number });

export const commitMemory: z.ZodType<CommitMemory> = z.looseObject({
  inputs: maybe(text),
  sha: maybe(text),
  ran: z.optional(z.boolean()),
  posted: maybe(z.looseObject({ sha: text, key: text })),
  superseded: z.optional(z.array(z.looseObject({ sha: text, by: text }))),
});

/** The JSON object of a file; an empty one where there is none. */
export function parseKept(content: string): Record<string, unknown> {
  try {
    const value = JSON.parse(content) as unknown;
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
