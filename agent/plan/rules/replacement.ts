// Why a container takes the place of one with another spec: a commit, or a secret that has a new value. Pure; used by the
// rules that make, start and remove containers.
// Held by test/scenario/secrets/rotation.test.ts.

import type { ContainerSpec } from "../../../shared/state/container-spec.ts";
import { canonicalJson } from "../../../shared/state/identity.ts";
import {
  type FileContent,
  findKeptHash,
  listContentVersions,
  readContentName,
} from "../../../shared/state/file-content.ts";
import { splitVersion } from "../../../shared/secret/secret-facts.ts";
import type { Cause } from "../../../shared/state/step.ts";
import { buildCause } from "../cause.ts";
import type { ServiceContext } from "../world.ts";

/** The cause of a new container beside one with another spec. */
export function explainReplacement(context: ServiceContext): Cause {
  const { world, desired, wanted, memory } = context;
  const { revision, name } = desired;
  // The same intent with another spec: only the volume in force is another one.
  const { lastGood } = memory.release;
  if (lastGood?.fingerprint === desired.fingerprint && lastGood.specHash !== desired.specHash)
    return explainVolume(context);
  const commit = buildCause("commit", { code: "new-spec", revision }, { revision });
  if (desired !== wanted || !world.desired.rotating.has(name)) return commit;
  const before = world.releases.get(name)?.spec;
  if (before === undefined) return explainRotation([]);
  return sameButForSecrets(before, desired.spec) ? explainRotation(listRotated(before, desired.spec)) : commit;
}

function explainVolume({ world, desired }: ServiceContext): Cause {
  const known = (desired.spec.volumes ?? []).flatMap(({ name, of: base = name }) => {
    const entry = base === undefined ? undefined : world.memory.generations?.[base];
    return entry === undefined ? [] : [entry];
  });
  const uid = known.find((entry) => entry.uid !== undefined)?.uid;
  const why = { code: "generation-chosen", volumes: known.map(({ inForce }) => inForce) } as const;
  return buildCause("operator", why, uid === undefined ? {} : { uid });
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
    files: spec.files?.map((file) => (file.hash === undefined ? file : { ...file, hash: nameText(file.hash) })),
  });
  return canonicalJson(strip(left)) === canonicalJson(strip(right));
}

/**
 * The secrets whose new values alone make a delivered file another one.
 * @returns none where something else has changed as well
 */
export function listRotatedIn(before: FileContent, after: FileContent): string[] {
  if (after.kind === "secret") return before.kind === "secret" && before.path === after.path ? [after.path] : [];
  if (after.kind === "plain" || findKeptHash(before) !== after.recipe) return [];
  return listNewPaths(listContentVersions(before), listContentVersions(after));
}

/** What a mounted file says, whatever the values of the secrets in it are. */
function nameText(name: string): string {
  return findKeptHash(readContentName(name)) ?? name;
}

function listRotated(before: ContainerSpec, after: ContainerSpec): string[] {
  return listNewPaths(listSpecVersions(before), listSpecVersions(after));
}

function listSpecVersions({ secretEnv = {}, secretFiles = {}, bootstrapFile, files = [] }: ContainerSpec): string[] {
  const mounted = files.flatMap(({ hash }) => (hash === undefined ? [] : listContentVersions(readContentName(hash))));
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
