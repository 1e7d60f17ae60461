// Which good release `orca rollback` means. Pure; used by report.ts.

import type { ReleaseRecord } from "../../../shared/state/memory.ts";

/** What was asked for: the release before the one in force, or the newest of a revision. */
interface Asked {
  service: string;
  to: string | undefined;
  /** Fingerprint of what is in force. */
  current: string | undefined;
}

/**
 * Chooses it.
 * @param releases newest first
 * @returns the release, or why there is none, in words
 */
export function chooseRelease(
  releases: readonly ReleaseRecord[],
  { service, to, current }: Asked,
): ReleaseRecord | string {
  const found = releases.find(({ fingerprint, revision }) =>
    to === undefined ? fingerprint !== current : revision.startsWith(to),
  );
  if (found !== undefined) return found;
  const known = [...new Set(releases.map(({ revision }) => revision))].join(", ");
  if (to === undefined) return `${service} has no earlier good release to go back to`;
  return `${service} has no good release of ${to}; ${known === "" ? "there is none yet" : `there are ${known}`}`;
}
