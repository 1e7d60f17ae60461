// What status says of restores: what goes on, and how the last one ended where that was not well. Pure.

import type { Note } from "../../../shared/state/note.ts";
import type { RestoreRecord } from "../../../shared/state/restore.ts";
import { describeDuration } from "../../../shared/text/duration.ts";

/** Status says so long that a restore did not go well. */
const TELL_MS = 86_400_000;

/** The notes of one restore; none of one that went well. */
export function noteRestore(
  { service, backup, stage, outcome, startedMs, endedMs = startedMs }: RestoreRecord,
  nowMs: number,
): Note[] {
  if (stage !== "ended") {
    const text = `${service} is restored from ${backup} since ${describeDuration(nowMs - startedMs)}: ${stage}`;
    return [{ name: `restore ${service} goes on`, text }];
  }
  if (outcome === undefined || outcome.kind === "restored" || nowMs - endedMs > TELL_MS) return [];
  const text = `the restore of ${service} from ${backup} ${outcome.kind === "failed" ? "failed" : "was taken back"}: ${outcome.detail}`;
  return [{ name: `restore ${service} ended`, text: `${text} (orca help restore)` }];
}
