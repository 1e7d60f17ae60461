// What report/ knows of one node: plain data that the reducer makes from events and that documents are built from.
// It keeps no desired state, no environment value, no file content and no log line.

import type { AgentUpdate } from "../../../shared/fleet/agent-version.ts";
import type { DoctorLook } from "../../../shared/state/doctor-look.ts";
import type { Note } from "../../../shared/state/note.ts";
import type { SourceState } from "../../../shared/state/event.ts";
import type { AlertPlan } from "../../../shared/fleet/alert-plan.ts";
import type { ServicePromise } from "../../../shared/state/desired-state.ts";
import type { ForeignContainer, HealthView } from "../../../shared/state/observed-state.ts";
import type { SecretTrouble } from "../../../shared/secret/secret-facts.ts";
import type { ServiceState, ServiceView } from "../../../shared/state/status.ts";
import type { RotationEnd } from "../../../shared/document/why-document.ts";
import type { FieldChange, Fields } from "./manifest-fields.ts";

/** Actions and transitions kept for each service. */
export const KEPT_ACTIONS = 20;

/** One thing that was done for a service. */
export interface Action {
  /** When it was last done. */
  atMs: number;
  action: string;
  cause: string;
  tookMs: number | undefined;
  ok: boolean;
  message: string | undefined;
  /** How many times in a row it went the same way. */
  times: number;
}

/** A change of a service's state. */
interface Transition {
  atMs: number;
  from: ServiceState | undefined;
  to: ServiceState;
  reason: string;
}

/** New values of secrets, from when the service was given them. */
export interface LastRotation {
  atMs: number;
  paths: readonly string[];
  end?: { atMs: number; how: RotationEnd; reason?: string };
}

/** A change of what Git wants of a service. */
export interface Change {
  atMs: number;
  fromRevision: string;
  toRevision: string;
  fields: readonly FieldChange[];
}

/** What outlives a restart of the agent. Losing it costs history only. */
export interface ServiceHistory {
  fingerprint: string | undefined;
  revision: string | undefined;
  fields: Fields;
  change: Change | undefined;
  rotation?: LastRotation;
  /** Newest first. */
  actions: readonly Action[];
  /** Newest first. */
  transitions: readonly Transition[];
  oom: { kills: number; lastMs: number; capBytes: number | undefined; run: string } | undefined;
  /** The largest working set that was seen with this image. */
  peakBytes: number | undefined;
}

/** One service as it is now. */
export interface ServiceRecord extends ServiceHistory {
  view: ServiceView;
  health: HealthView["status"] | undefined;
  /** What the last probe said, whole: it may quote the container, so it is for the unix socket only. */
  probe: string | undefined;
  /** First process of the container that runs; 0 when none does. */
  pid: number;
  memoryUsedBytes: number | undefined;
}

/** One reading of a file system. */
export interface DiskSample {
  path: string;
  totalBytes: number;
  freeBytes: number;
  inodes: number;
  inodesFree: number;
}

/** One reading of the node. */
export interface HostSample {
  memoryTotalBytes: number;
  memoryAvailableBytes: number;
  cpus: number;
  cpuLoadPercent: number | undefined;
  uptimeSeconds: number;
  disks: readonly DiskSample[];
}

/** Too much of something is in use. */
export interface Pressure {
  sinceMs: number;
  /** Per cent. */
  used: number;
  /** The service that takes most of it, where that is known. */
  largest?: string;
}

/** What the sampler adds to what the agent tells. `memory` is by pid. */
export interface Sampled {
  kind: "sampled";
  atMs: number;
  host: HostSample | undefined;
  engineVersion: string | undefined;
  memory: ReadonlyMap<number, { workingSetBytes: number }>;
  /** Processor time since the reading before, in microseconds, by pid; read only while the node is busy. */
  cpu?: ReadonlyMap<number, number>;
}

/** The last completed turn, and how turns go. */
interface TurnRecord {
  endedMs: number | undefined;
  tookMs: number | undefined;
  completed: number;
  failed: number;
  /** Why the newest turn failed; undefined after one that was completed. */
  trouble: { message: string; atMs: number } | undefined;
}

/** What the webhook was asked and answered. */
export interface WebhookRecord {
  listen: string;
  /** Why no push is taken. */
  trouble: string | undefined;
  accepted: number;
  /** Signed, and nothing for this node. */
  ignored: number;
  refused: number;
  last: { id: string; atMs: number; status: number; said: string } | undefined;
  /** What people should look at although the newest push is followed. */
  doubt: string | undefined;
  /** Since when pushes are taken; undefined while they are not. */
  openMs: number | undefined;
  /** Commits that a poll has found while no signed push has ever come, and when the newest was. */
  polled: { commits: number; atMs: number };
  /** Accepted, and the source was not read since. */
  waiting: readonly { id: string; atMs: number }[];
  /** The ids of the pushes that the last event's reading of the source came after. */
  answered: readonly string[];
}

/** A service's change of state, or its disappearance, that the last event brought. */
export interface StatusChange {
  service: string;
  atMs: number;
  state: ServiceState | undefined;
  previous: ServiceState | undefined;
  reason: string;
  revision: string | undefined;
}

/** Everything known. */
export interface ReportState {
  /** When the agent was started. */
  beganMs: number;
  engine: { reachable: boolean; reason: string | undefined; version: string | undefined; sinceMs: number };
  source: SourceState | undefined;
  /** False until something was wanted for the first time. */
  known: boolean;
  services: ReadonlyMap<string, ServiceRecord>;
  /** History of services that no turn has shown yet, as it was before this agent started. */
  history: Readonly<Record<string, ServiceHistory>>;
  nodeActions: readonly Action[];
  unmanaged: readonly ForeignContainer[];
  endpoints: Readonly<Record<string, { healthy: boolean; message: string }>>;
  /** Where alerts go by fleet.toml; undefined where it does not say. */
  alerts: AlertPlan | undefined;
  /** How full the node is, and since when without a break; left out where it is not. */
  pressure: { memory?: Pressure; cpu?: Pressure };
  /** What services promise, by name; a service that promises nothing has none. */
  slo: Readonly<Record<string, ServicePromise>>;
  dataMount: string | undefined;
  notes: readonly Note[];
  pausedBy: number | undefined;
  /** Why the provider of secrets gives none. */
  secrets: SecretTrouble | undefined;
  turn: TurnRecord;
  stateTrouble: { message: string; atMs: number } | undefined;
  /** Why a changed file of the host is not in force. */
  hostFileTrouble: string | undefined;
  host: HostSample | undefined;
  /** Undefined where there is none. */
  webhook: WebhookRecord | undefined;
  /** The last weekly look at the host; undefined before the first one of this agent. */
  doctor: { look: DoctorLook; atMs: number } | undefined;
  /** How the agent's own update stands; undefined before it was looked at. */
  update: AgentUpdate | undefined;
  /** What the last event changed. */
  changes: readonly StatusChange[];
}

/** Nothing known yet. */
export function beginState(nowMs: number, history: ReportState["history"] = {}): ReportState {
  return {
    beganMs: nowMs,
    engine: { reachable: false, reason: "it was not asked yet", version: undefined, sinceMs: nowMs },
    source: undefined,
    known: false,
    services: new Map(),
    history,
    nodeActions: [],
    unmanaged: [],
    endpoints: {},
    slo: {},
    alerts: undefined,
    pressure: {},
    dataMount: undefined,
    notes: [],
    pausedBy: undefined,
    secrets: undefined,
    turn: { endedMs: undefined, tookMs: undefined, completed: 0, failed: 0, trouble: undefined },
    stateTrouble: undefined,
    hostFileTrouble: undefined,
    host: undefined,
    webhook: undefined,
    doctor: undefined,
    update: undefined,
    changes: [],
  };
}

/** A service of which nothing is known but its name. */
export const EMPTY_HISTORY: ServiceHistory = {
  fingerprint: undefined,
  revision: undefined,
  fields: {},
  change: undefined,
  actions: [],
  transitions: [],
  oom: undefined,
  peakBytes: undefined,
};
