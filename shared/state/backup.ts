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
  /** How its backups are proved; undefined where its manifest does not ask for it. */
  verify: VerifyPlan | undefined;
  /** The age of the newest backup that is still fine (`slo.rpo`); undefined where nothing is promised. */
  rpoMs: number | undefined;
}

/** `[backups.verify]`: how a backup is proved by a restore. */
export interface VerifyPlan {
  /** When the newest one is; undefined for only when somebody asks. */
  schedule: string | undefined;
  image: string | undefined;
  timeoutMs: number;
  maxBytes: number | undefined;
  extensions: readonly string[];
  schemas: readonly string[];
  queries: readonly string[];
}

/** What came of a run. */
export interface BackupRun {
  trigger: "schedule" | "catch-up" | "asked";
  startedMs: number;
  endedMs: number;
  /** The backup that was made; undefined where none was. */
  made?: string | undefined;
  /** Why none was made. */
  reason?: string | undefined;
}

/** What came of an attempt to prove a backup. */
export interface VerifyRun {
  backup: string;
  endedMs: number;
  verdict: "good" | "bad" | "unknown";
  detail: string;
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
  /** How the last attempt to prove one ended. */
  lastVerify: VerifyRun | undefined;
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
  /** What its last restore has shown; undefined where there was none. */
  verdict: { atMs: number; verdict: "good" | "bad" | "unknown"; detail: string } | undefined;
  encrypted: boolean;
  /** Where it lies, and how it is restored with stock programs. */
  files: readonly string[];
  restoreWith: readonly string[];
}
