// What `orca status --json` and `curl -H 'Accept: application/json' localhost:7070` give: a stable document with a version.
// Every key is always there, null where nothing is known. Made by report/, read by the CLI. Holds no log lines, no
// environment values and no file contents: it is served on loopback without a login.

import type { HoldKind } from "../state/hold.ts";
import type { ServiceState } from "../state/status.ts";

/** Changes when a key changes its meaning or goes; a new key changes nothing. */
export const STATUS_SCHEMA = "orca.status/1";

/** Where the desired state comes from, and how fresh it is. Times are ISO 8601 in UTC. */
export interface SourceDocument {
  kind: "directory" | "git";
  location: string;
  revision: string | null;
  read: string | null;
  ageSeconds: number | null;
  /** Why the newest reading is not in force. */
  trouble: string | null;
  /** What the newest change waits for; empty where nothing is held. */
  holds: HoldDocument[];
  retry: string | null;
}

/** One thing that a change waits for. */
interface HoldDocument {
  kind: HoldKind;
  reason: string;
  /** When it ends by itself. */
  until: string | null;
}

/** The webhook: what it was asked since the agent started. */
export interface WebhookDocument {
  listen: string;
  /** Why no push is taken. */
  trouble: string | null;
  accepted: number;
  /** Signed, and nothing for this node. */
  ignored: number;
  refused: number;
  last: { id: string; at: string; status: number; said: string } | null;
  /** Commits that a poll has found while no signed push has ever come. */
  polled: number;
}

/** One file system of the node. */
export interface DiskDocument {
  path: string;
  totalBytes: number;
  freeBytes: number;
  freePercent: number;
  inodes: number;
  inodesFree: number;
  /** 100 where the file system counts no inodes. */
  inodesFreePercent: number;
}

/** The node itself. */
export interface HostDocument {
  memoryTotalBytes: number;
  memoryAvailableBytes: number;
  cpus: number;
  /** Null until two readings have been taken. */
  cpuLoadPercent: number | null;
  uptimeSeconds: number;
  disks: DiskDocument[];
}

/** A container that is not this node's: listed, never touched. */
interface UnmanagedDocument {
  name: string;
  image: string;
  running: boolean;
  ports: string[];
  /** The node whose label it carries, where another agent made it. */
  node: string | null;
}

/** A secret that the provider refuses, although the service was given it. */
export interface RefusedSecretDocument {
  path: string;
  kind: "denied" | "not-found";
  reason: string;
  since: string;
  /** When the provider last confirmed the value that is in use. */
  read: string;
  /** So long its last value still starts the service, at least; null where it is gone. */
  until: string | null;
}

/** One service. */
export interface ServiceDocument {
  name: string;
  state: ServiceState;
  /** What the reason is: a word that stays the same while its sentence may be worded anew. */
  code: string;
  reason: string;
  /** What the table says of it: whom it waits for, else the reason; and its revision where that is not the node's. */
  summary: string;
  since: string;
  /** What its probes say of the container that runs. */
  health: "starting" | "healthy" | "unhealthy" | null;
  /** Healthy for `update.settle`: recorded as good. */
  settled: boolean;
  restarts: number;
  oomKills: number;
  /** Usage less inactive file cache. */
  memoryUsedBytes: number | null;
  memoryPeakBytes: number | null;
  /** What its last start took until it was healthy. */
  startSeconds: number | null;
  memoryCapBytes: number | null;
  revision: string | null;
  desiredRevision: string | null;
  waitingFor: string[];
  nextRetry: string | null;
  /** Why no start of it can begin, whoever asks for one; null where one may. */
  startBlocked: string | null;
  /** What a person has set on it that `orca resume` ends. */
  override: "paused" | "stopped" | "rolled back" | null;
  image: string | null;
  container: string | null;
  owner: string | null;
  /** Secrets that the provider refuses, although the service was given them. */
  refusedSecrets: RefusedSecretDocument[];
  notes: string[];
}

/** The whole status of one node. */
export interface StatusDocument {
  schema: typeof STATUS_SCHEMA;
  node: string;
  at: string;
  /** `stateDir` is where it keeps its state; earlier versions do not say it. */
  agent: { version: string; started: string; uptimeSeconds: number; socket: string | null; stateDir?: string | null };
  revision: string | null;
  source: SourceDocument | null;
  /** Why the provider of secrets gives none; null while it does. */
  secrets: { location: string; reason: string; since: string; refused: boolean; retry: string | null } | null;
  /** Null where none is set up. */
  webhook: WebhookDocument | null;
  engine: { reachable: boolean; reason: string | null; version: string | null };
  /** The last turn of the loop that was completed. */
  turn: { ended: string | null; ageSeconds: number | null; tookMs: number | null; trouble: string | null };
  /** Set while a person has paused the whole node. */
  paused: { uid: number } | null;
  /** Every service that is wanted is healthy, completed or stopped. */
  healthy: boolean;
  counts: Record<ServiceState, number>;
  services: ServiceDocument[];
  unmanaged: UnmanagedDocument[];
  notes: string[];
  host: HostDocument | null;
}
