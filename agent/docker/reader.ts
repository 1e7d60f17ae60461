// The reading half of the Docker port: nothing here changes anything. Given to observed/, health/ and the CLI.
// One implementation speaks to a real engine (engine.ts); the fake in test/fakes/ passes the same contract suite.

import type { Caps } from "../../shared/state/container-spec.ts";
import type { FaultCode } from "../../shared/state/step.ts";
import { readFault } from "./engine-answer.ts";

/** The engine could not be reached, or it answered with an error; `status` is its HTTP status where it gave one. */
export class EngineError extends Error {
  readonly status: number | undefined;
  constructor(message: string, status: number | undefined, cause?: unknown) {
    super(message, { cause });
    this.name = "EngineError";
    this.status = status;
  }
  /** True when nothing answered at all: the engine is gone or restarting. */
  get unreachable(): boolean {
    return this.status === undefined;
  }
  /** What is at fault. */
  get fault(): FaultCode {
    return readFault(this.status, this.message);
  }
}

/** Of a line that is kept so many characters are. */
export const LONGEST_LINE = 1_000;
/** Of what a command has printed so many characters are kept. */
export const LONGEST_OUTPUT = 2_000;

/** One row of the engine's list of containers. */
export interface ContainerRow {
  id: string;
  name: string;
  image: string;
  labels: Readonly<Record<string, string>>;
  status: "created" | "running" | "paused" | "restarting" | "exited" | "removing" | "dead";
  /** Network name → IP address in it; empty text while it has none. */
  networks: Readonly<Record<string, string>>;
  /** Host ports it holds, in Docker's form. */
  ports: readonly string[];
  /** What it may write to: names of volumes, and paths of this host. */
  writes: readonly string[];
}

/** What only an inspection tells of a container. Times are milliseconds since the epoch. */
export interface ContainerDetail {
  id: string;
  status: ContainerRow["status"];
  /** Network name → IP address in it; empty text while it has none. */
  networks: Readonly<Record<string, string>>;
  startedMs: number | undefined;
  finishedMs: number | undefined;
  exitCode: number | undefined;
  oomKilled: boolean;
  pid: number;
  caps: Caps;
  restartPolicy: string;
  image: string;
  /** Its volumes without a name, which the engine made for the VOLUMEs of its image. */
  ownVolumes: readonly { name: string; target: string }[];
  /** The user it runs as, as its manifest or else its image names it; empty for root. */
  user: string;
}

/** One network of the engine. */
export interface NetworkRow {
  id: string;
  name: string;
  labels: Readonly<Record<string, string>>;
  internal: boolean;
  subnets: readonly string[];
  /** When it was made; undefined where the engine does not say. */
  createdMs: number | undefined;
}

/** One volume of the engine. */
export interface VolumeRow {
  labels: Readonly<Record<string, string>>;
  /** What it really is where it is no directory of the engine's own: a device or path of the host, or another driver. */
  leadsTo: string | undefined;
}

/** One event that matters to the agent. It only says "look again". */
export interface EngineEvent {
  type: "container" | "network" | "image";
  action: string;
  /** The container, network or image it is about. */
  id: string;
  labels: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch, by the engine's clock. */
  atMs: number;
}

/** Reads from one engine. Every call may throw an `EngineError`. */
export interface DockerReader {
  /** The engine's own id, version and free facts. */
  info(): Promise<{ id: string; version: string; cgroupVersion: "1" | "2"; rootDir: string }>;
  /** True while it takes new calls: an engine that goes down still answers on connections that it has. Never throws. */
  accepts(): Promise<boolean>;
  /** Every container, running or not, also those of others. */
  listContainers(): Promise<ContainerRow[]>;
  /** Undefined when there is no such container. */
  inspectContainer(id: string): Promise<ContainerDetail | undefined>;
  listNetworks(): Promise<NetworkRow[]>;
  /** Undefined when there is none of that name. */
  inspectVolume(name: string): Promise<VolumeRow | undefined>;
  /** The volumes of a node that restores have made: the name of each, and the volume of a manifest that it is a generation of. */
  listGenerations(node: string): Promise<readonly { name: string; of: string }[]>;
  /** The id of an image that is on this host, or undefined. */
  findImage(reference: string): Promise<string | undefined>;
  /** The paths that an image on this host keeps in VOLUMEs of its own; undefined where there is no such image. */
  listImageVolumes(reference: string): Promise<readonly string[] | undefined>;
  /** A file as a container sees it, which need not run; undefined when it has none there. At most 1 MiB. */
  readFile(id: string, path: string): Promise<Buffer | undefined>;
  /** The last lines a container printed, oldest first, each cut to LONGEST_LINE characters. */
  tailLogs(id: string, lines: number): Promise<string[]>;
  /** Reads what a container has printed, or follows it, until the signal aborts; calls back with raw chunks. */
  followLogs(id: string, options: FollowOptions): Promise<void>;
  /** Calls back for each event until the signal aborts or the stream ends; resolves when it has ended. */
  watchEvents(options: WatchOptions): Promise<void>;
}

/** How to follow a container's output. */
export interface FollowOptions {
  tail: number;
  follow: boolean;
  signal: AbortSignal;
  /** What it returns is waited for before more is read. */
  onChunk: (chunk: Buffer, stream: "stdout" | "stderr") => unknown;
}

/** How to follow the engine's events. */
export interface WatchOptions {
  /** Also events since then, in milliseconds since the epoch. */
  sinceMs: number | undefined;
  signal: AbortSignal;
  onOpen: () => void;
  onEvent: (event: EngineEvent) => void;
}

/** Runs a command inside a container: for exec probes and for `orca exec`. */
export interface DockerExec {
  /**
   * Runs a command to its end, without input.
   * @param user in place of the container's own
   * @returns its exit code and the first LONGEST_OUTPUT characters of what it printed
   */
  run(
    container: string,
    command: readonly string[],
    timeoutMs: number,
    user?: string,
  ): Promise<{ exitCode: number; output: string }>;
  /** Opens a command with its input and output, for a person. */
  open(container: string, options: ExecOptions): Promise<ExecSession>;
}

/** What a person wants to run. */
export interface ExecOptions {
  command: readonly string[];
  tty: boolean;
  onChunk: (chunk: Buffer, stream: "stdout" | "stderr") => void;
}

/** A command that runs inside a container for a person. */
export interface ExecSession {
  write(chunk: Buffer): void;
  endInput(): void;
  resize(columns: number, rows: number): Promise<void>;
  /** Resolves with the exit code once it has ended. */
  ended: Promise<number>;
  close(): void;
}
