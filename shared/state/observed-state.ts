// What is, as one immutable read: made by observed/ and health/, read by plan/ and report/.

import type { Caps } from "./container-spec.ts";
import type { FrontRouting } from "./front.ts";
import { type OwnContainerId, sha256 } from "./identity.ts";
import type { OwnVolume } from "./memory.ts";
import type { OperationInFlight, OperationOutcome } from "./step.ts";

/** One container that carries this node's label. Times are milliseconds since the epoch. */
export interface ObservedContainer {
  id: OwnContainerId;
  name: string;
  service: string;
  specHash: string;
  revision: string;
  image: string;
  status: "created" | "running" | "paused" | "restarting" | "exited" | "removing" | "dead";
  startedMs: number | undefined;
  finishedMs: number | undefined;
  exitCode: number | undefined;
  /** Its end is known from the engine's event alone: enough to be shown, too little to be remembered. */
  endIsTold?: true;
  /** The kernel killed a process of this run for memory, by the kernel's or the engine's own record. */
  oomKilled: boolean;
  /** Someone outside asked the engine to stop or kill it. */
  stoppedByHand: boolean;
  caps: Caps;
  /** Network name → address inside it; empty text while it has none. */
  networks: Readonly<Record<string, string>>;
  /** Host ports it holds, in Docker's form. */
  ports: readonly string[];
  pid: number;
  restartPolicy: string;
  /** Its volumes without a name, which the engine made for the VOLUMEs of its image. */
  ownVolumes: readonly OwnVolume[];
  /** What it may write to: names of volumes, and paths of this host. */
  writes: readonly string[];
  /** The front that it stands behind. */
  frontName: string | undefined;
  /** Memory in use less inactive file cache, in bytes, where it was asked for. */
  workingSetBytes: number | undefined;
  /** The last lines it printed before it ended. */
  logTail: readonly string[];
}

/** A container, volume or port holder that is not this node's. */
export interface ForeignContainer {
  name: string;
  image: string;
  running: boolean;
  /** Host ports it holds, in Docker's form. */
  ports: readonly string[];
  /** The node whose label it carries, where another agent made it. */
  node: string | undefined;
}

/** The health of one run of a container, as this agent's own probes see it. */
export interface HealthView {
  /** The run that was probed: its container's `startedMs`. What is seen of one run says nothing of another. */
  startedMs: number;
  status: "starting" | "healthy" | "unhealthy";
  /** Since when it has had this status, in milliseconds since the epoch. */
  sinceMs: number;
  /** When the last probe ended, in milliseconds since the epoch; undefined before the first. */
  probedMs: number | undefined;
  failures: number;
  /** For how long its probes have failed in this run: from each first failure to the next success; counted while it is not starting. */
  failedMs?: number;
  /** When the probe that failed first since the last success ended; left out while they succeed. */
  failingSinceMs?: number;
  /** What the last probe said, for people. */
  message: string;
  /** What its command printed, where it failed. */
  output?: string;
  /** Set when the check itself could not be made (no address, exec refused): that is not "unhealthy". */
  notMade: boolean;
  /** It ran before this agent looked at it, and the probes since have not decided yet whether it is healthy. */
  found?: true;
  /** It was healthy by another check than the one it has now, which has not decided yet. */
  rechecked?: true;
}

/** Something of the host that a container needs and that is not as it must be. */
export type HostObstacle =
  | { kind: "port"; port: string; why: "in-use" | "no-address" }
  | { kind: "source"; path: string };

/** Facts about the host that a plan depends on. */
export interface HostFacts {
  /** Undefined when no data file system is declared. */
  dataMounted: { ok: true } | { ok: false; reason: string } | undefined;
  /** What the host lacks for a start of a service, by its name; what is held by containers of this node is not in it. */
  obstacles: ReadonlyMap<string, readonly HostObstacle[]>;
}

/** What the engine says, or that it does not answer. */
export type ObservedEngine =
  | {
      reachable: true;
      /** Changes when the host or the engine restarted and containers lost their processes. */
      run: string;
      /** When that run of it began, by the engine's word; left out where it does not say. */
      sinceMs?: number;
      containers: readonly ObservedContainer[];
      foreign: readonly ForeignContainer[];
      /** Networks of the engine by name. */
      networks: Readonly<Record<string, { node: string | undefined; internal: boolean; subnets: readonly string[] }>>;
      /** Volumes that desired services name, by name; absent where it does not exist yet. */
      volumes: Readonly<Record<string, ObservedVolume>>;
      /** Every volume there is of each that a restore has made another of, by the name that manifests give it; the first one first. */
      generations?: Readonly<Record<string, readonly string[]>>;
    }
  | { reachable: false; reason: string };

/** One volume: whose label it carries, and what of the host it leads to where it is no directory of the engine's own. */
export interface ObservedVolume {
  node: string | undefined;
  leadsTo?: string | undefined;
}

/** Everything observed for one turn of the loop. */
export interface ObservedState {
  engine: ObservedEngine;
  operations: readonly OperationInFlight[];
  outcomes: readonly OperationOutcome[];
  /** By container id; of which run each is, the view says: read it with `findHealth`. */
  health: ReadonlyMap<string, HealthView>;
  /** By URL; absent while not yet probed. */
  endpoints: ReadonlyMap<string, { healthy: boolean; message: string }>;
  /** Hash of each delivered file on disk, by `fileKey(service, specHash, target)`. */
  files: ReadonlyMap<string, string>;
  /** The node's hosts file as it is on disk; undefined when there is none. */
  hosts: Readonly<Record<string, string>> | undefined;
  host: HostFacts;
  /** Who gets each front's traffic, by its name; absent while that was not asked. */
  fronts: ReadonlyMap<string, FrontRouting>;
}

/**
 * True while a container is one that the engine runs: it has its ports, its memory and its data, also where a person has paused it,
 * and where the engine is about to start it again. Only what runs is also at work.
 */
export function isAlive({ status }: Pick<ObservedContainer, "status">): boolean {
  return status === "running" || status === "paused" || status === "restarting";
}

/**
 * One run: one start of one container. The engine's time of the start only names it; it is compared and never counted with.
 */
export function nameRun({ id, startedMs }: Pick<ObservedContainer, "id" | "startedMs">): string {
  return `${id}@${startedMs ?? 0}`;
}

/** True while an operation ends a run of this container or begins one: which run is seen is not certain. */
export function isBetweenRuns(operations: readonly OperationInFlight[], id: string): boolean {
  return operations.some(({ changing }) => changing?.includes(id) === true);
}

/** The health of the run that is seen of a container; undefined where nobody has looked at this run yet. */
export function findHealth(
  { health, operations }: Pick<ObservedState, "health" | "operations">,
  { id, startedMs }: Pick<ObservedContainer, "id" | "startedMs">,
): HealthView | undefined {
  const view = health.get(id);
  return view === undefined || view.startedMs !== startedMs || isBetweenRuns(operations, id) ? undefined : view;
}

/**
 * The key of a delivered file, which is its path below the agent's directory of delivered files too. Files of two specs
 * of one service never share a path, so a rollout cannot change what the old container reads.
 */
export function fileKey(service: string, specHash: string, target: string): string {
  return `${service}/${specHash.replace(/^v\d+:/, "").slice(0, 8)}/${sha256(target).slice(0, 32)}`;
}
