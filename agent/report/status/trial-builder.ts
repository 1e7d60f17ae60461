// From what is known to what a judge of another version is told of this run. Pure.

import type { TrialDocument } from "../../../shared/document/trial-document.ts";
import type { ReportState } from "./report-state.ts";

/** Builds the document. A turn counts once something was wanted and the engine has answered. */
export function buildTrial(
  { beganMs, known, engine, turn, source }: ReportState,
  { version, heardBy }: { version: string; heardBy: readonly string[] | undefined },
): TrialDocument {
  const isWhole = known && engine.reachable && turn.endedMs !== undefined;
  const isWell = turn.trouble === undefined && source?.fault === undefined;
  return { version: 1, agent: version, run: `${beganMs}`, reconciled: isWhole && isWell, heardBy: heardBy ?? null };
}
