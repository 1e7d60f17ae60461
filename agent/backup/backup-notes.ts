// What status says of backups that are not as they should be: a run that made none, a proof that failed, and a newest backup that is
// older than the manifest promises, which counts although no run ever began. Pure.

import type { StorePlan } from "../../shared/state/backup.ts";
import type { Note } from "../../shared/state/note.ts";
import { describeDuration } from "../../shared/text/duration.ts";
import type { StoreMemory } from "./backup-state.ts";
import { findTrouble } from "./backup-view.ts";

/** The notes of one store; none while all is well. */
export function noteStore(plan: StorePlan, memory: StoreMemory | undefined, nowMs: number): Note[] {
  const store = `${plan.service}/${plan.store}`;
  const { lastRun, lastVerify } = memory ?? {};
  const notes: Note[] = [];
  const note = (what: string, text: string): number => notes.push({ name: `backup ${store} ${what}`, text });
  if (findTrouble(plan) !== undefined) return notes;
  if (lastRun?.reason !== undefined)
    note("failed", `the last run made no backup of ${store}: ${lastRun.reason}: see orca help backup`);
  if (lastVerify?.verdict === "bad")
    note(
      "bad",
      `the backup ${lastVerify.backup} of ${store} cannot be restored: ${lastVerify.detail}: see orca help backup`,
    );
  if (plan.rpoMs !== undefined && memory !== undefined) {
    const sinceMs = memory.madeMs ?? memory.seenMs ?? memory.accountedMs;
    const age = describeDuration(nowMs - sinceMs);
    const promised = describeDuration(plan.rpoMs);
    const what =
      memory.madeMs === undefined
        ? `there is no backup of ${store} since ${age}`
        : `the newest backup of ${store} is ${age} old`;
    if (nowMs - sinceMs > plan.rpoMs) note("old", `${what}, and its manifest promises one of ${promised} (slo.rpo)`);
  }
  return notes;
}
