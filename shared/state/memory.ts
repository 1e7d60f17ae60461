// What the agent must remember between turns and across restarts: plain data, changed by plan/ and, where a person asks for something,
// by loop/requests.ts; stored by host/store/.
// Losing it costs history and backoff, never a container: running ones are adopted by their labels.

import type { Setback } from "./backoff.ts";
import type { Reason } from "./reason.ts";
import type { FailureClass, FaultCode } from "./step.ts";

/** One end of a container, with the reason as far as it is known. */
export interface ExitRecord {
  service: string;
  container: string;
  startedMs: number | undefined;
  finishedMs: number;
  /** How long it ran, where the agent saw its start: the engine names both ends by a wall clock that may have been set between them. */
  ranMs?: number;
  exitCode: number;
  /** Signal that ended it, told from an exit code above 128. */
  signal: number | undefined;
  oom: boolean;
  /** Who asked for it: the agent, or a person through Docker; undefined where nobody did. */
  requested: "agent" | "by-hand" | undefined;
  /** True when the engine or the host went down with it. */
  engineStopped: boolean;
  logTail: readonly string[];
}

/** A release: what ran when it had been healthy for `update.settle`. */
export interface ReleaseRecord {
  fingerprint: string;
  specHash: string;
  revision: string;
  image: string;
  settledMs: number;
}

/** A failed operation, and when it is tried again. */
interface FailureMemory extends Setback {
  fingerprint: string;
  step: string;
  failure: FailureClass;
  /** Left out by older versions. */
  fault?: FaultCode;
  /** What a container printed with it. */
  output?: string;
  /** A look at the host told that it would fail: it was not tried. */
  foreseen?: true;
}

/** A volume without a name that the engine made for a VOLUME of an image. */
export interface OwnVolume {
  name: string;
  target: string;
}

/**
 * One run, which is one start of one container. What it has read and when it began are facts of this run alone: the next one
 * begins with a record of its own.
 */
export interface RunMemory {
  /** The container and the engine's time of its start (`nameRun`). */
  name: string;
  /** Counts the runs that were seen of this service. */
  number: number;
  /** When it began. Unlike the engine's word, this moves with the wall clock when that is set, so that its age stays true. */
  begunMs: number;
  /** Hash of the content that its processes have, by the target of each delivered file: read at its start, or told of since. */
  files: Readonly<Record<string, string>>;
  /** Content that it is being told of; how that ended is not known yet, so neither is what its processes have. */
  telling?: Readonly<Record<string, string>>;
  /** A file was lost under it and written anew: its processes see the old one until the next run. */
  stale?: true;
}

/** What Git wants of it, as far as the rest is counted by it. */
export interface IntentMemory {
  /** The intent that the counters belong to: a newer one starts anew. */
  fingerprint: string;
  /** Since when this is the intent: health from before it says nothing of it. */
  sinceMs?: number;
}

/** What was seen of its containers and their runs. */
export interface RunsMemory {
  /** The newest run that was seen of it. */
  newest?: RunMemory;
  /** The container as it was last seen, and in which engine run it last ran. */
  lastSeen?: { container: string; engineRun: string | undefined };
  /** The container that was last seen healthy, and in which engine run; `sinceMs` is there while that `run` of it has stayed so. */
  lastHealthy?: { container: string; engineRun: string; run?: string; sinceMs?: number };
  /** What the last measured start took until it was healthy, and of which run; a run that was only found running has no `ms`. */
  startTook?: { run: string; ms?: number };
  /** The container that the agent is stopping, so that its exit is no crash. */
  stopping?: string;
  lastExit?: ExitRecord;
  /** When that was, by the clock that durations are counted on: the engine's word only names the moment. */
  lastExitMs?: number;
  /** The volumes without a name of the container that ran last, and its spec; absent where it has none. */
  ownVolumes?: { specHash: string; volumes: readonly OwnVolume[] };
  /** What versions before `newest` remembered of the files that a run has; taken over when that run is seen again. */
  byEarlierVersion?: { container: string; files: Readonly<Record<string, string>>; stale?: true };
  /**
   * A container that a later version of Orca made, by rules of its label that this version does not know, and the intent that it
   * was found with: it stays as it is until the intent is another one.
   */
  byLaterVersion?: { container: string; fingerprint: string };
}

/** A start that waits for what it requires, or has gone on without. */
export interface GateMemory {
  /** Since when this start has been waiting at the gate, and for which engine run. */
  waiting?: {
    sinceMs: number;
    engineRun: string;
    /** Which run of each requirement was healthy during this wait, and when last. */
    healthySeen?: Readonly<Record<string, { start: string; atMs: number }>>;
  };
  /** Set while the running container was started without all it requires. */
  startedWithout?: string;
}

/** What has gone wrong, how often, and when it is tried again. */
export interface BackoffMemory {
  /** Restarts since the last long healthy run; the exponent of the backoff. */
  attempt: number;
  /** Restarts of this service that were not asked for, since it was first seen. */
  restarts: number;
  nextStartMs?: number;
  failure?: FailureMemory;
  /** The same steps done again and again without effect; `count` is how often they succeeded. */
  repeated?: { steps: string; count: number; rounds: number; untilMs?: number };
}

/** What a person asked for. */
export interface OperatorMemory {
  /** A person stopped it; stands until what Git wants changes, or `orca start`, or `orca resume`. */
  stoppedBy?: { wanted: string; uid: number };
  /** A person said that it starts without the data of the node that it moved from. */
  emptyBy?: { uid: number };
  /** A start that a person asked for and that has not begun. */
  startAsked?: { uid: number; ignoreRequires: boolean };
  /** A restart that a person asked for and that has not begun. */
  restartAsked?: { uid: number; atMs: number };
}

/** Which release is good, which is tried, and which stands in for what Git wants. */
export interface ReleasesMemory {
  lastGood?: ReleaseRecord;
  /**
   * How long a release that is not good yet has been tried, counted turn by turn: a clock that jumps adds nothing. It begins
   * with the first run that has what the release delivers, so that ending the run before costs it nothing.
   */
  rollout?: {
    fingerprint: string;
    engineRun: string;
    spentMs: number;
    seenMs: number;
    /** What the probes said when the agent ended a run of it for being unhealthy. */
    sick?: string;
  };
  /**
   * Set while an earlier release runs in place of what Git wants; `uid` where a person asked for it. `reason` is what `why` says in
   * words, for the version before, which knows no other; where that wrote it there is no `why`.
   */
  rolledBack?: { wanted: string; to: string; revision: string; reason: string; why?: Reason; uid?: number };
  /** A change that waits for a backup, since when, and what it had it by: backups, or the word of a commit. */
  backup?: { wanted: string; sinceMs: number; by?: string };
  /** What Git wants, while its release stands in place of that lest a new container begins without its data. */
  heldFor?: string;
}

/** What is remembered of one service, in parts. Optional keys are left out until they mean something. */
export interface ServiceMemory {
  intent: IntentMemory;
  run: RunsMemory;
  gate: GateMemory;
  backoff: BackoffMemory;
  operator: OperatorMemory;
  release: ReleasesMemory;
  /** What is known of a job's runs. */
  job?: JobMemory;
  /** Since when the state that `status` shows has been this one. */
  shownState?: { state: string; sinceMs: number };
}

type PartName = "intent" | "run" | "gate" | "backoff" | "operator" | "release";

/** Fields of a part as they are to be; an optional one that is undefined is taken away. */
type PartChanges<P> = { [F in keyof P]?: undefined extends P[F] ? P[F] | undefined : P[F] };

/** What is remembered of a service; a name like `constructor`, which every object has, is no service's for that. */
export function findService(services: NodeMemory["services"], name: string): ServiceMemory | undefined {
  return Object.hasOwn(services, name) ? services[name] : undefined;
}

/** The same memory with other fields in one of its parts. */
export function setPart<N extends PartName>(
  memory: ServiceMemory,
  part: N,
  changes: PartChanges<ServiceMemory[N]>,
): ServiceMemory {
  const fields = Object.entries({ ...memory[part], ...changes }).filter(([, value]) => value !== undefined);
  return { ...memory, [part]: Object.fromEntries(fields) };
}

/** What is remembered of a service before anything happened. */
export function beginService(fingerprint: string): ServiceMemory {
  return {
    intent: { fingerprint },
    run: {},
    gate: {},
    backoff: { attempt: 0, restarts: 0 },
    operator: {},
    release: {},
  };
}

/** One run of a job. `dueMs` is when it should have begun. */
interface JobRun {
  specHash: string;
  dueMs: number;
  startedMs: number | undefined;
  endedMs: number;
  exitCode: number;
}

/** The runs of a job. */
export interface JobMemory {
  /** Every time up to here has been run, made up for or skipped. */
  accountedMs: number;
  /** The run in progress; its container's end is its result. */
  current?: { dueMs: number };
  /** Finished runs, newest first. */
  runs: readonly JobRun[];
  /** Times that passed while the run before was still going on. */
  skipped: number;
}

/** A service that left Git, and what went wrong while it was being ended. */
export interface RemovalMemory {
  sinceMs: number;
  specHash: string;
  failure?: Setback;
}

/** What is remembered of the node. */
export interface NodeMemory {
  services: Readonly<Record<string, ServiceMemory>>;
  /** Services removed from Git: stopped, kept until the undo window ends. */
  removals: Readonly<Record<string, RemovalMemory>>;
  /**
   * Of volumes that have been restored, by the name that manifests give them: which of them is in force, and who chose it. Without
   * an entry it is the volume of that name.
   */
  generations?: Readonly<Record<string, { inForce: string; uid?: number }>>;
  /** The last failure of the node's own operations (network, hosts file). */
  nodeFailure?: Setback;
  /** The last failure of the work around fronts, by lane; `about` is what it was to do: other work begins anew. */
  lanes?: Readonly<Record<string, Setback & { about: string }>>;
  /** The runs of containers that the agent itself has ended, by name, and the kind of cause it had; kept until they run again. */
  stops?: Readonly<Record<string, string>>;
  /** Paused services; `*` is the whole node. */
  pauses: Readonly<Record<string, { sinceMs: number; uid: number }>>;
  /** Services that are stopped while their volumes are copied, by the backup that it is for. An agent that begins knows of no such run. */
  copies?: Readonly<Record<string, { store: string; sinceMs: number }>>;
  /**
   * How far the wall clock stood before the host's monotonic clock, and in which boot, when the times above were named: where
   * it stands elsewhere now, it was set, and they move with it.
   */
  clock?: { boot: string; offsetMs: number };
}

/** The memory of an agent that has never run here. */
export const EMPTY_MEMORY: NodeMemory = { services: {}, removals: {}, pauses: {} };
