// What a restore into place needs of the engine: a new volume beside the old one, and what fills it without any network: a twin of the
// service's own container, or the engine itself from an archive. Only a volume that a restore has made is ever removed here, and never
// one that a container has. Given a dockerode instance by engine.ts; handed to backup/ alone.

import { LABEL } from "../../shared/state/identity.ts";
import { call, callUnless } from "./call.ts";
import { JOB_LABEL, JOB_NODE_LABEL } from "./job-label.ts";
import type { DockerExec } from "./reader.ts";
import {
  type Archived,
  buildServerLimits,
  nameJob,
  pourInto,
  removeJob,
  startServer,
  type ThrowAwayServer,
} from "./throw-away-server.ts";

/** A volume of a container. */
interface MountShape {
  kind: "volume" | "bind" | "other";
  /** The volume's name, or the path of this host. */
  source: string;
  target: string;
  readOnly: boolean;
}

/** What a service's container was made from. It holds values of secrets: it is kept in memory and never shown. */
export interface ContainerShape {
  image: string;
  entrypoint: readonly string[];
  command: readonly string[];
  env: Readonly<Record<string, string>>;
  user: string;
  mounts: readonly MountShape[];
  shmSizeBytes: number;
}

/** A volume that is filled, and where the service has it. */
interface FilledVolume {
  /** Undefined for one that goes with its container. */
  name: string | undefined;
  target: string;
}

/** A server like the service's own, with a new volume in place of its data. */
interface TwinRequest {
  job: string;
  node: string;
  /** The service's container: image, environment, user and files that it reads are the same. */
  shape: ContainerShape;
  /** In place of the service's own, and beside them. */
  command: readonly string[];
  env: Readonly<Record<string, string>>;
  volume: FilledVolume;
  /** The volume begins with what the image has at its target, as the service's own did: its owner is the image's. */
  asImage?: boolean;
  /** Put there before it is started. */
  put?: Archived | undefined;
  /** Mounts of the service that the twin must not have, by the start of their targets. */
  without: readonly string[];
  binds: readonly { source: string; target: string }[];
  memoryBytes: number;
}

/** Volumes that the engine fills from a tar, whose names are the paths in the service's container. */
interface UnpackRequest {
  job: string;
  node: string;
  /** Of the service: nothing of it is run. */
  image: string;
  volumes: readonly FilledVolume[];
  archive: AsyncIterable<Uint8Array>;
  /** Looks into what came of it, file by file. */
  look: (read: (path: string) => Promise<AsyncIterable<Uint8Array>>) => Promise<void>;
}

/** One that runs; what is removed with it is all but the volume that it has filled. */
interface Twin extends ThrowAwayServer {
  /** The processes of this host that run a program in it. */
  listProcesses(program: string): Promise<number[]>;
  /** Ends it as its image says; answers its exit code. */
  stop(timeoutMs: number): Promise<number>;
  /** Whose a directory in it is. */
  findOwner(directory: string): Promise<{ uid: number; gid: number }>;
}

/** Every call may throw an `EngineError`. */
export interface Restores {
  /** Makes a generation of a volume. Throws where something has that name. */
  createVolume(request: { name: string; of: string; node: string; service: string }): Promise<void>;
  /** Removes a generation that was never in force; one that is gone is fine, one that a restore has not made is refused. */
  discardVolume(name: string, node: string): Promise<void>;
  /** Undefined when there is no such container. */
  readShape(container: string): Promise<ContainerShape | undefined>;
  openTwin(request: TwinRequest): Promise<Twin>;
  /** Fills volumes from a tar, with its owners, modes and attributes. */
  unpack(request: UnpackRequest): Promise<void>;
}

interface TwinContainer {
  id: string;
  start(): Promise<unknown>;
  stop(options: { t: number }): Promise<unknown>;
  top(): Promise<{ Titles: string[]; Processes: string[][] }>;
  inspect(): Promise<InspectedShape>;
  remove(options: object): Promise<unknown>;
  getArchive(options: { path: string }): Promise<NodeJS.ReadableStream>;
  putArchive(archive: NodeJS.ReadableStream, options: { path: string }): Promise<unknown>;
}

interface InspectedShape {
  Image: string;
  State: { ExitCode: number; OOMKilled?: boolean; Running?: boolean };
  Config: { Env?: string[] | null; Entrypoint?: string[] | null; Cmd?: string[] | null; User?: string };
  HostConfig: { ShmSize?: number };
  Mounts?: { Type: string; Name?: string; Source?: string; Destination: string; RW?: boolean }[] | null;
}

/** The corner of dockerode that is needed here; only engine.ts knows the rest. */
interface RestoreDocker {
  createVolume(options: object): Promise<unknown>;
  getVolume(name: string): {
    inspect(): Promise<{ Labels?: Record<string, string> | null }>;
    remove(): Promise<unknown>;
  };
  createContainer(options: Record<string, unknown>): Promise<TwinContainer>;
  getContainer(id: string): TwinContainer;
  listContainers(options: object): Promise<{ Id: string }[]>;
}

/** Builds the part of the port that restores have. */
export function createRestores(docker: RestoreDocker, exec: Pick<DockerExec, "run">): Restores {
  const readLabels = (name: string) =>
    callUnless("inspect volume", [404], async () => (await docker.getVolume(name).inspect()).Labels ?? {});
  return {
    createVolume: async ({ name, of, node, service }) => {
      if ((await readLabels(name)) !== undefined) throw new Error(`make volume ${name}: something has that name`);
      const labels = { [LABEL.node]: node, [LABEL.service]: service, [LABEL.volume]: of };
      await call(`make volume ${name}`, () => docker.createVolume({ Name: name, Labels: labels }));
    },
    discardVolume: async (name, node) => {
      const labels = await readLabels(name);
      if (labels === undefined) return;
      if (labels[LABEL.node] !== node || labels[LABEL.volume] === undefined)
        throw new Error(`remove volume ${name}: no restore of this node has made it`);
      // What an agent that was killed has left fills it still; nobody else's container is ended for it.
      for (const id of await listTwins(docker, name, node)) await removeJob(docker.getContainer(id));
      // The engine itself refuses one that a container has.
      await callUnless(`remove volume ${name}`, [404], () => docker.getVolume(name).remove());
    },
    readShape: (container) =>
      callUnless("inspect container", [404], async () => mapShape(await docker.getContainer(container).inspect())),
    openTwin: (request) => call(`open ${request.job}`, () => openTwin(docker, exec, request)),
    unpack: (request) => call(`unpack ${request.job}`, () => unpack(docker, request)),
  };
}

/** The twins that have a volume. */
async function listTwins(docker: RestoreDocker, volume: string, node: string): Promise<string[]> {
  const filters = { label: [`${JOB_NODE_LABEL}=${node}`, JOB_LABEL], volume: [volume] };
  return (await docker.listContainers({ all: true, filters })).map(({ Id }) => Id);
}

function mapShape({ Image, Config, HostConfig, Mounts }: InspectedShape): ContainerShape {
  const env = (Config.Env ?? []).map((line): [string, string] => {
    const at = line.indexOf("=");
    return at === -1 ? [line, ""] : [line.slice(0, at), line.slice(at + 1)];
  });
  return {
    image: Image,
    entrypoint: Config.Entrypoint ?? [],
    command: Config.Cmd ?? [],
    env: Object.fromEntries(env),
    user: Config.User ?? "",
    shmSizeBytes: HostConfig.ShmSize ?? 0,
    mounts: (Mounts ?? []).map(({ Type, Name = "", Source = "", Destination, RW }) => ({
      kind: Type === "volume" || Type === "bind" ? Type : "other",
      source: Type === "volume" ? Name : Source,
      target: Destination,
      readOnly: RW === false,
    })),
  };
}

async function openTwin(docker: RestoreDocker, exec: Pick<DockerExec, "run">, request: TwinRequest): Promise<Twin> {
  const container = await docker.createContainer(buildBody(request));
  const { put } = request;
  if (put !== undefined) await pourInto(container, put);
  // A file of the agent's, which nobody else may read, is read by its programs all the same.
  const server = await startServer(container, {
    run: (id, argv, timeoutMs) => exec.run(id, argv, timeoutMs, ROOT),
  });
  return {
    ...server,
    listProcesses: async (program) => {
      const { Titles, Processes } = await container.top();
      const [pid, command] = [Titles.indexOf("PID"), Titles.length - 1];
      return Processes.filter((row) => row[command]?.startsWith(program) === true).map((row) => Number(row[pid]));
    },
    stop: async (timeoutMs) => {
      await callUnless("stop container", [304], () => container.stop({ t: Math.ceil(timeoutMs / 1_000) }));
      return (await container.inspect()).State.ExitCode;
    },
    findOwner: async (directory) => {
      const { readOwner } = await import("./archive.ts");
      return readOwner(await container.getArchive({ path: directory }));
    },
  };
}

const ROOT = "0:0";

/** By a container that is never started: the engine writes what it is given into that one's volumes, and nothing beside them is kept. */
async function unpack(docker: RestoreDocker, request: UnpackRequest): Promise<void> {
  const { job, node, image, volumes, archive, look } = request;
  const container = await docker.createContainer({
    ...nameJob(job, node),
    Image: image,
    // An image may have nothing that it runs.
    Entrypoint: ["none"],
    Cmd: [],
    HostConfig: { NetworkMode: "none", Mounts: volumes.map((volume) => mountVolume(volume, false)) },
  });
  await pourInto(container, { directory: "/", archive });
  try {
    const { openArchivedFile } = await import("./archive.ts");
    await look(async (path) => openArchivedFile(await container.getArchive({ path })));
  } finally {
    await removeJob(container);
  }
}

function mountVolume({ name, target }: FilledVolume, asImage: boolean): object {
  const own = { Type: "volume", Target: target, VolumeOptions: { NoCopy: !asImage } };
  return name === undefined ? own : { ...own, Source: name };
}

function buildBody(request: TwinRequest): Record<string, unknown> {
  const { job, node, shape, command, env, volume, asImage = false, without, binds, memoryBytes } = request;
  return {
    ...nameJob(job, node),
    Image: shape.image,
    Entrypoint: [...shape.entrypoint],
    Cmd: [...command],
    Env: Object.entries({ ...shape.env, ...env }).map(([name, value]) => `${name}=${value}`),
    User: shape.user,
    HostConfig: {
      ...buildServerLimits(memoryBytes),
      ...(shape.shmSizeBytes > 0 ? { ShmSize: shape.shmSizeBytes } : {}),
      Mounts: [
        mountVolume(volume, asImage),
        ...selectRead(shape, [volume.target, ...without]),
        ...binds.map(({ source, target }) => ({ Type: "bind", Source: source, Target: target, ReadOnly: true })),
      ],
    },
  };
}

/** What the service reads: its files and secrets. What it writes to is not the twin's. */
function selectRead({ mounts }: ContainerShape, without: readonly string[]): object[] {
  const isOut = (target: string): boolean => without.some((at) => target === at || target.startsWith(`${at}/`));
  return mounts
    .filter(({ kind, readOnly, target }) => kind === "bind" && readOnly && !isOut(target))
    .map(({ source, target }) => ({ Type: "bind", Source: source, Target: target, ReadOnly: true }));
}
