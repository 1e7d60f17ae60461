// What the agent and its child that makes a backup say to each other: a line of JSON each, through pipes that nobody else holds. The
// child ends when its stdin does; what it has not published then is no backup.

import type { StoreSourcePlan } from "../../shared/state/backup.ts";
import type { BindSource } from "../../shared/state/step.ts";
import type { BackupRecord } from "./core/backup-record.ts";
import type { StoreSettings } from "./engines/store-engine.ts";
import type { Retained, RetentionInput } from "./keep-few.ts";
import type { BackupList, MadeBackup } from "./pipeline.ts";
import type { S3Place } from "./repository/s3-client.ts";
import type { RepositoryPlace } from "./repository/repository-place.ts";
import type { StoreFolder } from "./repository/repository-port.ts";
import type { IndexEntry } from "./wal/core/wal-index.ts";
import type { IndexedLog } from "./wal/log-index.ts";
import type { Expectations, Verdict } from "./verify/restore-box.ts";

/** The hidden command that the child is. */
export const BACKUP_COMMAND = "run-backup";

/** What the child is asked for. */
export type ChildRequest =
  | AuditCopyRequest
  | BackupRequest
  | VerifyRequest
  | FinishRequest
  | RestoreRequest
  | CopyRequest
  | CopyOutRequest
  | ListRequest
  | RetainRequest
  | ShipRequest
  | ExpireRequest
  | IndexRequest
  | IdentifyRequest;

/** What a run shares with a proof. */
interface StoreRequest {
  folder: StoreFolder;
  engine: string;
  settings: StoreSettings;
  /** The engine's unix socket. */
  socket: string;
  /** The slice that containers go into. */
  cgroupParent?: string | undefined;
  /** Where the ids of images are kept that came with a bundle. */
  bundles?: string | undefined;
  memoryBytes: number;
  /** Where leases lie that every agent of this host looks at. */
  lockDirectory: string;
  /** Where opened backups lie while they are restored. */
  spool: string;
}

/** A backup is to be made. */
export interface BackupRequest extends StoreRequest {
  kind: "make";
  trigger: BackupRecord["trigger"];
  /** Only looks whether it can be made: nothing is read or written, and no hook runs. */
  checkOnly: boolean;
  /** The service's container: the dump shares its network or its volumes, and is read by its image. */
  container: string;
  /** The service's bind mounts, as the host's policy was asked about them. */
  binds: readonly BindSource[];
  /** It does not run: there is no network to be shared. */
  isStopped: boolean;
  /** Reads the store in place of the service's own. */
  image: string | undefined;
  hooks: StoreSourcePlan["hooks"];
  /** Where a password may lie for as long as a program reads it. */
  memoryDirectory: string;
  /** In the manifest's order. */
  repositories: readonly RepositoryPlace[];
  recipients: readonly string[];
  /** Of `engine = "objects"`: the bucket with its keys, and what opens this node's own backups. */
  bucket?: S3Place | undefined;
  identities: readonly string[];
  /** This node's public backup key, which says in the record who made it. */
  maker?: string | undefined;
  /** It is kept so long whatever retention says. */
  keepMs: number | undefined;
  /** What takes longer is ended, and its reason is said. */
  deadlineMs: number;
}

/** What a run that was cut off has left to be done in the service. */
export interface FinishRequest extends StoreRequest {
  kind: "finish";
  container: string;
  hooks: StoreSourcePlan["hooks"];
}

/** A backup is to be proved by a restore. */
export interface VerifyRequest extends StoreRequest {
  kind: "verify";
  /** The backup's name. */
  backup: string;
  /** Restores in place of the image that made it. */
  image: string | undefined;
  timeoutMs: number;
  expectations: Expectations;
  repository: RepositoryPlace;
  /** This node's age identities. */
  identities: readonly string[];
}

/** What a proof has shown; `copy`: what lies in that repository is damaged, and may be whole elsewhere. */
export interface JudgedBackup extends Verdict {
  about?: "copy";
  /** Of a base: up to where its log could be replayed. */
  reach?: string;
  /** Of a bucket: stored objects that the next run copies again. */
  damaged?: string[];
}

/** A backup is to be copied as it lies there from one repository to another that did not get it. */
export interface CopyRequest {
  kind: "copy";
  folder: StoreFolder;
  backup: string;
  from: RepositoryPlace;
  to: RepositoryPlace;
  lockDirectory: string;
}

/** What is new of the audit log is to be copied into repositories. */
export interface AuditCopyRequest {
  kind: "copy-audit";
  node: string;
  /** The file that is written to; those before it lie beside it. */
  path: string;
  repositories: readonly { place: RepositoryPlace; recipients: readonly string[] }[];
}

/** How far one repository has the audit log after a copy. */
export interface AuditCopy {
  repository: string;
  /** What the log begins with, as the names of its copies say it; left out for one without a line. */
  log?: string | undefined;
  /** The number of the newest line that it has; left out where that is not known. */
  lines?: number | undefined;
  /** Why it does not have all of it. */
  reason?: string | undefined;
  /** A line of this host is another one than was copied under its number. */
  altered?: number | undefined;
}

/** What a repository has of some stores is to be looked up. */
export interface ListRequest {
  kind: "list";
  repository: RepositoryPlace;
  folders: readonly StoreFolder[];
}

/** Retention is to be carried out in a repository, with a key that may delete. */
export interface RetainRequest {
  kind: "retain";
  repository: RepositoryPlace;
  folder: StoreFolder;
  input: RetentionInput;
}

/** What is new of a log is to be shipped from the directory that its receiver writes to. */
export interface ShipRequest {
  kind: "ship";
  /** The store's own. */
  folder: StoreFolder;
  log: ShippedLog;
  /** The receiver's directory on this host. */
  directory: string;
  /** Up to here the receiver has it on disk. */
  received: string;
  repositories: readonly { place: RepositoryPlace; shipped: string }[];
  /** Up to where others have it that get nothing now. */
  holdBack: readonly string[];
  /** Every repository of the store that can be reached: what is not on this host any more is copied from one that has it. */
  lenders: readonly RepositoryPlace[];
  /** So many must have what goes from this host while another one stays away. */
  minSuccess: number;
  /** What may wait on this host; from half of it on, nothing waits for one that stays away. */
  spoolBytes: number;
  recipients: readonly string[];
}

/** Which log it is. */
interface ShippedLog {
  systemId: string;
  timeline: number;
  segmentBytes: number;
}

/** How far one repository has a log after a shipment. */
export interface RepositoryShipment {
  repository: string;
  shipped: string;
  /** Why it does not have all of it. */
  reason?: string | undefined;
  /** What it needs next is not on this host any more. */
  isBroken?: boolean | undefined;
  /** Where what is on this host begins. */
  oldest?: string | undefined;
  /** What was stored there by this shipment. */
  stored?: IndexEntry[];
}

/** Files of a store's bases and log are to go, by their names; with a key that may delete. */
export interface ExpireRequest {
  kind: "expire";
  repository: RepositoryPlace;
  folders: readonly { folder: StoreFolder; names: readonly string[] }[];
}

/** The listing of a log is to be held against its index, and the next index written. */
export interface IndexRequest {
  kind: "index";
  repository: RepositoryPlace;
  /** Of the log's area. */
  folder: StoreFolder;
  segmentBytes: number;
  /** What was stored since the last one. */
  add: readonly IndexEntry[];
  /** What goes after this. */
  drop: { names: readonly string[]; before: string | undefined };
  recipients: readonly string[];
  identities: readonly string[];
}

/** This node's backup key is to be made. */
export interface IdentifyRequest {
  kind: "identify";
  path: string;
}

/** A backup is to be restored into a new volume. */
export interface RestoreRequest extends StoreRequest {
  kind: "restore";
  /** The backup's name. */
  backup: string;
  /** The service's container: what fills the volume is a twin of it. */
  container: string;
  /** The new volumes, and where the service has its data in each. */
  volumes: readonly { name: string; target: string }[];
  timeoutMs: number;
  expectations: Expectations;
  repository: RepositoryPlace;
  /** This node's age identities. */
  identities: readonly string[];
  /** Of a base: up to when the log since is replayed. */
  moment?: { atMs: number; wholeMs?: number | undefined } | undefined;
  /** Where the child says how far it is. */
  progressPath: string;
}

/** A backup of a bucket is to be restored into an empty place. */
export interface CopyOutRequest extends StoreRequest {
  kind: "copy-out";
  /** The backup's name. */
  backup: string;
  into: S3Place | { directory: string };
  repository: RepositoryPlace;
  identities: readonly string[];
}

/** What came of it. */
export type ChildAnswer =
  /** The warning is of hooks: the backup is made all the same. */
  | ({ kind: "made"; warning?: string } & MadeBackup)
  | { kind: "finished"; warning: string | undefined }
  | { kind: "checked" }
  | { kind: "judged"; verdict: JudgedBackup }
  | { kind: "copied" }
  | { kind: "audit-copied"; repositories: AuditCopy[] }
  /** Of each folder, in their order. */
  | { kind: "listed"; lists: BackupList[] }
  | { kind: "retained"; kept: Retained }
  | { kind: "identified"; recipient: string }
  | { kind: "restored"; detail: string }
  | { kind: "copied-out"; detail: string }
  | { kind: "shipped"; repositories: RepositoryShipment[] }
  | ({ kind: "indexed" } & IndexedLog)
  | { kind: "expired"; removed: number; kept: string | undefined }
  /** `cutOff`: the child has ended without an answer, and has cleaned up nothing. */
  | { kind: "failed"; reason: string; advice?: readonly string[] | undefined; cutOff?: boolean };
