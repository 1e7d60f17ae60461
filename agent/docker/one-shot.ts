// One-shot containers beside the services: dumps, and later restores and checks. Each is capped, without privileges, and carries a
// label of its own; only what carries it is ever removed here. Given a dockerode instance by engine.ts; handed to backup/ alone.

import type { Duplex } from "node:stream";

import { call, callUnless } from "./call.ts";
import type { StreamingExec } from "./container-exec.ts";
import { type OutputRun, readOutput } from "./split-output.ts";
import { JOB_LABEL, JOB_NAME_START, JOB_NODE_LABEL, RECEIVER_LABEL } from "./job-label.ts";
import { EngineError } from "./reader.ts";
import {
  type Archived,
  buildServerLimits,
  nameJob,
  pourInto,
  removeJob,
  startServer,
  type ThrowAwayServer,
} from "./throw-away-server.ts";

/** A one-shot container. */
interface OneShotRequest {
  /** Names the job: `backup:SERVICE/STORE`. */
  job: string;
  node: string;
  /** The image's id or reference; it must be on this host. */
  image: string;
  /** The program and its arguments, without a shell; the image's entrypoint is not used. */
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  user: string | undefined;
  /** `container:ID` shares that one's network, `none` has none. */
  network: string;
  memoryBytes: number;
  binds: readonly { source: string; target: string; readOnly: boolean }[];
  /** A container whose mounts it sees where that one has them, read-only; it may read what belongs to others there. */
  volumesOf?: string | undefined;
  /** Starts it in place of a plain start. */
  guard?: StartGuard | undefined;
  /** Written to its standard input, which then ends; with `hold` it stays open until the run is cancelled or this process ends. */
  input?: string | undefined;
  hold?: boolean | undefined;
}

/** Starts a container whose mounts lead into this host, and looks where they lead; answers why nothing of it runs. */
export type StartGuard = (
  container: string,
  hands: { start: () => Promise<void>; findPid: () => Promise<number> },
) => Promise<string | undefined>;

/** A throw-away server: a container that runs until it is removed. */
interface BoxRequest {
  job: string;
  node: string;
  image: string;
  /** In place of the image's own, as root; left out, that one runs. */
  entrypoint?: readonly string[] | undefined;
  /** Given to the entrypoint. */
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  memoryBytes: number;
  binds: readonly { source: string; target: string }[];
  /** Where it keeps what it writes: a volume without a name that goes with it. */
  scratch: string;
  /** Put there before it is started. */
  put?: Archived | undefined;
}

/** Runs them. Every call may throw an `EngineError`. */
export interface OneShots {
  /** The id of the image that a container was made from: its reference may name another one by now. */
  findImage(container: string): Promise<string>;
  run(request: OneShotRequest): Promise<OutputRun>;
  /** Runs a program in a container that runs, with its environment; the engine cannot end it, so it is killed where it can be. */
  runInside(container: string, argv: readonly string[]): Promise<OutputRun>;
  /** Starts a throw-away server without any network. */
  openBox(request: BoxRequest): Promise<ThrowAwayServer>;
  /** Removes what an agent that was killed has left of a node's jobs; answers how many. */
  sweep(node: string): Promise<number>;
}

interface JobContainer {
  id: string;
  attach(options: object): Promise<Duplex>;
  start(): Promise<unknown>;
  wait(options: { condition: "next-exit" }): Promise<{ StatusCode: number }>;
  inspect(): Promise<{
    Image: string;
    State: { ExitCode: number; OOMKilled?: boolean; Running?: boolean; Pid?: number };
  }>;
  remove(options: object): Promise<unknown>;
  putArchive(archive: NodeJS.ReadableStream, options: { path: string }): Promise<unknown>;
}

/** The corner of dockerode that is needed here; only engine.ts knows the rest. */
interface JobDocker {
  createContainer(options: Record<string, unknown>): Promise<JobContainer>;
  listContainers(options: object): Promise<{ Id: string; Names: string[]; Labels?: Record<string, string> }[]>;
  getContainer(id: string): JobContainer;
  listNetworks(options: object): Promise<{ Name: string }[]>;
  getNetwork(name: string): { remove(): Promise<unknown> };
}

type JobExec = Pick<StreamingExec, "run" | "stream">;

/** Such programs need few processes; one that forks without end is held. */
const PIDS = 64;

/** Builds the one-shot half of the port. */
export function createOneShots(docker: JobDocker, exec: JobExec): OneShots {
  return {
    findImage: (id) => call("inspect container", async () => (await docker.getContainer(id).inspect()).Image),
    run: (request) => call(`run ${request.job}`, () => runOneShot(docker, request)),
    runInside: (container, argv) => call("run in container", () => exec.stream(container, argv)),
    openBox: (request) => call(`open ${request.job}`, () => openBox(docker, exec, request)),
    sweep: (node) =>
      call("sweep jobs", async () => {
        const filters = { label: [`${JOB_NODE_LABEL}=${node}`, JOB_LABEL] };
        const left = await docker.listContainers({ all: true, filters });
        // An image can bring labels of its own, and no name.
        const own = left
          .filter(({ Names }) => Names.some((name) => name.startsWith(`/${JOB_NAME_START}`)))
          .filter(({ Labels = {} }) => Labels[RECEIVER_LABEL] === undefined);
        for (const { Id } of own) await removeJob(docker.getContainer(Id));
        const networks = await docker.listNetworks({ filters });
        for (const { Name } of networks.filter((network) => network.Name.startsWith(JOB_NAME_START)))
          await callUnless("remove network", [404], () => docker.getNetwork(Name).remove());
        return own.length;
      }),
  };
}

const ROOT = "0:0";

async function openBox(docker: JobDocker, exec: JobExec, request: BoxRequest): Promise<ThrowAwayServer> {
  const { job, node, image, argv, env, memoryBytes, binds, scratch, entrypoint, put } = request;
  const container = await docker.createContainer({
    ...nameJob(job, node),
    Image: image,
    ...(entrypoint === undefined ? {} : { Entrypoint: [...entrypoint], User: ROOT }),
    Cmd: [...argv],
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    HostConfig: {
      ...buildServerLimits(memoryBytes),
      Mounts: [
        ...binds.map(({ source, target }) => ({ Type: "bind", Source: source, Target: target, ReadOnly: true })),
        { Type: "volume", Target: scratch },
      ],
    },
  });
  if (put !== undefined) await pourInto(container, put);
  return startServer(container, exec);
}

async function runOneShot(docker: JobDocker, request: OneShotRequest): Promise<OutputRun> {
  const container = await docker.createContainer(buildBody(request));
  try {
    // Before the start, so that not a byte is missed; no TTY, which would change what is written.
    const takesInput = request.input !== undefined;
    const stream = await container.attach({
      stream: true,
      stdout: true,
      stderr: true,
      ...(takesInput ? { stdin: true, hijack: true } : {}),
    });
    // Asked for what is running, the engine answers at once for a container that is only made: with 0.
    const waited = container.wait({ condition: "next-exit" });
    waited.catch(() => undefined);
    await startGuarded(container, request.guard);
    if (takesInput) stream.write(request.input);
    if (takesInput && request.hold !== true) stream.end();
    return follow(container, stream, waited);
  } catch (error) {
    await removeJob(container).catch(() => undefined);
    throw error;
  }
}

/** Throws where the guard lets nothing of it run; whoever called it removes the container then. */
async function startGuarded(container: JobContainer, guard: StartGuard | undefined): Promise<void> {
  const start = async (): Promise<void> => void (await container.start());
  if (guard === undefined) return start();
  const findPid = async (): Promise<number> => (await container.inspect()).State.Pid ?? 0;
  const refused = await guard(container.id, { start, findPid });
  if (refused !== undefined) throw new EngineError(refused, 409);
}

function buildBody(request: OneShotRequest): Record<string, unknown> {
  const { job, node, image, argv, env, user, network, memoryBytes, binds, volumesOf, input } = request;
  const [program = "", ...parameters] = argv;
  return {
    ...nameJob(job, node),
    Image: image,
    Entrypoint: [program],
    Cmd: parameters,
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    ...(user === undefined ? {} : { User: user }),
    AttachStdout: true,
    AttachStderr: true,
    // Once whoever writes to it has gone, it ends: nothing is held longer than this process lives.
    ...(input === undefined ? {} : { AttachStdin: true, OpenStdin: true, StdinOnce: true }),
    HostConfig: {
      NetworkMode: network,
      Memory: memoryBytes,
      MemorySwap: memoryBytes,
      PidsLimit: PIDS,
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      // Reads what is another user's, and writes nothing.
      ...(volumesOf === undefined ? {} : { VolumesFrom: [`${volumesOf}:ro`], CapAdd: ["DAC_READ_SEARCH"] }),
      SecurityOpt: ["no-new-privileges"],
      // A dump on standard output would be written to disk a second time by any other driver.
      LogConfig: { Type: "none", Config: {} },
      RestartPolicy: { Name: "no" },
      Mounts: binds.map(({ source, target, readOnly }) => ({
        Type: "bind",
        Source: source,
        Target: target,
        ReadOnly: readOnly,
      })),
    },
  };
}

function follow(container: JobContainer, stream: Duplex, waited: Promise<{ StatusCode: number }>): OutputRun {
  const reading = readOutput(stream);
  const cancel = async (): Promise<void> => {
    reading.end();
    await removeJob(container);
  };
  const ended = (async () => {
    const { StatusCode } = await waited;
    await reading.done;
    // The engine's own record of it: what decides whether this is a backup is asked twice.
    const { State } = await container.inspect();
    const exitCode = State.ExitCode === 0 ? StatusCode : State.ExitCode;
    const outOfMemory = State.OOMKilled === true;
    await removeJob(container);
    return { exitCode, stderr: reading.stderr, outOfMemory };
  })();
  // Whoever cancels does not wait for it.
  ended.catch(() => undefined);
  return { output: reading.output, ended, cancel };
}
