// Volumes that begin empty with each release of their service: each release has one of its own, named by what its container is made from.
// Pure. Build names them; the jobs that fill one follow the release that stands. No volume is removed here.
// Held by test/scenario/start/ephemeral.test.ts.

import { splitVersion } from "../../../shared/secret/secret-facts.ts";
import type { ContainerSpec, VolumeMount } from "../../../shared/state/container-spec.ts";
import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import { findKeptHash, readContentName } from "../../../shared/state/file-content.ts";
import { canonicalJson, hashSpec, nameReleaseVolume, sha256 } from "../../../shared/state/identity.ts";
import { compareText } from "../../../shared/text/problem.ts";

/** Of the digest so many hex digits: two releases of one service that are kept never share them. */
const DIGITS = 8;

/**
 * Gives each ephemeral volume of a release its name. What Git says makes another release; a new value of a secret does not: a rotation
 * empties nothing. A release that is equal to an earlier one finds that one's volume while it is there.
 */
export function nameEphemeral(spec: ContainerSpec): ContainerSpec {
  const volumes = spec.volumes ?? [];
  if (!volumes.some(({ ephemeral }) => ephemeral === true)) return spec;
  const digest = sha256(canonicalJson(leaveOutVersions(spec))).slice(0, DIGITS);
  return { ...spec, volumes: volumes.map((volume) => nameVolume(volume, digest)) };
}

function nameVolume(volume: VolumeMount, digest: string): VolumeMount {
  const { name, of: base = name, ephemeral } = volume;
  if (ephemeral !== true || base === undefined) return volume;
  return { ...volume, name: nameReleaseVolume(base, digest), of: base };
}

function leaveOutVersions(spec: ContainerSpec): object {
  const strip = (names: Readonly<Record<string, string>> = {}): object =>
    Object.fromEntries(Object.entries(names).map(([name, path]) => [name, splitVersion(path).path]));
  return {
    ...spec,
    secretEnv: strip(spec.secretEnv),
    secretFiles: strip(spec.secretFiles),
    bootstrapFile: spec.bootstrapFile === undefined ? "" : splitVersion(spec.bootstrapFile).path,
    files: (spec.files ?? []).map((file) => {
      const content = file.hash === undefined ? undefined : readContentName(file.hash);
      return content === undefined ? file : { ...file, hash: findKeptHash(content) ?? "" };
    }),
  };
}

/**
 * Jobs mount the volume of the release that stands, and those that run `@once` and mount it or require its service run again for
 * each new one: they fill it.
 */
export function followEphemeral(desired: DesiredState): DesiredState {
  const owners = [...desired.services.values()].flatMap((service) => listOwned(service));
  if (owners.length === 0) return desired;
  const services = [...desired.services].map(([name, service]) => [name, followJob(service, owners)] as const);
  return { ...desired, services: new Map(services) };
}

interface Owned {
  service: string;
  base: string;
  name: string;
}

function listOwned({ name: service, kind, spec }: DesiredService): Owned[] {
  if (kind === "job") return [];
  return (spec.volumes ?? []).flatMap(({ ephemeral, of: base, name }) =>
    ephemeral !== true || base === undefined || name === undefined ? [] : [{ service, base, name }],
  );
}

function followJob(job: DesiredService, owners: readonly Owned[]): DesiredService {
  if (job.kind !== "job") return job;
  const volumes = (job.spec.volumes ?? []).map((volume) => {
    const owned = volume.ephemeral === true ? owners.find(({ base }) => base === volume.of) : undefined;
    return owned === undefined ? volume : { ...volume, name: owned.name };
  });
  const fills = job.schedule === "@once" ? listFilled(job, owners) : [];
  const spec: ContainerSpec = {
    ...job.spec,
    ...(volumes.length === 0 ? {} : { volumes }),
    ...(fills.length === 0 ? {} : { fills }),
  };
  const specHash = hashSpec(spec);
  return specHash === job.specHash ? job : { ...job, spec, specHash };
}

/** The volumes that this job fills through their services; those that it mounts are in its spec. */
function listFilled({ requires }: DesiredService, owners: readonly Owned[]): string[] {
  const required = new Set(
    requires.flatMap(({ target }) => (target.kind === "service" && target.node === undefined ? [target.service] : [])),
  );
  return owners.flatMap(({ service, name }) => (required.has(service) ? [name] : [])).toSorted(compareText);
}
