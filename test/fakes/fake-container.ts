// What a container of the fake engine is, and the ways to build and list one.

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";

import { EngineError } from "../../agent/docker/reader.ts";
import type { ContainerDetail, ContainerRow, NetworkRow } from "../../agent/docker/reader.ts";
import type { CreateRequest, DockerWriter } from "../../agent/docker/writer.ts";
import { LABEL, sha256 } from "../../shared/state/identity.ts";
import {
  describePort,
  parsePublishedPort,
  portsClash,
  type PublishedPort,
} from "../../shared/manifest/published-port.ts";

/** How containers of an image behave. */
export interface ImageBehaviour {
  /** Ends by itself so long after its start. */
  endsAfterMs?: number;
  exitCode?: number;
  /** Healthy so long after its start; Infinity for never. */
  healthyAfterMs?: number;
  /** Ignores the stop signal: it is killed after the timeout. */
  ignoresStop?: boolean;
  /** The start itself fails with this message. */
  startFails?: string;
  /** The status of that answer; 400 unless it is said. */
  startStatus?: number;
  logs?: string[];
  /** The image's own user, and files in it by path. */
  user?: string;
  /** Paths that it keeps in VOLUMEs of its own. */
  volumes?: readonly string[];
  files?: Readonly<Record<string, string>>;
}

/** Statuses from which a container can end. */
export const LIVE: ReadonlySet<string> = new Set(["running", "paused", "restarting"]);

/** Throws as the engine does when another container than `own` has the name. */
export function refuseName(holder: FakeContainer | undefined, own?: string): void {
  if (holder === undefined || holder.id === own) return;
  const { name, id } = holder;
  throw new EngineError(`Conflict. The container name "/${name}" is already in use by container "${id}"`, 409);
}

/** What a test may choose of a container that someone else made. */
export interface ForeignParts {
  image?: string;
  ports?: string[];
  labels?: Record<string, string>;
}

/** A container of the fake. */
export interface FakeContainer {
  id: string;
  name: string;
  image: string;
  labels: Record<string, string>;
  request: CreateRequest | undefined;
  detail: Omit<ContainerDetail, "status" | "networks"> & Pick<ContainerRow, "writes">;
  status: ContainerRow["status"];
  networks: Map<string, string>;
  ports: PublishedPort[];
  logs: string[];
  run: number;
  /** When this run began, by the clock that does not jump. */
  beganMs: number;
  /** Content of what is mounted, by its path in the container, as its process last read it: at its start, or at a SIGHUP. */
  seen: Readonly<Record<string, string>>;
  /** When that was, by the clock that does not jump. */
  seenMs: number;
}

/** A container that nobody has started yet. */
export function buildContainer(
  id: string,
  { name, image, labels }: Pick<FakeContainer, "name" | "image" | "labels">,
): FakeContainer {
  const caps = { memoryBytes: 0, nanoCpus: 0, cpuShares: 0, pids: 0 };
  const detail: FakeContainer["detail"] = {
    id,
    startedMs: undefined,
    finishedMs: undefined,
    exitCode: undefined,
    oomKilled: false,
    pid: 0,
    caps,
    restartPolicy: "no",
    image,
    user: "",
    ownVolumes: [],
    writes: [],
  };
  const built = { request: undefined, status: "created" as const, networks: new Map(), ports: [], logs: [] };
  return { id, name, image, labels, detail, ...built, run: 0, beganMs: 0, seen: {}, seenMs: 0 };
}

/** A port of it that another container which runs holds, in Docker's form. */
export function findClash(container: FakeContainer, others: Iterable<FakeContainer>): string | undefined {
  for (const other of others) {
    if (!LIVE.has(other.status) || other === container) continue;
    const clash = container.ports.find((port) => other.ports.some((held) => portsClash(port, held)));
    if (clash !== undefined) return describePort(clash);
  }
  return undefined;
}

/** A network that the agent asked for. */
export function buildNetwork(
  id: string,
  { name, node, subnet, internal }: Parameters<DockerWriter["createNetwork"]>[0],
): NetworkRow {
  return {
    id,
    name,
    labels: { [LABEL.node]: node },
    internal,
    subnets: [subnet ?? "172.30.0.0/16"],
    createdMs: undefined,
  };
}

/** What a container's program does: the image's behaviour, or one of the few commands that the contract suite uses. */
export function readProgram(
  { request }: FakeContainer,
  behaviour: ImageBehaviour,
): { prints: string[]; endsAfterMs: number | undefined; exitCode: number } {
  const command = request?.spec.command ?? [];
  const shell = command[0]?.endsWith("sh") === true ? (command[2] ?? "") : "";
  const echoed = /echo ([\w ]+)/.exec(shell)?.[1];
  const prints = echoed === undefined ? [] : [echoed.trim()];
  const exit = /exit (\d+)/.exec(shell)?.[1];
  if (exit !== undefined) return { prints, endsAfterMs: 0, exitCode: Number(exit) };
  return { prints, endsAfterMs: behaviour.endsAfterMs, exitCode: behaviour.exitCode ?? 1 };
}

/** What a process finds now in the files and directories that are mounted into its container. */
export function readMounts({ request }: FakeContainer): Record<string, string> {
  const found = (request?.binds ?? []).flatMap(({ source, target }) => {
    if (!existsSync(source)) return [];
    if (!statSync(source).isDirectory()) return [[target, readFileSync(source, "utf8")] as const];
    const names = readdirSync(source, { withFileTypes: true }).filter((entry) => entry.isFile());
    return names.map(({ name }) => [`${target}/${name}`, readFileSync(`${source}/${name}`, "utf8")] as const);
  });
  return Object.fromEntries(found);
}

/** The container that the agent asked for. */
export function buildRequested(id: string, request: CreateRequest): FakeContainer {
  const { name, spec } = request;
  const labels = {
    ...spec.labels,
    [LABEL.node]: request.node,
    [LABEL.service]: request.service,
    [LABEL.spec]: request.specHash,
    [LABEL.revision]: request.revision,
    ...(spec.behind === undefined ? {} : { [LABEL.front]: spec.behind }),
  };
  const container = buildContainer(id, { name, image: spec.image, labels });
  container.request = request;
  container.detail.caps = { ...request.caps };
  container.ports = parsePorts(spec.ports);
  if (spec.network === undefined) container.networks.set(request.network, "");
  return container;
}

/**
 * Gives a container the volumes that it takes over, and a new one for each VOLUME of its image that nothing covers.
 * @param id what new ones are named after
 * @returns the names of all its volumes
 */
export function giveVolumes(
  container: FakeContainer,
  { spec, carried, sources, binds }: CreateRequest,
  images: ReadonlyMap<string, ImageBehaviour>,
  id: string,
): string[] {
  const named = spec.volumes ?? [];
  const mounted = new Set([...named, ...carried].map(({ target }) => target));
  const open = (images.get(spec.image)?.volumes ?? []).filter((target) => !mounted.has(target));
  container.detail.ownVolumes = [...carried, ...open.map((target) => ({ name: sha256(id + target), target }))];
  container.detail.writes = [
    ...named.flatMap(({ name, source = "", readOnly }) =>
      readOnly === true ? [] : [name ?? sources?.[source] ?? source],
    ),
    ...container.detail.ownVolumes.map(({ name }) => name),
    ...binds.flatMap(({ source, readOnly }) => (readOnly ? [] : [source])),
  ].toSorted();
  return [...named, ...container.detail.ownVolumes].flatMap(({ name }) => (name === undefined ? [] : [name]));
}

/** Ports as a manifest writes them. */
export function parsePorts(texts: readonly string[] = []): PublishedPort[] {
  return texts.map((text) => parsePublishedPort(text) as PublishedPort);
}

/** The container as the engine lists it. */
export function buildRow(container: FakeContainer): ContainerRow {
  const { id, name, image, labels, status, networks, ports, detail } = container;
  const published = status === "running" ? ports.map(describePort) : [];
  return {
    id,
    name,
    image,
    labels,
    status,
    networks: Object.fromEntries(networks),
    ports: published,
    writes: [...detail.writes],
  };
}

/** What an inspection tells of it. */
export function inspect(container: FakeContainer | undefined): ContainerDetail | undefined {
  if (container === undefined) return undefined;
  const { status, networks, detail } = container;
  return structuredClone({ ...detail, status, networks: Object.fromEntries(networks) });
}
