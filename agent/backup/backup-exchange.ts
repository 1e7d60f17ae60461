// What the agent and its child that makes a backup say to each other: a line of JSON each, through pipes that nobody else holds. The
// child ends when its stdin does; what it has not published then is no backup.

import type { BackupRecord } from "./core/backup-record.ts";
import type { StoreFolder } from "./repository/repository-port.ts";

/** The hidden command that the child is. */
export const BACKUP_COMMAND = "run-backup";

/** What the child is asked for. */
export interface BackupRequest {
  folder: StoreFolder;
  engine: "postgres";
  trigger: BackupRecord["trigger"];
  /** The engine's unix socket. */
  socket: string;
  /** The service's container: the dump shares its network, and is read by its image. */
  container: string;
  /** The database user. */
  user: string;
  memoryBytes: number;
  repository: { name: string; directory: string };
  recipients: readonly string[];
}

/** What came of it. */
export type BackupAnswer = { kind: "made"; record: BackupRecord } | { kind: "failed"; reason: string };
