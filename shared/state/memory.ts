// What the agent must remember between turns and across restarts: plain data, changed by plan/ and, where a person asks for something,
// by loop/requests.ts; stored by host/store/.
// Losing it costs history and backoff, never a container: running ones are adopted by their labels.

import type { Setback } from "./backoff.ts";
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

/** What is remembered of one service. Optional keys are left out until they mean something. */
export interface ServiceMemory {
  /** The intent these counters belong to: a newer one starts anew. */
  fingerprint: string;
  /** Since when this is the intent: health from before it says nothing of it. */
  intentMs?: number;
  /** Restarts since the last long healthy run; the exponent of the backoff. */
  attempt: number;
  /** Restarts of this service that were not asked for, since it was first seen. */
  restarts: number;
  nextStartMs?: number;
  lastExit?: ExitRecord;
  /** When that was, by the clock that durations are counted on: the engine's word only names the moment. */
  exitMs?: number;
  /** The newest run that was seen of it. */
  run?: RunMemory;
  /** The container as it was last seen, and in which engine run it last ran. */
  seen?: { container: string; engineRun: string | undefined };
  /** The container that was last seen healthy, and in which engine run; `sinceMs` is there while that `run` of it has stayed so. */
  healthy?: { container: string; engineRun: string; run?: string; sinceMs?: number };
  /** What the last measured start took until it was healthy, and of which run; a run that was only found running has no `ms`. */
  took?: { run: string; ms?: number };
  /** The container that the agent is stopping, so that its exit is no crash. */
  stopping?: string;
  /** Since when this start has been waiting at the gate, and for which engine run. */
  waiting?: {
    sinceMs: number;
    engineRun: string;
    /** Which run of each requirement was healthy during this wait, and when last. */
    met?: Readonly<Record<string, { start: string; atMs: number }>>;
  };
  /** Set while the running container was started without all it requires. */
  ungated?: string;
  failure?: FailureMemory;
  release?: ReleaseRecord;
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
  /** Set while an earlier release runs in place of what Git wants; `uid` where a person asked for it. */
  rolledBack?: { wanted: string; to: string; revision: string; reason: string; uid?: number };
  /** A person stopped it; stands until what Git wants changes, or `orca start`, or `orca resume`. */
  stoppedBy?: { wanted: string; uid: number };
  /** A person said that it starts without the data of the node that it moved from. */
  emptyBy?: { uid: number };
  /** A start that a person asked for and that has not begun. */
  startAsked?: { uid: number; ignoreRequires: boolean };
  /** What versions before `run` remembered of the files that a run has; taken over when that run is seen again. */
  applied?: { container: string; files: Readonly<Record<string, string>>; stale?: true };
  /** The volumes without a name of the container that ran last, and its spec; absent where it has none. */
  own?: { specHash: string; volumes: readonly OwnVolume[] };
  /** What Git wants, while its release stands in place of that lest a new container begins without its data. */
  heldFor?: string;
  /** A restart that a person asked for and that has not begun. */
  restartAsked?: { uid: number; atMs: number };
  /** What is known of a job's runs. */
  job?: JobMemory;
  /** The same steps done again and again without effect; `count` is how often they succeeded. */
  repeated?: { steps: string; count: number; rounds: number; untilMs?: number };
  /**
   * A container that a later version of Orca made, by rules of its label that this version does not know, and the intent that it
   * was found with: it stays as it is until the intent is another one.
   */
  later?: { container: string; fingerprint: string };
  /** Since when this state has shown, for `status`. */
  shown?: { state: string; sinceMs: number };
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
  /** The last failure of the node's own operations (network, hosts file). */
  nodeFailure?: Setback;
  /** The last failure of the work around fronts, by lane; `about` is what it was to do: other work begins anew. */
  lanes?: Readonly<Record<string, Setback & { about: string }>>;
  /** The runs of containers that the agent itself has ended, by name, and the kind of cause it had; kept until they run again. */
  stops?: Readonly<Record<string, string>>;
  /** Paused services; `*` is the whole node. */
  pauses: Readonly<Record<string, { sinceMs: number; uid: number }>>;
  /**
   * How far the wall clock stood before the host's monotonic clock, and in which boot, when the times above were named: where
   * it stands elsewhere now, it was set, and they move with it.
   */
  clock?: { boot: string; offsetMs: number };
}

/** The memory of an agent that has never run here. */
export const EMPTY_MEMORY: NodeMemory = { services: {}, removals: {}, pauses: {} };
