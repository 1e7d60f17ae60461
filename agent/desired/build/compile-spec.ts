// From a manifest to the recreate group of its container. Pure. Keys that hold their default are left out and lists whose
// order means nothing are sorted, so that equal intent gives an equal hash, in this version and in later ones.

import { nameBootstrap } from "../../../shared/secret/bootstrap.ts";
import type { Caps, ContainerSpec, VolumeMount } from "../../../shared/state/container-spec.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { nameVersion } from "../../../shared/secret/secret-facts.ts";
import { describePort, type PublishedPort } from "../../../shared/manifest/published-port.ts";

/** What a manifest alone does not say. */
export interface SpecContext {
  /** The image that stands in for this one, where a mapping was given. */
  standIn(image: string): string | undefined;
  /** Where a port is published, given what the manifest says. */
  placePort(port: PublishedPort): PublishedPort;
  /** Keyed digest of a secret's version; part of the spec, so that a rotation is a change. */
  secretVersion(path: string): string;
  /** True for a file with a secret in it. */
  liesInMemory(target: string): boolean;
}

/** Engine's shares for one core (Docker: 1024). */
const SHARES_PER_CPU = 1024;
const LEAST_SHARES = 2;

/** Builds the caps, which change in place and are no part of the spec. */
export function buildCaps(resources: Manifest["resources"]): Caps {
  return {
    memoryBytes: resources.memory,
    nanoCpus: Math.round((resources.cpus ?? 0) * 1e9),
    cpuShares:
      resources.cpus_reserved === undefined
        ? 0
        : Math.max(LEAST_SHARES, Math.round(resources.cpus_reserved * SHARES_PER_CPU)),
    pids: resources.pids,
  };
}

/** Builds the recreate group. */
export function buildContainerSpec(manifest: Manifest, context: SpecContext): ContainerSpec {
  const standIn = context.standIn(manifest.image);
  // An image that stands in has an entrypoint of its own that plays the service: the manifest's program is not in it.
  const program = standIn === undefined ? { command: manifest.command, entrypoint: manifest.entrypoint } : {};
  return prune({
    image: standIn ?? manifest.image,
    ...program,
    user: standIn === undefined ? manifest.user : undefined,
    workingDir: standIn === undefined ? manifest.working_dir : undefined,
    stopSignal: manifest.stop_signal,
    env: { ...manifest.env, ...(standIn === undefined ? {} : buildStandInEnv(manifest)) },
    ...buildSecrets(manifest, context),
    bootstrapFile: standIn === undefined ? buildBootstrap(manifest, context) : undefined,
    volumes: manifest.volumes.map(buildVolume).toSorted((left, right) => compareText(left.target, right.target)),
    ports: manifest.ports.map((port) => describePort(context.placePort(port))).toSorted(compareText),
    files: manifest.files
      .map((file) => buildFile(file, context.liesInMemory(file.target)))
      .toSorted((left, right) => compareText(left.target, right.target)),
    network: manifest.network === "orca" ? undefined : manifest.network,
    pid: manifest.pid === "private" ? undefined : manifest.pid,
    ipc: manifest.ipc === "private" ? undefined : manifest.ipc,
    ...buildEngineOptions(manifest),
    labels: manifest.labels,
    log: manifest.log,
  });
}

function buildFile({ target, mode, owner }: Manifest["files"][number], memory: boolean) {
  if (memory) return prune({ target, mode, owner, memory: true as const });
  return prune({ target, mode: mode === "0444" ? undefined : mode, owner });
}

function buildEngineOptions(manifest: Manifest) {
  const ulimits = Object.entries(manifest.ulimits ?? {}).map(
    ([name, limit]) => [name, typeof limit === "number" ? { soft: limit, hard: limit } : limit] as const,
  );
  return {
    shmSizeBytes: manifest.shm_size,
    ulimits: Object.fromEntries(ulimits),
    sysctls: manifest.sysctls,
    tmpfs: manifest.tmpfs?.toSorted(compareText),
    readOnly: manifest.read_only === true ? true : undefined,
    capAdd: manifest.cap_add?.toSorted(compareText),
    capDrop: manifest.cap_drop?.toSorted(compareText),
    devices: manifest.devices?.toSorted(compareText),
    privileged: manifest.privileged === true ? true : undefined,
    init: manifest.init === true ? true : undefined,
    hostname: manifest.hostname,
    dns: manifest.dns,
  };
}

function buildSecrets({ secrets }: Manifest, context: SpecContext): Pick<ContainerSpec, "secretEnv" | "secretFiles"> {
  if (secrets === undefined) return {};
  const env = Object.entries(secrets.env).map(
    ([name, path]) => [name, nameVersion(path, context.secretVersion(path))] as const,
  );
  return { secretEnv: Object.fromEntries(env), secretFiles: secrets.files };
}

function buildBootstrap({ bootstrap }: Manifest, context: SpecContext): string | undefined {
  const name = bootstrap === undefined ? undefined : nameBootstrap(bootstrap.env_file);
  return name === undefined ? undefined : nameVersion(name, context.secretVersion(name));
}

function buildVolume(volume: Manifest["volumes"][number]): VolumeMount {
  return prune({
    name: volume.name,
    source: volume.source,
    target: volume.target,
    readOnly: volume.read_only ? true : undefined,
    ephemeral: volume.ephemeral ? true : undefined,
  });
}

/** Tells a stand-in what to play: the port and path its health check asks for, and the ports it publishes or routes. */
function buildStandInEnv(manifest: Manifest): Record<string, string> {
  const http = manifest.health?.http === undefined ? [] : [`${manifest.health.http.port}${manifest.health.http.path}`];
  const tcp = manifest.health?.tcp === undefined ? [] : [String(manifest.health.tcp.port)];
  const published = manifest.ports.filter((port) => port.protocol === "tcp").map((port) => String(port.containerPort));
  const routed = manifest.routes.map((route) => String(route.port));
  const ports = [...new Set([...tcp, ...published, ...routed])].filter(
    (port) => port !== String(manifest.health?.http?.port),
  );
  return { ORCA_STAND_IN_HTTP: http.join(" "), ORCA_STAND_IN_TCP: ports.join(" ") };
}

/** Leaves out keys that are undefined, empty lists and empty tables. */
function prune<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const kept = Object.entries(value).filter(([, entry]) => {
    if (entry === undefined) return false;
    return typeof entry !== "object" || entry === null || Object.keys(entry).length > 0;
  });
  return Object.fromEntries(kept) as { [K in keyof T]: Exclude<T[K], undefined> };
}
