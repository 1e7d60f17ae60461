// Why a container takes the place of one with another spec: a commit, or a secret that has a new value. Pure; used by the
// rules that make, start and remove containers.
// Held by test/scenario/secrets/rotation.test.ts.

import type { ContainerSpec } from "../../../shared/state/container-spec.ts";
import { canonicalJson } from "../../../shared/state/identity.ts";
import {
  listHashVersions,
  nameContent,
  readRenderedHash,
  readSecretHash,
  splitVersion,
} from "../../../shared/secret/secret-facts.ts";
import type { Cause } from "../../../shared/state/step.ts";
import { buildCause } from "../cause.ts";
import type { ServiceContext } from "../world.ts";

/** The cause of a new container beside one with another spec. */
export function explainReplacement({ world, desired, wanted }: ServiceContext): Cause {
  const { revision, name } = desired;
  const commit = buildCause("commit", { code: "new-spec", revision }, { revision });
  if (desired !== wanted || !world.desired.rotating.has(name)) return commit;
  const before = world.releases.get(name)?.spec;
  if (before === undefined) return explainRotation([]);
  return sameButForSecrets(before, desired.spec) ? explainRotation(listRotated(before, desired.spec)) : commit;
}

/** The cause that new values of these secrets are. */
export function explainRotation(paths: readonly string[]): Cause {
  return buildCause("rotation", { code: "new-values", paths });
}

function sameButForSecrets(left: ContainerSpec, right: ContainerSpec): boolean {
  const strip = (spec: ContainerSpec): object => ({
    ...spec,
    secretEnv: Object.keys(spec.secretEnv ?? {}).toSorted(),
    secretFiles: Object.keys(spec.secretFiles ?? {}).toSorted(),
    bootstrapFile: undefined,
    files: spec.files?.map((file) => (file.hash === undefined ? file : { ...file, hash: nameContent(file.hash) })),
  });
  return canonicalJson(strip(left)) === canonicalJson(strip(right));
}

/**
 * The secrets whose new values alone make a delivered file another one.
 * @returns none where something else has changed as well
 */
export function listRotatedIn(before: string, after: string): string[] {
  const [old, now] = [readSecretHash(before), readSecretHash(after)];
  if (now !== undefined) return old?.path === now.path ? [now.path] : [];
  if (readRenderedHash(after) === undefined || nameContent(before) !== nameContent(after)) return [];
  return listNewPaths(listHashVersions(before), listHashVersions(after));
}

function listRotated(before: ContainerSpec, after: ContainerSpec): string[] {
  return listNewPaths(listSpecVersions(before), listSpecVersions(after));
}

function listSpecVersions({ secretEnv = {}, secretFiles = {}, bootstrapFile, files = [] }: ContainerSpec): string[] {
  const mounted = files.flatMap(({ hash }) => (hash === undefined ? [] : listHashVersions(hash)));
  const delivered = Object.values(secretFiles).filter((name) => splitVersion(name).version !== "");
  return [
    ...Object.values(secretEnv),
    ...delivered,
    ...(bootstrapFile === undefined ? [] : [bootstrapFile]),
    ...mounted,
  ];
}

function listNewPaths(before: readonly string[], after: readonly string[]): string[] {
  const changed = after.filter((name) => !before.includes(name));
  return [...new Set(changed.map((name) => splitVersion(name).path))].toSorted();
}
