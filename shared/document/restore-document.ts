// What `GET /v1/restores` on the socket gives: the restores of this node, newest first. Stable, with a version; a key without a value is
// left out.

import type { RestorePlan, RestoreStatus } from "../state/restore.ts";

/** The document. */
export interface RestoreListDocument {
  version: 1;
  node: string;
  nowMs: number;
  restores: readonly RestoreStatus[];
}

/** What a dry run, and an accepted restore, answer. */
export interface RestorePlanDocument {
  version: 1;
  accepted: boolean;
  message: string;
  plan: RestorePlan;
}
