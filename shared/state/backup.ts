// What is to be backed up on a node, and what is known of it: made by desired/, carried out by backup/, shown by serve/. Types, and one constant.

/** One repository that a store names, as fleet.toml has it. */
export type RepositoryPlan = DirectoryRepositoryPlan | S3RepositoryPlan | UnknownRepositoryPlan;

/** `local`, whose directory stands in agent.toml, or a directory that fleet.toml names. */
interface DirectoryRepositoryPlan {
  kind: "local" | "directory";
  name: string;
  /** Undefined for `local`. */
  path: string | undefined;
}

/** A bucket. Secrets are named by their paths, never by their values. */
interface S3RepositoryPlan {
  kind: "s3";
  name: string;
  endpoint: string;
  bucket: string;
  region: string;
  prefix: string;
  secret: string;
  /** Of the key that may delete. */
  prunerSecret: string;
  lockDays: number | undefined;
  /** The CA that its certificate is from; the process's own where it is left out. */
  caFile: string | undefined;
}

/** One that fleet.toml does not have: it is a failure of each run, and never left out in silence. */
interface UnknownRepositoryPlan {
  kind: "unknown";
  name: string;
}

/** One `[[backups]]` table of a service that is in force here. */
export interface StorePlan {
  service: string;
  /** The table's name. */
  store: string;
  engine: string;
  schedule: string;
  source: StoreSourcePlan;
  /** The first is written by the dump; the others get copies of what lies there. */
  repositories: readonly RepositoryPlan[];
  /** So many of them must hold a backup, or it has failed. */
  minSuccess: number;
  /** Whom its repositories encrypt for, without this node; nothing is encrypted where there is nobody. */
  recipients: readonly string[];
  /** What fleet.toml calls this node's own recipient; the agent takes it where it is its own. */
  backupKey: string | undefined;
  /** A backup before an update is kept so long; undefined where none is made. */
  keepMs: number | undefined;
  retention: { days: number; daily: number; weekly: number; monthly: number };
  /** How its backups are proved; undefined where its manifest does not ask for it. */
  verify: VerifyPlan | undefined;
  /** The age of the newest backup that is still fine (`slo.rpo`); undefined where nothing is promised. */
  rpoMs: number | undefined;
  /** Bases and a stream of the log; left out where its manifest does not ask for them. */
  wal?: WalPlan | undefined;
}

/** The cap of what receives a log: it takes 8 MiB, what asks the server beside it as much, and the kernel's cache the rest. */
export const RECEIVER_MEMORY_BYTES = 64 * 2 ** 20;

/** `[backups.wal]`. */
export interface WalPlan {
  /** When a base is made. */
  base: string;
  shipMs: number;
  slot: string;
  /** A restore may go back so far. */
  windowMs: number;
}

/** How a store is read. */
export interface StoreSourcePlan {
  /** The user that reads it: what the manifest names, or what a stock image makes. */
  user: string;
  /** The path of its password's secret; never the value. */
  password: string | undefined;
  /** Only these; every one that there is where it is left out. */
  databases: readonly string[] | undefined;
  /** Of `engine = "command"`. */
  command: readonly string[] | undefined;
  /** The command runs in the service's own container. */
  exec: boolean;
  /** Of `engine = "objects"`. */
  bucket: BucketPlan | undefined;
  /** The service is stopped while its volumes are read. */
  stop: boolean;
  /** Where its volumes are in the container, by their names or sources in the manifest. */
  volumes: readonly { name: string; target: string }[];
  /** Whose programs read it; the service's own where undefined. */
  image: string | undefined;
  hooks: { before: readonly HookPlan[]; after: readonly HookPlan[] };
  /** The cap of the dump, and of a restore that proves one. */
  memoryBytes: number;
  minBytes: number | undefined;
}

/** The bucket of a service that is read. */
interface BucketPlan {
  /** In the container. */
  port: number;
  scheme: "http" | "https";
  bucket: string;
  prefix: string;
  region: string;
  /** The path of the secret with its keys; never the value. */
  secret: string;
}

/** A program of the service around a backup. */
export interface HookPlan {
  argv: readonly string[];
  timeoutMs: number;
  onError: "abort" | "continue";
}

/** A foreign key of which rows without a parent are no finding, as Git says it (`fk_allowlist`). */
export interface AllowedOrphan {
  /** `schema.table.column`, with commas between several columns. */
  from: string;
  to: string;
  owner: string;
  /** Until the end of this day in UTC it counts. */
  expiresMs: number;
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
  /** What `fk_allowlist` says; a text is why it cannot be read, and nothing is allowed then. */
  allowed: readonly AllowedOrphan[] | string;
}

/** What one repository got of a run. */
export interface RepositoryRun {
  repository: string;
  /** Why it has no backup of it; undefined where it has one. */
  reason?: string | undefined;
}

/** What came of a run. */
export interface BackupRun {
  trigger: "schedule" | "catch-up" | "asked" | "before-update";
  startedMs: number;
  endedMs: number;
  /** The backup that was made; undefined where none was. */
  made?: string | undefined;
  /** Why none was made, or why too few repositories have it. */
  reason?: string | undefined;
  /** What each repository got, in the manifest's order. */
  repositories?: readonly RepositoryRun[] | undefined;
  /** Why the backup is set aside, although it was made. */
  quarantined?: string | undefined;
  /** What a person can do about it, where the engine knows: lines to be run or written elsewhere. */
  advice?: readonly string[] | undefined;
  /** What is odd about a run that made one: a file that changed while it was read. */
  warning?: string | undefined;
  /** Which hooks around it failed, although one was made. */
  hooks?: string | undefined;
}

/** What came of an attempt to prove a backup. */
export interface VerifyRun {
  backup: string;
  /** From where it was restored; each repository has its turn. */
  repository?: string | undefined;
  endedMs: number;
  verdict: "good" | "bad" | "unknown";
  detail: string;
}

/** One repository of a store as people see it. */
interface RepositoryStatus {
  name: string;
  /** Its directory on this host; undefined for a bucket, and for one that fleet.toml does not have. */
  directory?: string | undefined;
  /** Why it cannot be read. */
  trouble: string | undefined;
  /** Why it did not get the last backup. */
  reason: string | undefined;
  /** When the newest backup there began. */
  madeMs: number | undefined;
  /** Backups of a machine that had lost this node's place by then. */
  foreign?: { count: number; backup: string } | undefined;
  /** How many it has. */
  count: number;
}

/** One store as people see it. */
export interface StoreStatus {
  service: string;
  store: string;
  engine: string;
  schedule: string;
  /** Their names, as its manifest has them. */
  repository: string;
  repositories: readonly RepositoryStatus[];
  retention: StorePlan["retention"];
  /** What fleet.toml calls this node's own key for backups. */
  namedKey?: string | undefined;
  /** When the next run begins; undefined while one goes on, or none can. */
  nextMs: number | undefined;
  runningSinceMs: number | undefined;
  /** Why it is not run by this version, or cannot be now. */
  trouble: string | undefined;
  lastRun: BackupRun | undefined;
  /** How the last attempt to prove one ended. */
  lastVerify: VerifyRun | undefined;
  /** What came of the last restore of a bucket since the agent began. */
  lastCopyOut?: CopyOutRun | undefined;
  /** Its bases and its log; left out where its manifest does not ask for them. */
  log?: LogStatus | undefined;
  /** Newest first. */
  backups: readonly KnownBackup[];
  /** Files in its folder that are no backup. */
  strange: readonly string[];
}

/** The bases of a store, and how far its log leads. */
export interface LogStatus {
  /** Newest first. */
  bases: readonly KnownBackup[];
  /** In the manifest's order: back to any moment of a span a restore leads, and what is missing of the log. */
  repositories: readonly {
    name: string;
    /** Why it cannot be read. */
    trouble?: string | undefined;
    /** The oldest first; it ends when the newest of it was stored. */
    spans: readonly { fromMs: number; untilMs: number }[];
    /** Positions of the server, and the first and last segment that lacks something. */
    gaps: readonly { from: string; to: string; first: string; last: string }[];
  }[];
  /** How the last attempt to prove a base with its log ended. */
  lastVerify: VerifyRun | undefined;
}

/** Backups that lie in the repository `local`, of a service or store that is in no manifest any more. */
export interface LeftStore {
  service: string;
  store: string;
  directory: string;
  count: number;
  /** Its name. */
  newest: string;
}

/** A backup in a repository. */
export interface KnownBackup {
  name: string;
  /** The image that made it, which a restore takes. */
  image: string;
  startedMs: number;
  endedMs: number;
  plainBytes: number;
  storedBytes: number;
  verified: boolean;
  /** What its last restore has shown; undefined where there was none. */
  verdict: { atMs: number; verdict: "good" | "bad" | "unknown"; detail: string } | undefined;
  encrypted: boolean;
  /** Who has it, and what its last restore from there has shown. */
  repositories: readonly { name: string; verdict: "good" | "bad" | "unknown" | undefined }[];
  /** Why it is set aside. */
  quarantined: string | undefined;
  /** A person's word that it stays until then. */
  pinnedUntilMs: number | undefined;
  /** Kept until then whatever the policy says: it was made before an update. */
  keepUntilMs?: number | undefined;
  /** Where it lies, and how it is restored with stock programs. */
  files: readonly string[];
  restoreWith: readonly string[];
}

/** Where a backup of a bucket is restored into: a bucket of the same service, or a directory of this host. */
export type CopyOutPlace = { bucket: string; prefix: string } | { directory: string };

/** Which backup goes where. */
export interface CopyOutOrder {
  service: string;
  store: string;
  /** A backup's own name; also one that is not verified. */
  backup?: string | undefined;
  /** The newest one that is not after this moment. */
  atMs?: number | undefined;
  into: CopyOutPlace;
}

/** What came of it. */
export interface CopyOutRun {
  backup: string;
  endedMs: number;
  isDone: boolean;
  detail: string;
}

/** A store of which a change of a service waits for a backup. */
export interface BackupNeed {
  service: string;
  store: string;
}

/** The same, with since when it waits. */
export interface AwaitedBackup extends BackupNeed {
  sinceMs: number;
}

/** What is known of a store that is waited for. */
export interface BackupFact {
  /** Its newest verified backup, by when reading the source of it began. */
  verified?: { name: string; startedMs: number };
  /** What is done for one. */
  doing?: string;
  /** Why there is none yet. */
  trouble?: string;
}

/** By `SERVICE/STORE`. */
export type BackupFacts = Readonly<Record<string, BackupFact>>;

/** A person's word that a backup stays until then; without a time, that it need not stay. */
export interface PinOrder {
  backup: string;
  /** Needed where backups of several services have that name. */
  service: string | undefined;
  untilMs: number | undefined;
}
