// What `orca drill --json` prints and `GET /v1/drills` gives: the drills of this month and the last ones, and when the next is due. Stable,
// with a version.

import type { DrillRecord, DrillStanding } from "../drill/drill.ts";

/** The document. */
export interface DrillDocument {
  version: 1;
  node: string;
  nowMs: number;
  /** Newest first. */
  drills: readonly DrillRecord[];
  /** What the one that goes on does now; undefined where none does, or nobody knows. */
  doing: string | undefined;
  /** Of every store that can be restored by a drill. */
  standings: readonly DrillStanding[];
  /** Where the records lie on this host. */
  directory: string;
}
