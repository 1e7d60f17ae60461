// Why a container takes the place of one with another spec: a commit, or a secret that has a new value. Pure; used by the
// rules that make, start and remove containers.

import type { ContainerSpec } from "../../shared/container-spec.ts";
import { canonicalJson } from "../../shared/identity.ts";
import { compareText } from "../../shared/problem.ts";
import { holdsSecret, listHashVersions, readRenderedHash, splitVersion } from "../../shared/secret-facts.ts";
import type { Cause } from "../../shared/step.ts";
import type { Scene } from "./world.ts";

/** The cause of a new container beside one with another spec. */
export function explainReplacement({ world, desired, wanted }: Scene): Cause {
  const { revision, name } = desired;
  const commit: Cause = { kind: "commit", detail: `new spec from ${revision}`, revision };
  if (desired !== wanted || !world.desired.rotating.has(name)) return commit;
  const before = world.releases.get(name)?.spec;
  if (before === undefined) return describeRotation([]);
  return sameButForSecrets(before, desired.spec) ? describeRotation(listRotated(before, desired.spec)) : commit;
}

/** What is said of new values. */
export function describeRotation(all: readonly string[]): Cause {
  const paths = [...new Set(all)].toSorted(compareText);
  const which =
    paths.length === 0 ? "a secret that it takes has" : `${paths.join(", ")} ${paths.length === 1 ? "has" : "have"}`;
  return { kind: "rotation", detail: `${which} a new value` };
}

/** The paths whose values alone tell two hashes of a delivered file apart; none where something else does. */
export function listRotatedIn(before: string | undefined, after: string): string[] {
  if (before === undefined) return [];
  const [old, now] = [listHashVersions(before), listHashVersions(after)];
  const pathsOf = (names: readonly string[]): string => names.map((name) => splitVersion(name).path).join(" ");
  const isSame = holdsSecret(after) && pathsOf(old) === pathsOf(now);
  // Of a file with secrets in it the recipe stays; of a secret file there is nothing else.
  if (!isSame || readRenderedHash(before)?.recipe !== readRenderedHash(after)?.recipe) return [];
  return now.filter((name) => !old.includes(name)).map((name) => splitVersion(name).path);
}

function sameButForSecrets(left: ContainerSpec, right: ContainerSpec): boolean {
  const strip = (spec: ContainerSpec): object => ({
    ...spec,
    secretEnv: Object.keys(spec.secretEnv ?? {}).toSorted(),
    bootstrapFile: undefined,
  });
  return canonicalJson(strip(left)) === canonicalJson(strip(right));
}

function listRotated(before: ContainerSpec, after: ContainerSpec): string[] {
  const known = new Set([...Object.values(before.secretEnv ?? {}), before.bootstrapFile]);
  const now = [
    ...Object.values(after.secretEnv ?? {}),
    ...(after.bootstrapFile === undefined ? [] : [after.bootstrapFile]),
  ];
  return now.filter((name) => !known.has(name)).map((name) => splitVersion(name).path);
}
