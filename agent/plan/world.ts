// The whole world as an argument: what plan() is given and what it answers. World and Plan are plain data; a ServiceContext, which
// lives for one call of plan(), also holds two counters of what is left for starts.

import type { Tenure } from "../../shared/fleet/takeover.ts";
import type { BackupFacts } from "../../shared/state/backup.ts";
import type { DesiredService, DesiredState } from "../../shared/state/desired-state.ts";
import type { ExitRecord, NodeMemory, ReleaseRecord, ServiceMemory } from "../../shared/state/memory.ts";
import type {
  HealthView,
  ObservedContainer,
  ObservedEngine,
  ObservedState,
} from "../../shared/state/observed-state.ts";
import type { Note } from "../../shared/state/note.ts";
import type { Reason } from "../../shared/state/reason.ts";
import type { ServiceStanding } from "../../shared/state/rotation.ts";
import type { ServiceView, StartStage } from "../../shared/state/status.ts";
import type { Operation, OperationInFlight } from "../../shared/state/step.ts";

/** What is known of one service on another node. */
interface PeerService {
  healthy: boolean;
  /** Why it is not, or that it is. */
  message: string;
  /** The run of its container that this is said of. */
  start?: string;
  /** Its own node says that no container of it runs there. */
  stopped?: boolean;
}

/** What is known of services on other nodes, by `node/service`. It gates starts and nothing else. */
export type PeerHealth =
  | { kind: "assume" }
  | {
      kind: "known";
      services: Readonly<Record<string, PeerService>>;
      /** What starts on other nodes wait for, by `node/service`: only to name those that wait for each other. */
      waits?: Readonly<Record<string, readonly string[]>>;
      /** Whether this node may run its services; left out where no spare can take its place. */
      tenure?: Tenure;
    };

/** Limits a plan keeps to. */
export interface PlanSettings {
  /** Services that may be starting at once. */
  startSlots: number;
  /** How long a start holds its slot at most. */
  slotMs: number;
  /** How long the container of a removed service is kept. */
  undoWindowMs: number;
}

/** The defaults of `PlanSettings` (behaviour, sections 1 and 3). */
export const DEFAULT_PLAN_SETTINGS: PlanSettings = { startSlots: 4, slotMs: 30_000, undoWindowMs: 3_600_000 };

/** Everything a plan depends on. */
export interface World {
  desired: DesiredState;
  observed: ObservedState;
  memory: NodeMemory;
  peers: PeerHealth;
  settings: PlanSettings;
  /** What Git wants of services for which an earlier release stands in `desired`. */
  wanted: ReadonlyMap<string, DesiredService>;
  /** The last good release of services whose newest has not settled: what a rollback goes to. */
  releases: ReadonlyMap<string, DesiredService>;
  /** What is known of stores that changes wait for a backup of. */
  backups?: BackupFacts;
  nowMs: number;
}

/** What should be done, and what is remembered. */
export interface Plan {
  operations: readonly Operation[];
  /** Lanes whose operation works towards an intent that is no longer wanted. */
  cancel: readonly string[];
  memory: NodeMemory;
  services: readonly ServiceView[];
  /** How each service stands with what it was given. */
  standings: ReadonlyMap<string, ServiceStanding>;
  newExits: readonly ExitRecord[];
  newReleases: readonly (ReleaseRecord & { service: string; desired: DesiredService })[];
  /** Services of which planning itself failed. */
  faults: readonly string[];
  /** Faults of the node itself. */
  notes: readonly Note[];
  /** When to look again although nothing happened. */
  nextMs: number | undefined;
}

/** An engine that answers. */
export type Reachable = Extract<ObservedEngine, { reachable: true }>;

/** One service and everything that decides about it. */
export interface ServiceContext {
  world: World;
  engine: Reachable;
  desired: DesiredService;
  /** What Git wants; the same as `desired` unless an earlier release runs in its place. */
  wanted: DesiredService;
  memory: ServiceMemory;
  /** An end is told and not yet certain: this is what stays remembered, and nothing is done. */
  uncertain?: ServiceMemory;
  /** The container of the wanted spec. */
  current: ObservedContainer | undefined;
  /** Containers of this service with another spec. */
  others: readonly ObservedContainer[];
  inFlight: OperationInFlight | undefined;
  health: HealthView | undefined;
  /** Takes one of the node's start slots, or answers false. */
  takeSlot(): boolean;
  /** Takes so much of the node's memory for a second copy; answers how much was left, which may be too little. */
  takeMemory(bytes: number): number;
}

/** What a rule answers. */
export interface Decision {
  state: ServiceView["state"];
  reason: Reason;
  memory: ServiceMemory;
  operation?: Operation;
  cancel?: true;
  waitingFor?: readonly string[];
  start?: StartStage;
  /** When to look again. */
  nextMs?: number;
  /** When something is tried again, for people; counts as `nextMs` too. */
  retryMs?: number;
  notes?: readonly Reason[];
  settled?: boolean;
  release?: ReleaseRecord;
}
