// What the agent and its child that makes a backup say to each other: a line of JSON each, through pipes that nobody else holds. The
// child ends when its stdin does; what it has not published then is no backup.

import type { BackupRecord } from "./core/backup-record.ts";
import type { StoreFolder } from "./repository/repository-port.ts";
import type { Expectations, Verdict } from "./verify/restore-box.ts";

/** The hidden command that the child is. */
export const BACKUP_COMMAND = "run-backup";

/** What the child is asked for. */
export type ChildRequest = BackupRequest | VerifyRequest;

/** A backup is to be made. */
export interface BackupRequest {
  kind: "make";
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

/** A backup is to be proved by a restore. */
export interface VerifyRequest {
  kind: "verify";
  folder: StoreFolder;
  /** The backup's name. */
  backup: string;
  socket: string;
  /** Restores in place of the image that made it. */
  image: string | undefined;
  user: string;
  memoryBytes: number;
  timeoutMs: number;
  expectations: Expectations;
  repository: { name: string; directory: string };
}

/** What came of it. */
export type ChildAnswer =
  | { kind: "made"; record: BackupRecord }
  | { kind: "judged"; verdict: Verdict }
  | { kind: "failed"; reason: string };
