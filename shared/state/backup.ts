// What is to be backed up on a node, and what is known of it: made by desired/, carried out by backup/, shown by serve/. Types only.

/** One `[[backups]]` table of a service that is in force here. */
export interface StorePlan {
  service: string;
  /** The table's name. */
  store: string;
  engine: string;
  schedule: string;
  /** The database user that a stock image makes, where its manifest names one. */
  user: string;
  repositories: readonly string[];
  retention: { days: number; daily: number; weekly: number; monthly: number };
  /** The age of the newest backup that is still fine (`slo.rpo`); undefined where nothing is promised. */
  rpoMs: number | undefined;
}

/** What came of a run. */
export interface BackupRun {
  trigger: "schedule" | "catch-up" | "asked";
  startedMs: number;
  endedMs: number;
  /** The backup that was made; undefined where none was. */
  made: string | undefined;
  /** Why none was made. */
  reason: string | undefined;
}

/** One store as people see it. */
export interface StoreStatus {
  service: string;
  store: string;
  engine: string;
  schedule: string;
  repository: string;
  /** When the next run begins; undefined while one goes on, or none can. */
  nextMs: number | undefined;
  runningSinceMs: number | undefined;
  /** Why it is not run by this version, or cannot be now. */
  trouble: string | undefined;
  lastRun: BackupRun | undefined;
  /** Newest first. */
  backups: readonly KnownBackup[];
  /** Files in its folder that are no backup. */
  strange: readonly string[];
}

/** A backup in a repository. */
export interface KnownBackup {
  name: string;
  startedMs: number;
  endedMs: number;
  plainBytes: number;
  storedBytes: number;
  verified: boolean;
  encrypted: boolean;
  /** Where it lies, and how it is restored with stock programs. */
  files: readonly string[];
  restoreWith: readonly string[];
}
