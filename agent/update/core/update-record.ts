// What became of updates: kept beside the versions, written by the updater and the judge, read by the agent. A version that has failed, or
// that is refused, is not tried again until somebody asks for it. Pure.

import * as z from "zod";

const outcome = z.object({
  version: z.string(),
  sha256: z.string(),
  /** `unreachable`: it could not be had, and is tried again. */
  result: z.enum(["confirmed", "failed", "refused", "unreachable"]),
  reason: z.string(),
  atMs: z.number(),
});

/** Of the document as this version reads and writes it. */
const RECORD_VERSION = 1;
const record = z.looseObject({ version: z.literal(RECORD_VERSION), outcomes: z.array(outcome) });

/** What became of one version. */
export type UpdateOutcome = z.output<typeof outcome>;

/** So many are kept. */
const KEPT = 20;

/** Reads the document; nothing is known where it cannot be read. */
export function parseRecord(text: string | undefined): UpdateOutcome[] {
  try {
    return record.parse(JSON.parse(text ?? "")).outcomes;
  } catch {
    return [];
  }
}

/** Prints it with one outcome more; of one package only the newest is kept. */
export function printRecord(before: readonly UpdateOutcome[], next: UpdateOutcome | undefined): string {
  const others = next === undefined ? before : before.filter(({ sha256 }) => sha256 !== next.sha256);
  const outcomes = [...(next === undefined ? [] : [next]), ...others].slice(0, KEPT);
  return `${JSON.stringify({ version: RECORD_VERSION, outcomes }, undefined, 2)}\n`;
}

/** What became of a package. */
export function findOutcome(outcomes: readonly UpdateOutcome[], sha256: string): UpdateOutcome | undefined {
  return outcomes.find((entry) => entry.sha256 === sha256);
}
