// What `orca backup list --json` and `GET /v1/backups` on the socket give: every store of this node with the backups that it has.
// Stable, with a version; a key without a value is left out.

import type { LeftStore, StoreStatus } from "../state/backup.ts";

/** The document. */
export interface BackupListDocument {
  version: 1;
  node: string;
  nowMs: number;
  /** This node's recipient, for `backup_key` in fleet.toml; left out until it has one. */
  backupKey?: string | undefined;
  stores: readonly StoreStatus[];
  /** Of services that are in no manifest any more; left out where there are none. */
  left?: readonly LeftStore[] | undefined;
  /** Who stands in this node's place, in words: no store is in force then. Left out while the node has its place. */
  replacedBy?: string | undefined;
}
