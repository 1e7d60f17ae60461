// What `orca prune --json` prints and `GET /v1/prune` on the socket gives: how prunes stand, and with `choice` what one would do now.
// Stable, with a version; a key without a value is left out.

import type { PruneChoice, PruneRun } from "../state/prune.ts";

/** The document. */
export interface PruneDocument {
  version: 1;
  node: string;
  nowMs: number;
  /** When the next weekly one is due. */
  nextMs: number;
  runningSinceMs?: number | undefined;
  lastRun?: PruneRun | undefined;
  choice?: PruneChoice;
}
