// The one implementation of the Docker port for a real engine, and the only file that imports dockerode.
// Knows what the engine's answers mean (304 is "already so", 404 is "gone"); decides nothing.

import { Agent, request as openRequest } from "node:http";
import { inspect } from "node:util";

import Docker from "dockerode";

import { LABEL, type OwnContainerId } from "../../shared/state/identity.ts";
import { type BundledImages, createBundledImages } from "./bundled-images.ts";
import { call, callUnless } from "./call.ts";
import { createExec } from "./container-exec.ts";
import { createDrillStack, type DrillStack } from "./drill-stack.ts";
import { createOneShots, type OneShots } from "./one-shot.ts";
import { createEphemeralVolumes, type EphemeralVolumes } from "./ephemeral-volumes.ts";
import { type FindImageId, knowImages } from "./known-images.ts";
import { createPruner, type Pruner } from "./pruner.ts";
import { createReceivers, type Receivers } from "./receivers.ts";
import { createRestores, type Restores } from "./restores.ts";
import {
  buildCaps,
  buildCreateBody,
  type InspectJson,
  type ListJson,
  mapContainer,
  mapDetail,
  mapGenerations,
  mapNetwork,
  mapVolume,
  type NetworkJson,
  type VolumeJson,
} from "./mapping.ts";
import { type DockerExec, type DockerReader, EngineError, type FollowOptions, LONGEST_LINE } from "./reader.ts";
import { demultiplex, readEvents, readPull, readWhole } from "./streams.ts";
import type { DockerWriter } from "./writer.ts";

/** One engine, in the parts that different parts of the agent are given. */
export interface Engine {
  reader: DockerReader;
  writer: DockerWriter;
  exec: DockerExec;
  oneShots: OneShots;
  receivers: Receivers;
  pruner: Pruner;
  ephemeral: EphemeralVolumes;
  restores: Restores;
  drillStack: DrillStack;
  bundledImages: BundledImages;
  /** Calls made so far, by what they do. */
  calls(): Readonly<Record<string, number>>;
  close(): void;
}

/** The events that can change what a plan says; exec events of probes are left out on purpose. */
const WATCHED_ACTIONS = [
  "start",
  "die",
  "oom",
  "kill",
  "stop",
  "destroy",
  "update",
  "rename",
  "pause",
  "unpause",
  "create",
  "connect",
  "disconnect",
];

/** An engine that has not answered a new connection by then does not take any. */
const ACCEPT_MS = 2_000;

/**
 * dockerode's transport describes each call with `util.inspect`, without limit, although nobody reads it: a connection
 * pool in full was half of a turn's CPU.
 */
class QuietAgent extends Agent {
  [inspect.custom](): string {
    return "Agent";
  }
}

/**
 * Opens an engine by its socket. Nothing is sent until the first call.
 * @param socketPath the engine's unix socket
 * @param cgroupParent the slice that every container goes into which is made here; no part of a spec, so none is made anew for it
 * @param findImageId finds the id of an image that the engine does not know by its reference, as of those that came with a bundle
 */
export function openEngine(socketPath: string, cgroupParent?: string, findImageId?: FindImageId): Engine {
  const agent = new QuietAgent({ keepAlive: true, keepAliveMsecs: 30_000, maxFreeSockets: 12 });
  // The types of dockerode leave `agent` out; its transport takes one and keeps connections open with it.
  const docker = new Docker({ socketPath, agent } as Docker.DockerOptions);
  if (cgroupParent !== undefined) placeContainers(docker, cgroupParent);
  if (findImageId !== undefined) knowImages(docker, findImageId);
  const calls: Record<string, number> = {};
  const exec = createExec(docker);
  const reader = createReader(docker);
  return {
    reader: count({ ...reader, accepts: () => acceptsCalls(socketPath) }, calls),
    writer: count(createWriter(docker), calls),
    exec: count(exec, calls),
    oneShots: count(createOneShots(docker as unknown as Parameters<typeof createOneShots>[0], exec), calls),
    receivers: count(createReceivers(docker as unknown as Parameters<typeof createReceivers>[0], exec, reader), calls),
    pruner: count(createPruner(docker as unknown as Parameters<typeof createPruner>[0]), calls),
    ephemeral: count(createEphemeralVolumes(docker as unknown as Parameters<typeof createEphemeralVolumes>[0]), calls),
    restores: count(createRestores(docker as unknown as Parameters<typeof createRestores>[0], exec), calls),
    drillStack: count(createDrillStack(docker as unknown as Parameters<typeof createDrillStack>[0]), calls),
    bundledImages: count(createBundledImages(docker as unknown as Parameters<typeof createBundledImages>[0]), calls),
    calls: () => calls,
    close: () => agent.destroy(),
  };
}

/** Services, fronts, jobs and throw-away servers: whoever makes a container goes through this one call. */
function placeContainers(docker: Docker, cgroupParent: string): void {
  const create = docker.createContainer.bind(docker) as (
    options: Docker.ContainerCreateOptions,
  ) => Promise<Docker.Container>;
  const placed = (options: Docker.ContainerCreateOptions): Promise<Docker.Container> =>
    create({ ...options, HostConfig: { ...options.HostConfig, CgroupParent: cgroupParent } });
  docker.createContainer = placed as typeof docker.createContainer;
}

/** Counts the calls of one half of the port, by name. */
function count<T extends object>(part: T, calls: Record<string, number>): T {
  const counted = Object.entries(part).map(([name, work]: [string, (...parameters: unknown[]) => unknown]) => [
    name,
    (...parameters: unknown[]): unknown => {
      calls[name] = (calls[name] ?? 0) + 1;
      return work(...parameters);
    },
  ]);
  return Object.fromEntries(counted) as T;
}

/** An engine that goes down answers on the connections that it has, and takes no new ones. */
function acceptsCalls(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = openRequest({ socketPath, path: "/_ping", agent: false, timeout: ACCEPT_MS }, (answer) => {
      answer.resume();
      resolve(true);
    });
    asked.on("timeout", () => asked.destroy(new Error("no answer")));
    asked.on("error", () => resolve(false));
    asked.end();
  });
}

function createReader(docker: Docker): Omit<DockerReader, "accepts"> {
  return {
    info: () =>
      call("read engine info", async () => {
        const info = (await docker.info()) as {
          ID: string;
          ServerVersion: string;
          CgroupVersion?: string;
          DockerRootDir: string;
        };
        const cgroupVersion = info.CgroupVersion === "2" ? "2" : "1";
        return { id: info.ID, version: info.ServerVersion, cgroupVersion, rootDir: info.DockerRootDir };
      }),
    listContainers: () =>
      call("list containers", async () =>
        ((await docker.listContainers({ all: true })) as unknown as ListJson[]).map(mapContainer),
      ),
    inspectContainer: (id) =>
      callUnless("inspect container", [404], async () =>
        mapDetail((await docker.getContainer(id).inspect()) as unknown as InspectJson),
      ),
    listNetworks: () =>
      call("list networks", async () => ((await docker.listNetworks()) as unknown as NetworkJson[]).map(mapNetwork)),
    inspectVolume: (name) =>
      callUnless("inspect volume", [404], async () =>
        mapVolume((await docker.getVolume(name).inspect()) as unknown as VolumeJson),
      ),
    listGenerations: (node) =>
      call("list volumes", async () => {
        const filters = { label: [`${LABEL.node}=${node}`, LABEL.volume] };
        const { Volumes } = await docker.listVolumes({ filters: JSON.stringify(filters) } as object);
        return mapGenerations(Volumes ?? []);
      }),
    findImage: (reference) =>
      callUnless("inspect image", [404], async () => (await docker.getImage(reference).inspect()).Id),
    listImageVolumes: (reference) =>
      callUnless("inspect image", [404], async () => {
        const image = (await docker.getImage(reference).inspect()) as { Config?: { Volumes?: object | null } | null };
        return Object.keys(image.Config?.Volumes ?? {}).toSorted();
      }),
    readFile: (id, path) =>
      callUnless("read file in container", [404], async () => {
        const { readArchivedFile } = await import("./archive.ts");
        return readArchivedFile((at) => docker.getContainer(id).getArchive({ path: at }), path);
      }),
    ...createLogReader(docker),
    watchEvents: (options) =>
      call("watch events", async () => {
        const stream = await docker.getEvents({
          ...(options.sinceMs === undefined ? {} : { since: options.sinceMs / 1_000 }),
          filters: { type: ["container", "network"], event: WATCHED_ACTIONS },
          abortSignal: options.signal,
        });
        options.onOpen();
        await readEvents(stream, options);
      }),
  };
}

function createLogReader(docker: Docker): Pick<DockerReader, "tailLogs" | "followLogs"> {
  return {
    tailLogs: (id, lines) =>
      call("read logs", async () => {
        const raw = await docker.getContainer(id).logs({ stdout: true, stderr: true, tail: lines, follow: false });
        const text = demultiplex(raw)
          .map((frame) => frame.chunk.toString("utf8"))
          .join("");
        return text
          .split("\n")
          .filter((line) => line !== "")
          .slice(-lines)
          .map((line) => line.slice(0, LONGEST_LINE));
      }),
    followLogs: (id, options) =>
      call("follow logs", async () => {
        await readWhole(await openLogs(docker, id, options), options);
      }),
  };
}

/** The log as a stream. dockerode's own call reads one that is not followed as a whole into memory. */
function openLogs(docker: Docker, id: string, { tail, follow, signal }: FollowOptions): Promise<NodeJS.ReadableStream> {
  const request = {
    path: `/containers/${id}/logs?`,
    method: "GET",
    isStream: true,
    abortSignal: signal,
    statusCodes: { 200: true, 404: "no such container", 500: "server error" },
    options: { stdout: true, stderr: true, tail, follow },
  };
  const modem = docker.modem as {
    dial(request: object, done: (error: Error | null, stream: NodeJS.ReadableStream) => void): void;
  };
  return new Promise((resolve, reject) => {
    modem.dial(request, (error, stream) => (error ? reject(error) : resolve(stream)));
  });
}

function createWriter(docker: Docker): DockerWriter {
  return {
    pullImage: (reference, options) =>
      call("pull image", async () => {
        const named = /[:@][^/]+$/.test(reference) ? reference : `${reference}:latest`;
        const auth = options.auth === undefined ? {} : { authconfig: options.auth };
        const stream = await docker.pull(named, { ...auth, abortSignal: options.signal });
        await readPull(stream, options);
      }),
    createContainer: (request) =>
      call("create container", async () => {
        const created = await docker.createContainer(buildCreateBody(request));
        return created.id as OwnContainerId;
      }),
    startContainer: async (id) => {
      await callUnless("start container", [304], () => docker.getContainer(id).start());
    },
    unpauseContainer: async (id) => {
      await call("unpause container", () => docker.getContainer(id).unpause());
    },
    renameContainer: async (id, name) => {
      const container = docker.getContainer(id);
      const { Name: before } = await call("inspect container", () => container.inspect());
      if (before.replace(/^\//, "") !== name) await call("rename container", () => container.rename({ name }));
    },
    stopContainer: async (id, timeoutMs) => {
      const options = timeoutMs === undefined ? {} : { t: Math.ceil(timeoutMs / 1_000) };
      await callUnless("stop container", [304, 404], () => docker.getContainer(id).stop(options));
    },
    signalContainer: async (id, signal) => {
      await call("signal container", () => docker.getContainer(id).kill({ signal }));
    },
    removeContainer: async (id) => {
      await callUnless("remove container", [404], () => docker.getContainer(id).remove({ force: true, v: false }));
    },
    updateCaps: async (id, caps) => {
      await call("update caps", () =>
        docker.getContainer(id).update({ ...buildCaps(caps), RestartPolicy: { Name: "no" } }),
      );
    },
    ...createNetworkWriter(docker),
    createVolume: async (request) => {
      const { name, node, service, ephemeral } = request;
      const kind = ephemeral === undefined ? {} : { [LABEL.ephemeral]: ephemeral };
      const labels = { [LABEL.node]: node, [LABEL.service]: service, ...kind };
      await call("create volume", () => docker.createVolume({ Name: name, Labels: labels }));
    },
  };
}

function createNetworkWriter(docker: Docker): Pick<DockerWriter, "createNetwork" | "connectNetwork" | "removeNetwork"> {
  return {
    createNetwork: async (request) => {
      const ipam =
        request.subnet === undefined ? {} : { IPAM: { Driver: "default", Config: [{ Subnet: request.subnet }] } };
      await callUnless("create network", [409], () =>
        docker.createNetwork({
          Name: request.name,
          CheckDuplicate: true,
          Internal: request.internal,
          Labels: { [LABEL.node]: request.node },
          ...ipam,
        }),
      );
    },
    connectNetwork: async (network, id, aliases) => {
      const body = { Container: id, EndpointConfig: { Aliases: [...aliases] } };
      try {
        await call("connect network", () => docker.getNetwork(network).connect(body));
      } catch (error) {
        // It is on this network already.
        if (!(error instanceof EngineError) || error.fault !== "endpoint-left") throw error;
      }
    },
    removeNetwork: async (name) => {
      await callUnless("remove network", [404], () => docker.getNetwork(name).remove());
    },
  };
}
