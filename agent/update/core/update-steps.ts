// What is done to the disk and to systemd, as data, in an order in which a power cut or a kill between any two steps leaves a version that
// runs. Each step is on the disk before the next begins (agent/update/carry-out.ts). Pure.

import type { Trial } from "./trial.ts";
import type { UpdateOutcome } from "./update-record.ts";

/** One step. */
export type UpdateStep =
  | { kind: "write-trial"; trial: Trial }
  | { kind: "remove-trial" }
  /** `judge` names the version that the judge's unit runs, `current` the one that everything else runs. */
  | { kind: "point"; link: "judge" | "current"; version: string }
  | { kind: "record"; outcome: UpdateOutcome }
  | { kind: "start-judge" }
  | { kind: "restart-agent" };

/**
 * Puts a version on trial.
 * The file first, so that at no moment the new version is in use and nobody judges it; then the judge's own version, which must not be the
 * new one; the agent is restarted by the judge, which sees that another version answers than is in use.
 */
export function planTrial(trial: Trial): UpdateStep[] {
  return [
    { kind: "write-trial", trial },
    { kind: "point", link: "judge", version: trial.from },
    { kind: "point", link: "current", version: trial.to },
    { kind: "start-judge" },
  ];
}

/** Keeps the version. What it was is written down before the file goes: without it the agent would not know that it is confirmed. */
export function planConfirm(outcome: UpdateOutcome): UpdateStep[] {
  return [{ kind: "record", outcome }, { kind: "remove-trial" }];
}

/** Puts the old version back. Begun anew after a cut, it does the same again. */
export function planBack(trial: Trial, outcome: UpdateOutcome): UpdateStep[] {
  return [
    { kind: "write-trial", trial: { ...trial, phase: "back", reason: outcome.reason } },
    { kind: "record", outcome },
    { kind: "point", link: "current", version: trial.from },
    { kind: "restart-agent" },
    { kind: "remove-trial" },
  ];
}
