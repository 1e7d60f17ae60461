// What `orca backup list --json` and `GET /v1/backups` on the socket give: every store of this node with the backups that it has.
// Stable, with a version; a key without a value is left out.

import type { StoreStatus } from "../state/backup.ts";

/** The document. */
export interface BackupListDocument {
  version: 1;
  node: string;
  nowMs: number;
  stores: readonly StoreStatus[];
}
