// From the engine's JSON to the port's types and back. Pure; only engine.ts uses it.
// `docker inspect` reports defaults as "" or 0 or "no": everything is normalised here, once.

import { nameContainerImage } from "./known-images.ts";
import { type Caps, type ContainerSpec, listAliases } from "../../shared/state/container-spec.ts";
import { LABEL } from "../../shared/state/identity.ts";
import { DEFAULT_ROTATION } from "../../shared/manifest/manifest-log.ts";
import { compareText } from "../../shared/text/problem.ts";
import { parsePublishedPort } from "../../shared/manifest/published-port.ts";
import type { ContainerDetail, ContainerRow, EngineEvent, NetworkRow, VolumeRow } from "./reader.ts";
import type { CreateRequest } from "./writer.ts";

/** The parts of the engine's container list that are read. */
export interface ListJson {
  Id: string;
  Names?: string[];
  Image: string;
  Labels?: Record<string, string> | null;
  State: string;
  Ports?: { IP?: string; PrivatePort: number; PublicPort?: number; Type: string }[] | null;
  Mounts?: MountJson[] | null;
  NetworkSettings?: NetworkSettingsJson;
}

type MountJson = { Type: string; Name?: string; Source?: string; Destination: string; RW?: boolean };
type NetworkSettingsJson = { Networks?: Record<string, { IPAddress?: string }> | null } | null;

/** The parts of a container's inspection that are read. */
export interface InspectJson {
  Id: string;
  State: { StartedAt: string; FinishedAt: string; ExitCode: number; OOMKilled: boolean; Pid: number; Status: string };
  HostConfig: {
    Memory?: number;
    NanoCpus?: number;
    CpuShares?: number;
    PidsLimit?: number | null;
    RestartPolicy?: { Name?: string } | null;
  };
  Config: { Image: string; User?: string; Labels?: Record<string, string> | null };
  Mounts?: MountJson[] | null;
  NetworkSettings?: NetworkSettingsJson;
}

const STATES: ReadonlySet<string> = new Set([
  "created",
  "running",
  "paused",
  "restarting",
  "exited",
  "removing",
  "dead",
]);

export function mapContainer(json: ListJson): ContainerRow {
  return {
    id: json.Id,
    name: (json.Names?.[0] ?? "").replace(/^\//, ""),
    image: nameContainerImage(json.Image, json.Labels),
    labels: json.Labels ?? {},
    status: mapStatus(json.State),
    networks: mapAddresses(json.NetworkSettings),
    ports: (json.Ports ?? [])
      .filter((port) => port.PublicPort !== undefined)
      .map(({ IP, PublicPort, PrivatePort, Type }) => `${mapPublished(IP)}${PublicPort}:${PrivatePort}/${Type}`),
    writes: (json.Mounts ?? [])
      .flatMap(({ Type, Name, Source, RW }) => (RW === false ? [] : [(Type === "volume" ? Name : Source) ?? ""]))
      .filter((data) => data !== "")
      .toSorted(compareText),
  };
}

function mapPublished(address: string | undefined): string {
  if (address === undefined || address === "") return "";
  return address.includes(":") ? `[${address}]:` : `${address}:`;
}

function mapStatus(text: string): ContainerRow["status"] {
  return STATES.has(text) ? (text as ContainerRow["status"]) : "dead";
}

function mapAddresses(json: NetworkSettingsJson | undefined): Record<string, string> {
  const networks: Record<string, string> = {};
  for (const [name, network] of Object.entries(json?.Networks ?? {})) networks[name] = network.IPAddress ?? "";
  return networks;
}

/** The name that the engine gives to a volume that was not given one. */
const NAMELESS = /^[0-9a-f]{64}$/;

export function mapDetail(json: InspectJson): ContainerDetail {
  const host = json.HostConfig;
  const ended = json.State.Status === "exited" || json.State.Status === "dead";
  return {
    id: json.Id,
    status: mapStatus(json.State.Status),
    networks: mapAddresses(json.NetworkSettings),
    startedMs: mapTime(json.State.StartedAt),
    finishedMs: mapTime(json.State.FinishedAt),
    exitCode: ended ? json.State.ExitCode : undefined,
    oomKilled: json.State.OOMKilled,
    pid: json.State.Pid,
    caps: {
      memoryBytes: host.Memory ?? 0,
      nanoCpus: host.NanoCpus ?? 0,
      cpuShares: host.CpuShares ?? 0,
      pids: host.PidsLimit ?? 0,
    },
    restartPolicy: host.RestartPolicy?.Name === "" ? "no" : (host.RestartPolicy?.Name ?? "no"),
    image: nameContainerImage(json.Config.Image, json.Config.Labels),
    ownVolumes: (json.Mounts ?? [])
      .filter(({ Type, Name }) => Type === "volume" && NAMELESS.test(Name ?? ""))
      .map(({ Name = "", Destination }) => ({ name: Name, target: Destination }))
      .toSorted((left, right) => compareText(left.target, right.target)),
    user: json.Config.User ?? "",
  };
}

/** The engine writes the zero time of Go for "never". */
function mapTime(text: string): number | undefined {
  const time = Date.parse(text);
  return Number.isNaN(time) || text.startsWith("0001-") ? undefined : time;
}

/** The parts of a network that are read. */
export interface NetworkJson {
  Id: string;
  Name: string;
  Labels?: Record<string, string> | null;
  Internal?: boolean;
  Created?: string;
  IPAM?: { Config?: { Subnet?: string }[] | null } | null;
}

export function mapNetwork(json: NetworkJson): NetworkRow {
  return {
    id: json.Id,
    name: json.Name,
    labels: json.Labels ?? {},
    internal: json.Internal === true,
    createdMs: json.Created === undefined ? undefined : mapTime(json.Created),
    subnets: (json.IPAM?.Config ?? []).flatMap((config) => (config.Subnet === undefined ? [] : [config.Subnet])),
  };
}

/** The parts of a volume that are read. */
export interface VolumeJson {
  Driver?: string;
  Labels?: Record<string, string> | null;
  Options?: Record<string, string> | null;
}

export function mapVolume({ Driver = "local", Labels, Options }: VolumeJson): VolumeRow {
  const options = Object.entries(Options ?? {});
  const device = options.find(([key]) => key === "device")?.[1];
  const leadsTo =
    Driver === "local" ? (options.length === 0 ? undefined : (device ?? "a mount of its own")) : `the driver ${Driver}`;
  return { labels: Labels ?? {}, leadsTo };
}

/** Volumes that restores have made, in one order whatever theirs is. */
export function mapGenerations(
  volumes: readonly { Name: string; Labels?: Record<string, string> | null }[],
): { name: string; of: string }[] {
  return volumes
    .flatMap(({ Name: name, Labels }) => {
      const base = Labels?.[LABEL.volume];
      return base === undefined || base === "" ? [] : [{ name, of: base }];
    })
    .toSorted((left, right) => left.name.length - right.name.length || compareText(left.name, right.name));
}

/** One line of the engine's event stream. */
export interface EventJson {
  Type: string;
  Action: string;
  Actor?: { ID?: string; Attributes?: Record<string, string> };
  time?: number;
  timeNano?: number;
}

export function mapEvent(json: EventJson): EngineEvent | undefined {
  if (json.Type !== "container" && json.Type !== "network" && json.Type !== "image") return undefined;
  const labels = json.Actor?.Attributes ?? {};
  return {
    type: json.Type,
    action: json.Action,
    id: json.Type === "network" ? (labels["container"] ?? json.Actor?.ID ?? "") : (json.Actor?.ID ?? ""),
    labels,
    atMs: json.timeNano === undefined ? (json.time ?? 0) * 1_000 : Math.trunc(json.timeNano / 1e6),
  };
}

/** Caps in the engine's words. Memory and memory+swap are the same number, so that there is no swap. */
export function buildCaps(caps: Caps): Record<string, number> {
  return {
    Memory: caps.memoryBytes,
    MemorySwap: caps.memoryBytes,
    NanoCpus: caps.nanoCpus,
    CpuShares: caps.cpuShares,
    PidsLimit: caps.pids,
  };
}

/** The body of the engine's create call. */
export function buildCreateBody(request: CreateRequest): Record<string, unknown> {
  const { spec } = request;
  const env = { ...spec.env, ...request.extraEnv };
  const exposed: Record<string, object> = {};
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const text of spec.ports ?? []) {
    const port = parsePublishedPort(text);
    if (typeof port === "string") throw new TypeError(`port ${text}: ${port}`);
    const key = `${port.containerPort}/${port.protocol}`;
    exposed[key] = {};
    (bindings[key] ??= []).push({ HostIp: port.address ?? "", HostPort: String(port.hostPort) });
  }
  return {
    name: request.name,
    Image: spec.image,
    ...(spec.command === undefined ? {} : { Cmd: spec.command }),
    ...(spec.entrypoint === undefined ? {} : { Entrypoint: spec.entrypoint }),
    ...(spec.user === undefined ? {} : { User: spec.user }),
    ...(spec.workingDir === undefined ? {} : { WorkingDir: spec.workingDir }),
    ...(spec.stopSignal === undefined ? {} : { StopSignal: spec.stopSignal }),
    ...(spec.hostname === undefined ? {} : { Hostname: spec.hostname }),
    StopTimeout: Math.ceil(request.stopTimeoutMs / 1_000),
    Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
    ExposedPorts: exposed,
    Labels: {
      ...spec.labels,
      [LABEL.node]: request.node,
      [LABEL.service]: request.service,
      [LABEL.spec]: request.specHash,
      [LABEL.revision]: request.revision,
      ...(spec.behind === undefined ? {} : { [LABEL.front]: spec.behind }),
    },
    HostConfig: buildHostConfig(request, bindings),
    ...(spec.network === undefined
      ? {
          NetworkingConfig: {
            EndpointsConfig: { [request.network]: { Aliases: listAliases(request.service, spec) } },
          },
        }
      : {}),
  };
}

function buildHostConfig(request: CreateRequest, bindings: object): Record<string, unknown> {
  const { spec } = request;
  return {
    ...buildCaps(request.caps),
    RestartPolicy: { Name: "no" },
    PortBindings: bindings,
    NetworkMode: spec.network ?? request.network,
    Mounts: [
      ...(spec.volumes ?? []).map((volume) => ({
        Type: volume.name === undefined ? "bind" : "volume",
        Source: volume.name ?? request.sources?.[volume.source ?? ""] ?? volume.source,
        Target: volume.target,
        ReadOnly: volume.readOnly ?? false,
      })),
      ...request.carried.map(({ name, target }) => ({ Type: "volume", Source: name, Target: target })),
      ...request.binds.map((bind) => ({
        Type: "bind",
        Source: bind.source,
        Target: bind.target,
        ReadOnly: bind.readOnly,
      })),
    ],
    LogConfig: buildLog(spec),
    ReadonlyRootfs: spec.readOnly ?? false,
    CapAdd: spec.capAdd ?? [],
    CapDrop: spec.capDrop ?? [],
    Devices: (spec.devices ?? []).map(buildDevice),
    Privileged: spec.privileged ?? false,
    ...(spec.init === undefined ? {} : { Init: spec.init }),
    ...(spec.shmSizeBytes === undefined ? {} : { ShmSize: spec.shmSizeBytes }),
    Ulimits: Object.entries(spec.ulimits ?? {}).map(([name, { soft, hard }]) => ({
      Name: name,
      Soft: soft,
      Hard: hard,
    })),
    ...(spec.sysctls === undefined ? {} : { Sysctls: spec.sysctls }),
    ...(spec.tmpfs === undefined
      ? {}
      : { Tmpfs: Object.fromEntries(spec.tmpfs.map((text) => splitTmpfs(text, request.caps))) }),
    Dns: spec.dns ?? [],
    ...(spec.pid === undefined ? {} : { PidMode: spec.pid }),
    IpcMode: spec.ipc ?? "private",
  };
}

/** Log rotation is set on every container: a manifest chooses a driver, never an endless log. */
function buildLog(spec: ContainerSpec): { Type: string; Config: Record<string, string> } {
  const driver = spec.log?.driver ?? "local";
  const rotation = driver === "local" || driver === "json-file" ? DEFAULT_ROTATION : {};
  return { Type: driver, Config: { ...rotation, ...spec.log?.options } };
}

function buildDevice(text: string): Record<string, string> {
  const [host = "", container = host, permissions = "rwm"] = text.split(":");
  return { PathOnHost: host, PathInContainer: container, CgroupPermissions: permissions };
}

/** A directory in memory without a size is as large as the container's cap, and not half of the host's memory. */
function splitTmpfs(text: string, { memoryBytes }: Caps): [string, string] {
  const colon = text.indexOf(":");
  const [path, options] = colon === -1 ? [text, ""] : [text.slice(0, colon), text.slice(colon + 1)];
  if (memoryBytes === 0 || options.split(",").some((option) => option.startsWith("size="))) return [path, options];
  return [path, [...(options === "" ? [] : [options]), `size=${memoryBytes}`].join(",")];
}
