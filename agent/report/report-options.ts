// What a report is told when it is made and when it is attached to its agent. Types, and where the audit log is.

import type { DrillStanding } from "../../shared/drill/drill.ts";
import type { StoreStanding } from "../../shared/state/promise.ts";
import type { Note } from "../../shared/state/note.ts";
import type { ColdStartReport } from "../../shared/state/cold-start.ts";
import type { AgentEvent } from "../../shared/state/event.ts";
import type { PlanPreview } from "../../shared/document/plan-preview.ts";
import type { DockerExec, DockerReader } from "../docker/reader.ts";
import type { Clock } from "../host/os/clock.ts";
import type { Store } from "../host/store/store.ts";
import type { Request } from "../../shared/state/request.ts";
import type { AlertOptions } from "./notify/alerts.ts";
import type { ForgePlace } from "./notify/fleet-alerts.ts";
import type { FleetReader } from "./status/fleet-builder.ts";
import type { HostSample } from "./status/report-state.ts";
import type { ReportLogger } from "./log/log-events.ts";

/** Something that tells what happens to somebody else. Never throws, never waits. */
export interface Sink {
  hear(event: AgentEvent): void;
  /** What is wrong with telling it; a note in the status. */
  readonly note: Note | undefined;
  close(): Promise<void>;
}

/** What a report is made from. */
export interface ReportOptions {
  node: string;
  version: string;
  stateDir: string;
  clock: Clock;
  logger: ReportLogger;
  startedMs: number;
  /** This boot of the host; left out, what is kept is not known to be by the same clock. */
  bootId?: string;
  /** Said in every status, such as that there is no policy file. */
  notes?: readonly string[];
  /** The webhook of agent.toml. */
  alerts?: AlertOptions;
  /** The forge whose issues fleet.toml may name for alerts; left out where agent.toml has no token for it. */
  forge?: ForgePlace | undefined;
  /** Only for tests: how long one attempt to tell may take. */
  alertTimeoutMs?: number;
  /** Only for tests that play the host's memory, load and disks. */
  readHost?: () => Promise<HostSample>;
  /** Others that hear every event after the report did, and tell it elsewhere. */
  sinks?: readonly Sink[];
}

/** Where people and programs reach the node, and what could not be bound. */
export interface Served {
  addresses: readonly string[];
  socket: string | undefined;
  troubles: readonly string[];
}

/** The parts of the running agent that a report reads from and hands requests to. Never the Docker writer. */
export interface ReportParts {
  store: Pick<Store, "listExits" | "listReleases"> & Partial<Pick<Store, "promises">>;
  reader: DockerReader;
  exec: DockerExec;
  /** Takes values of secrets out of a text that is recorded; left out where there are none. */
  redact?(text: string): string;
  /** A secret that the agent itself works with: its value, or why there is none. */
  readSecret?(path: string): { value: string } | { reason: string };
  request(request: Request): void;
  /** Why the host's policy refuses a kept release now; undefined where it may run. */
  judgeRelease?(service: string, fingerprint: string): Promise<string | undefined>;
  /** What the loop would do now; answers `orca plan` without a directory. */
  planNow?(): Promise<PlanPreview>;
  /** The last turns that planned something, as JSON; answers `orca debug world`. */
  printWorlds?(): string;
  /** The gossip, where there is one. */
  fleet?: FleetReader;
  /** What is not as it should be with the backups. */
  backups?: {
    readonly notes: readonly Note[];
    readonly standings: readonly StoreStanding[];
    /** Why a repository has no copy of the audit log of today. */
    readonly auditCopyTrouble?: string | undefined;
  };
  /** Drills that are overdue, and the one that goes on; alerts ask how each store stands. */
  drills?: { readonly notes: readonly Note[]; readonly standings: readonly DrillStanding[] };
  /** What a prune has left. */
  prunes?: { readonly notes: readonly Note[] };
  /** How the agent's own update stands. */
  updates?: { readonly notes: readonly Note[] };
  /** The last cold starts, newest first. */
  coldStarts?(): readonly ColdStartReport[];
  /** Calls to the engine so far, by name; for the metrics. */
  dockerCalls?(): Readonly<Record<string, number>>;
}
