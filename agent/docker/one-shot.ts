// One-shot containers beside the services: dumps, and later restores and checks. Each is capped, without privileges, and carries a
// label of its own; only what carries it is ever removed here. Given a dockerode instance by engine.ts; handed to backup/ alone.

import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";

import { call, callUnless } from "./call.ts";
import type { DockerExec } from "./reader.ts";
import { Demultiplexer } from "./streams.ts";

/** What tells such a container from a service's: the job that it belongs to. */
const JOB_LABEL = "orca.job";
/** The node whose agent made it. */
const JOB_NODE_LABEL = "orca.job.node";

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
}

/** A one-shot container that runs. */
interface OneShotRun {
  output: AsyncIterable<Uint8Array>;
  ended: Promise<{ exitCode: number; stderr: string; outOfMemory: boolean }>;
  cancel(): Promise<void>;
}

/** A throw-away server: a container that runs until it is removed. */
interface BoxRequest {
  job: string;
  node: string;
  image: string;
  /** Given to the image's own entrypoint. */
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  memoryBytes: number;
  binds: readonly { source: string; target: string }[];
  /** Where it keeps what it writes: a volume without a name that goes with it. */
  scratch: string;
}

/** One that runs. */
interface Box {
  run(argv: readonly string[], timeoutMs: number): Promise<{ exitCode: number; output: string }>;
  ranOutOfMemory(): Promise<boolean>;
  isRunning(): Promise<boolean>;
  remove(): Promise<void>;
}

/** Runs them. Every call may throw an `EngineError`. */
export interface OneShots {
  /** The id of the image that a container was made from: its reference may name another one by now. */
  findImage(container: string): Promise<string>;
  run(request: OneShotRequest): Promise<OneShotRun>;
  /** Starts a throw-away server without any network. */
  openBox(request: BoxRequest): Promise<Box>;
  /** Removes what an agent that was killed has left of a node's jobs; answers how many. */
  sweep(node: string): Promise<number>;
}

interface JobContainer {
  id: string;
  attach(options: object): Promise<Duplex>;
  start(): Promise<unknown>;
  wait(options: { condition: "next-exit" }): Promise<{ StatusCode: number }>;
  inspect(): Promise<{ Image: string; State: { ExitCode: number; OOMKilled?: boolean; Running?: boolean } }>;
  remove(options: object): Promise<unknown>;
}

/** The corner of dockerode that is needed here; only engine.ts knows the rest. */
interface JobDocker {
  createContainer(options: Record<string, unknown>): Promise<JobContainer>;
  listContainers(options: object): Promise<{ Id: string; Names: string[] }[]>;
  getContainer(id: string): JobContainer;
}

const NAME_START = "orca-job-";

/** `orca-job-verify-pg-db-1f2e3d4c`: people see whose it is. */
function nameJob(job: string): string {
  return `${NAME_START}${job.replaceAll(/[^A-Za-z0-9_.-]+/g, "-")}-${randomBytes(4).toString("hex")}`;
}

/** Such programs need few processes; one that forks without end is held. */
const PIDS = 64;
const STDERR_BYTES = 4_096;

/** Builds the one-shot half of the port. */
export function createOneShots(docker: JobDocker, exec: Pick<DockerExec, "run">): OneShots {
  return {
    findImage: (id) => call("inspect container", async () => (await docker.getContainer(id).inspect()).Image),
    run: (request) => call(`run ${request.job}`, () => runOneShot(docker, request)),
    openBox: (request) => call(`open ${request.job}`, () => openBox(docker, exec, request)),
    sweep: (node) =>
      call("sweep jobs", async () => {
        const filters = { label: [`${JOB_NODE_LABEL}=${node}`, JOB_LABEL] };
        const left = await docker.listContainers({ all: true, filters });
        // An image can bring labels of its own, and no name.
        const own = left.filter(({ Names }) => Names.some((name) => name.startsWith(`/${NAME_START}`)));
        for (const { Id } of own) await removeJob(docker.getContainer(Id));
        return own.length;
      }),
  };
}

/** What an entrypoint that hands its server to another user needs, and no more. */
const SERVER_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"];
const SERVER_PIDS = 256;

async function openBox(docker: JobDocker, exec: Pick<DockerExec, "run">, request: BoxRequest): Promise<Box> {
  const { job, node, image, argv, env, memoryBytes, binds, scratch } = request;
  const container = await docker.createContainer({
    name: nameJob(job),
    Image: image,
    Cmd: [...argv],
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    Labels: { [JOB_LABEL]: job, [JOB_NODE_LABEL]: node },
    HostConfig: {
      NetworkMode: "none",
      Memory: memoryBytes,
      MemorySwap: memoryBytes,
      PidsLimit: SERVER_PIDS,
      CapDrop: ["ALL"],
      CapAdd: SERVER_CAPABILITIES,
      SecurityOpt: ["no-new-privileges"],
      LogConfig: { Type: "none", Config: {} },
      RestartPolicy: { Name: "no" },
      Mounts: [
        ...binds.map(({ source, target }) => ({ Type: "bind", Source: source, Target: target, ReadOnly: true })),
        { Type: "volume", Target: scratch },
      ],
    },
  });
  try {
    await container.start();
  } catch (error) {
    await removeJob(container).catch(() => undefined);
    throw error;
  }
  return {
    run: (words, timeoutMs) => exec.run(container.id, words, timeoutMs),
    ranOutOfMemory: async () => (await container.inspect()).State.OOMKilled === true,
    isRunning: async () => (await container.inspect()).State.Running === true,
    remove: () => removeJob(container),
  };
}

async function runOneShot(docker: JobDocker, request: OneShotRequest): Promise<OneShotRun> {
  const container = await docker.createContainer(buildBody(request));
  try {
    // Before the start, so that not a byte is missed; no TTY, which would change what is written.
    const stream = await container.attach({ stream: true, stdout: true, stderr: true });
    // Asked for what is running, the engine answers at once for a container that is only made: with 0.
    const waited = container.wait({ condition: "next-exit" });
    waited.catch(() => undefined);
    await container.start();
    return follow(container, stream, waited);
  } catch (error) {
    await removeJob(container).catch(() => undefined);
    throw error;
  }
}

function buildBody(request: OneShotRequest): Record<string, unknown> {
  const { job, node, image, argv, env, user, network, memoryBytes, binds } = request;
  const [program = "", ...parameters] = argv;
  return {
    name: nameJob(job),
    Image: image,
    Entrypoint: [program],
    Cmd: parameters,
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    ...(user === undefined ? {} : { User: user }),
    Labels: { [JOB_LABEL]: job, [JOB_NODE_LABEL]: node },
    AttachStdout: true,
    AttachStderr: true,
    HostConfig: {
      NetworkMode: network,
      Memory: memoryBytes,
      MemorySwap: memoryBytes,
      PidsLimit: PIDS,
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
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

function follow(container: JobContainer, stream: Duplex, waited: Promise<{ StatusCode: number }>): OneShotRun {
  const frames = new Demultiplexer();
  let stderr = "";
  let drained: () => void = () => undefined;
  const read = new Promise<void>((resolve) => (drained = resolve));
  async function* output(): AsyncIterable<Uint8Array> {
    try {
      for await (const piece of stream as AsyncIterable<Buffer>) {
        for (const { stream: from, chunk } of frames.push(piece)) {
          if (from === "stdout") yield chunk;
          else stderr = (stderr + chunk.toString("utf8")).slice(-STDERR_BYTES);
        }
      }
    } finally {
      drained();
    }
  }
  const cancel = async (): Promise<void> => {
    stream.destroy();
    drained();
    await removeJob(container);
  };
  const ended = (async () => {
    const { StatusCode } = await waited;
    await read;
    // The engine's own record of it: what decides whether this is a backup is asked twice.
    const { State } = await container.inspect();
    const exitCode = State.ExitCode === 0 ? StatusCode : State.ExitCode;
    const outOfMemory = State.OOMKilled === true;
    await removeJob(container);
    return { exitCode, stderr, outOfMemory };
  })();
  // Whoever cancels does not wait for it.
  ended.catch(() => undefined);
  return { output: output(), ended, cancel };
}

/** With the volumes that it was given without a name; one that is gone is fine. */
async function removeJob(container: JobContainer): Promise<void> {
  await callUnless("remove job", [404], async () => {
    await container.remove({ force: true, v: true }).catch((error: unknown) => {
      // Somebody else removes it at this moment.
      if (!(error instanceof Error) || !/already in progress/.test(error.message)) throw error;
    });
    return true;
  });
}
