// The last time that a service was given new values of its secrets: what, when, and how it ended. Pure; from turn to turn.

import type { ServiceView } from "../../../shared/state/status.ts";
import type { LastRotation } from "./report-state.ts";

/**
 * Follows one service through a turn.
 * @param paths the secrets whose newer values it has been given and has not settled with; undefined where there are none
 */
export function followRotation(
  last: LastRotation | undefined,
  paths: readonly string[] | undefined,
  { view, atMs }: { view: ServiceView; atMs: number },
): LastRotation | undefined {
  const current = paths !== undefined && begins(last, paths, view) ? { atMs, paths } : last;
  if (current === undefined || current.end !== undefined) return current;
  if (view.settled) return { ...current, end: { atMs, how: "settled" } };
  if (view.wentBack !== undefined) return { ...current, end: { atMs, how: "went-back", reason: view.wentBack } };
  return paths === undefined ? { ...current, end: { atMs, how: "replaced" } } : current;
}

/** Other secrets, or the same anew: after it has settled, or where it no longer stands back from the last ones. */
function begins(last: LastRotation | undefined, paths: readonly string[], view: ServiceView): boolean {
  if (last === undefined || paths.join() !== last.paths.join()) return true;
  if (last.end === undefined) return false;
  return last.end.how === "went-back" ? view.wentBack === undefined : !view.settled;
}
