// Containers that receive a store's log beside its server, until they are removed: capped, without privileges, with one directory of this
// host. They carry the labels of jobs and one more, so that what sweeps jobs leaves them. Given a dockerode instance by engine.ts; handed
// to backup/ alone.

import { call, callUnless } from "./call.ts";
import type { DockerExec, DockerReader } from "./reader.ts";
import { JOB_LABEL, JOB_NODE_LABEL, RECEIVER_LABEL } from "./job-label.ts";
import { nameJob, removeJob } from "./throw-away-server.ts";

/** One that is to be started. */
interface ReceiverRequest {
  /** Names the job: `wal:SERVICE/STORE`. */
  job: string;
  node: string;
  /** The image's id or reference; it must be on this host. */
  image: string;
  /** The program and its arguments, without a shell; the image's entrypoint is not used. */
  argv: readonly string[];
  /** Nothing secret. */
  env: Readonly<Record<string, string>>;
  user: string;
  /** The container whose network it shares. */
  server: string;
  memoryBytes: number;
  binds: readonly { source: string; target: string; readOnly: boolean }[];
}

/** One that was started. */
export interface Receiver {
  /** Undefined while it runs; how it ended, with the last that it printed. */
  findEnd(): Promise<{ exitCode: number; said: string } | undefined>;
  /** Runs a short program in it, with its environment. */
  run(argv: readonly string[], timeoutMs: number): Promise<{ exitCode: number; output: string }>;
  /** One that is gone is fine. */
  remove(): Promise<void>;
}

/** Every call may throw an `EngineError`. */
export interface Receivers {
  start(request: ReceiverRequest): Promise<Receiver>;
  /** Removes all of a node's, as an agent that was killed has left them. */
  sweep(node: string): Promise<void>;
}

interface ReceiverContainer {
  id: string;
  start(): Promise<unknown>;
  inspect(): Promise<{ State: { ExitCode: number; Running?: boolean } }>;
  remove(options: object): Promise<unknown>;
}

/** The corner of dockerode that is needed here; only engine.ts knows the rest. */
interface ReceiverDocker {
  createContainer(options: Record<string, unknown>): Promise<ReceiverContainer>;
  listContainers(options: object): Promise<{ Id: string }[]>;
  getContainer(id: string): ReceiverContainer;
}

/** The program, and what asks the server beside it. */
const PIDS = 16;
const SAID_LINES = 3;
const GONE = { exitCode: -1, said: "its container is gone" };

/** Builds that part of the port. */
export function createReceivers(
  docker: ReceiverDocker,
  exec: Pick<DockerExec, "run">,
  reader: Pick<DockerReader, "tailLogs">,
): Receivers {
  return {
    start: (request) =>
      call(`start ${request.job}`, async () => {
        const container = await docker.createContainer(buildBody(request));
        try {
          await container.start();
        } catch (error) {
          await removeJob(container).catch(() => undefined);
          throw error;
        }
        return {
          findEnd: () => findEnd(container, reader),
          run: (argv, timeoutMs) => exec.run(container.id, argv, timeoutMs),
          remove: () => removeJob(container),
        };
      }),
    sweep: (node) =>
      call("sweep receivers", async () => {
        const filters = { label: [`${JOB_NODE_LABEL}=${node}`, JOB_LABEL, RECEIVER_LABEL] };
        for (const { Id } of await docker.listContainers({ all: true, filters }))
          await removeJob(docker.getContainer(Id));
      }),
  };
}

async function findEnd(
  container: ReceiverContainer,
  reader: Pick<DockerReader, "tailLogs">,
): Promise<{ exitCode: number; said: string } | undefined> {
  const found = await callUnless("inspect receiver", [404], () => container.inspect());
  if (found === undefined) return GONE;
  if (found.State.Running === true) return undefined;
  const lines = await reader.tailLogs(container.id, SAID_LINES).catch(() => []);
  return { exitCode: found.State.ExitCode, said: lines.join(" ").trim() };
}

function buildBody(request: ReceiverRequest): Record<string, unknown> {
  const { job, node, image, argv, env, user, server, memoryBytes, binds } = request;
  const [program = "", ...parameters] = argv;
  const { name, Labels } = nameJob(job, node);
  return {
    name,
    Labels: { ...Labels, [RECEIVER_LABEL]: "wal" },
    Image: image,
    Entrypoint: [program],
    Cmd: parameters,
    Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
    User: user,
    HostConfig: {
      NetworkMode: `container:${server}`,
      Memory: memoryBytes,
      MemorySwap: memoryBytes,
      PidsLimit: PIDS,
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      LogConfig: { Type: "local", Config: { "max-size": "1m", "max-file": "1", compress: "false" } },
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
