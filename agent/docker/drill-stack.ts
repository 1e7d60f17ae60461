// What a drill of a whole node needs of the engine: a network that leads nowhere, and containers like those of the services, of a job's label,
// with volumes of their own. Never has a service's volume, directory, port or label. Given a dockerode instance by engine.ts; handed to
// drill/ alone.

import { stat } from "node:fs/promises";

import { call, callUnless } from "./call.ts";
import { nameJob, removeJob } from "./throw-away-server.ts";

/** A container like a service's own. */
interface PartRequest {
  service: string;
  node: string;
  /** The service's container: image, environment, user, caps and files that it reads are the same. */
  like: string;
  network: string;
  /** The names it answers to there. */
  aliases: readonly string[];
  /** Where a backup will be put: these volumes begin empty, the others as the image has them. */
  filled: readonly string[];
  /** Volumes that parts before have already, by the name that the service's container has them by. */
  shared: ReadonlyMap<string, string>;
  /** Directories of the agent's own, below which its containers have files and secrets. */
  ownDirectories: readonly string[];
}

/** One that is made, and not started. */
export interface StackPart {
  id: string;
  /** Which volume it has in the place of which. */
  volumes: readonly { like: string; name: string; target: string }[];
  /** What of the service it does without. */
  without: readonly string[];
}

/** Every call may throw an `EngineError`. */
export interface DrillStack {
  /** Makes a network without a way out; answers its name. */
  openNetwork(node: string): Promise<string>;
  /** Makes a container; a text says why there can be none like it apart from the host. */
  makePart(request: PartRequest): Promise<StackPart | string>;
  start(id: string): Promise<void>;
  look(
    id: string,
    network: string,
  ): Promise<{ isRunning: boolean; exitCode: number; outOfMemory: boolean; address: string }>;
  /** With its volumes; one that is gone is fine. */
  removePart(id: string): Promise<void>;
  removeNetwork(name: string): Promise<void>;
}

interface PartContainer {
  id: string;
  start(): Promise<unknown>;
  inspect(): Promise<InspectedPart>;
  remove(options: object): Promise<unknown>;
}

type Words = string[] | null | undefined;

interface InspectedPart {
  Id: string;
  Image: string;
  State: { Running?: boolean; ExitCode: number; OOMKilled?: boolean };
  Config: {
    Env?: Words;
    Entrypoint?: Words;
    Cmd?: Words;
    User?: string;
    WorkingDir?: string;
    StopSignal?: string;
    Hostname?: string;
  };
  HostConfig: Record<string, unknown> & {
    NetworkMode?: string;
    PidMode?: string;
    IpcMode?: string;
    Privileged?: boolean;
    Devices?: unknown[] | null;
  };
  Mounts?: InspectedMount[] | null;
  NetworkSettings?: { Networks?: Record<string, { IPAddress?: string }> | null };
}

interface InspectedMount {
  Type: string;
  Name?: string;
  Source?: string;
  Destination: string;
  RW?: boolean;
}

/** The corner of dockerode that is needed here; only engine.ts knows the rest. */
interface StackDocker {
  createContainer(options: Record<string, unknown>): Promise<PartContainer>;
  getContainer(id: string): PartContainer;
  createNetwork(options: object): Promise<unknown>;
  getNetwork(name: string): { remove(): Promise<unknown> };
}

/** Builds the part of the port that drills have. */
export function createDrillStack(docker: StackDocker): DrillStack {
  return {
    openNetwork: (node) =>
      call("make network", async () => {
        const { name: Name, Labels } = nameJob("drill", node);
        await docker.createNetwork({ Name, Internal: true, Labels });
        return Name;
      }),
    makePart: (request) => call(`make a container like ${request.service}'s`, () => makePart(docker, request)),
    start: async (id) => void (await call("start container", () => docker.getContainer(id).start())),
    look: (id, network) =>
      call("inspect container", async () => {
        const { State, NetworkSettings } = await docker.getContainer(id).inspect();
        return {
          isRunning: State.Running === true,
          exitCode: State.ExitCode,
          outOfMemory: State.OOMKilled === true,
          address: NetworkSettings?.Networks?.[network]?.IPAddress ?? "",
        };
      }),
    removePart: (id) => removeJob(docker.getContainer(id)),
    removeNetwork: async (name) =>
      void (await callUnless(`remove network ${name}`, [404], () => docker.getNetwork(name).remove())),
  };
}

/** What the kernel ends first where memory runs out: never a service for a drill. */
const FIRST_TO_GO = 1_000;
/** Nobody has this address (RFC 5737): a name that is not in the drill is asked of nobody. */
const NO_RESOLVER = "192.0.2.1";
/** Of the service's container, as they are: caps, and what its programs may do inside. */
const KEPT = [
  "Memory",
  "MemorySwap",
  "NanoCpus",
  "CpuShares",
  "PidsLimit",
  "ShmSize",
  "Tmpfs",
  "ReadonlyRootfs",
  "Ulimits",
  "CapAdd",
  "CapDrop",
  "Init",
  "SecurityOpt",
  "Sysctls",
  "GroupAdd",
] as const;
/** The engine names a host after its container where nobody names it. */
const NAMELESS_HOST = /^[0-9a-f]{12}$/;

async function makePart(docker: StackDocker, request: PartRequest): Promise<StackPart | string> {
  const { service, node, network, aliases } = request;
  const like = await docker.getContainer(request.like).inspect();
  const refusal = refuseHost(like);
  if (refusal !== undefined) return refusal;
  const { mounts, without } = await chooseMounts(like.Mounts ?? [], request);
  const { Env, Entrypoint, Cmd, User, WorkingDir, StopSignal, Hostname = "" } = like.Config;
  const isAlone = like.HostConfig.NetworkMode === "none";
  const container = await docker.createContainer({
    ...nameJob(`drill:${service}`, node),
    Image: like.Image,
    Env: Env ?? [],
    ...(Entrypoint === null || Entrypoint === undefined ? {} : { Entrypoint }),
    Cmd: Cmd ?? [],
    User,
    WorkingDir,
    StopSignal,
    ...(NAMELESS_HOST.test(Hostname) || isAlone ? {} : { Hostname }),
    HostConfig: {
      ...Object.fromEntries(KEPT.map((key) => [key, like.HostConfig[key]])),
      NetworkMode: isAlone ? "none" : network,
      Dns: [NO_RESOLVER],
      OomScoreAdj: FIRST_TO_GO,
      LogConfig: { Type: "none", Config: {} },
      RestartPolicy: { Name: "no" },
      Mounts: mounts,
    },
    ...(isAlone ? {} : { NetworkingConfig: { EndpointsConfig: { [network]: { Aliases: [...aliases] } } } }),
  });
  const made = await container.inspect();
  const volumes = (like.Mounts ?? []).flatMap(({ Type, Name, Source, Destination: target }) => {
    const own = (made.Mounts ?? []).find((mount) => mount.Type === "volume" && mount.Destination === target);
    const known = (Type === "volume" ? Name : Source) ?? "";
    return own?.Name === undefined ? [] : [{ like: known, name: own.Name, target }];
  });
  return { id: container.id, volumes, without };
}

/** What reaches into the host is not made a second time. */
function refuseHost({ HostConfig }: InspectedPart): string | undefined {
  const { Privileged, NetworkMode = "", PidMode = "", IpcMode = "", Devices } = HostConfig;
  if (Privileged === true) return "it is privileged";
  if (NetworkMode === "host" || NetworkMode.startsWith("container:")) return "it has the network of the host";
  if (PidMode !== "") return "it sees the processes of the host";
  if (IpcMode === "host" || IpcMode.startsWith("container:")) return "it shares memory with the host";
  return (Devices ?? []).length > 0 ? "it has devices of the host" : undefined;
}

/** Volumes and directories of the host become volumes without a name, which go with the container. */
async function chooseMounts(
  own: readonly InspectedMount[],
  { filled, shared, ownDirectories }: PartRequest,
): Promise<{ mounts: object[]; without: string[] }> {
  const mounts: object[] = [];
  const without: string[] = [];
  for (const { Type, Name = "", Source = "", Destination: Target, RW } of own) {
    const isOwn = ownDirectories.some((directory) => Source.startsWith(`${directory}/`));
    if (Type === "bind" && Target === "/etc/hosts") continue;
    if (Type === "bind" && RW === false && (isOwn || (await isPlainFile(Source)))) {
      mounts.push({ Type: "bind", Source, Target, ReadOnly: true });
      continue;
    }
    const known = Type === "volume" ? Name : Source;
    const volume = shared.get(known);
    if (Type === "bind" && !(await isDirectory(Source))) without.push(Source);
    else if (volume !== undefined) mounts.push({ Type: "volume", Source: volume, Target });
    else if (Type === "volume" || Type === "bind") {
      // A directory of the host that no backup fills is empty here.
      if (Type === "bind" && !filled.includes(Target)) without.push(Source);
      mounts.push({ Type: "volume", Target, VolumeOptions: { NoCopy: filled.includes(Target) } });
    }
  }
  return { mounts, without };
}

async function isPlainFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
