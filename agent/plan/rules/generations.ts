// Generations of a volume: an engine cannot rename one, so a restore makes a new volume beside the old one. Which of them a service
// mounts stands in the memory and on its container; where neither says it, nobody guesses. Pure; no volume is removed here.
// Held by test/scenario/start/generations.test.ts.

import type { ContainerSpec, VolumeMount } from "../../../shared/state/container-spec.ts";
import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import { hashSpec } from "../../../shared/state/identity.ts";
import type { NodeMemory } from "../../../shared/state/memory.ts";
import { isAlive } from "../../../shared/state/observed-state.ts";
import type { StartReason } from "../../../shared/state/reason.ts";
import type { Decision, Reachable, ServiceContext, World } from "../world.ts";

type Generations = NodeMemory["generations"];

/** What is wanted, with the volumes that are in force in place of those that the manifests name. */
export function followGenerations(desired: DesiredState, generations: Generations): DesiredState {
  if (generations === undefined) return desired;
  const services = [...desired.services].map(
    ([name, service]) => [name, followGeneration(service, generations)] as const,
  );
  return { ...desired, services: new Map(services) };
}

/** The same for one service. A release that ran with another generation gets the one that is in force: data never goes back with a program. */
export function followGeneration(service: DesiredService, generations: Generations): DesiredService {
  const volumes = service.spec.volumes ?? [];
  const chosen = volumes.map((volume) => chooseVolume(volume, generations));
  if (chosen.every((volume, at) => volume === volumes[at])) return service;
  const spec: ContainerSpec = { ...service.spec, volumes: chosen };
  return { ...service, spec, specHash: hashSpec(spec) };
}

function chooseVolume(volume: VolumeMount, generations: Generations): VolumeMount {
  const { name, of: base = name, ...rest } = volume;
  if (name === undefined || base === undefined || volume.ephemeral === true) return volume;
  const inForce = generations?.[base]?.inForce ?? base;
  if (inForce === name) return volume;
  return inForce === base ? { name: base, ...rest } : { name: inForce, of: base, ...rest };
}

/** The name that the manifest gives a volume; undefined for a bind. */
function findBase({ name, of: base }: VolumeMount): string | undefined {
  return base ?? name;
}

/**
 * What the memory says of generations from now on: where it says nothing (it was lost), a container that runs with one tells which
 * is in force, and so does a volume that is the only one there.
 */
export function settleGenerations(world: World, engine: Reachable): Generations {
  const known = world.memory.generations;
  const found: Record<string, { inForce: string }> = {};
  for (const base of Object.keys(engine.generations ?? {})) {
    const inForce = known?.[base] === undefined ? findInForce(base, engine) : undefined;
    if (inForce !== undefined) found[base] = { inForce };
  }
  return Object.keys(found).length === 0 ? known : { ...known, ...found };
}

function findInForce(base: string, { generations = {}, containers }: Reachable): string | undefined {
  const there = generations[base] ?? [];
  const mounted = new Set(
    containers.filter(isAlive).flatMap(({ writes }) => there.filter((name) => writes.includes(name))),
  );
  const [first] = mounted.size === 0 ? there : mounted;
  return Math.max(mounted.size, mounted.size === 0 ? there.length : 0) === 1 ? first : undefined;
}

/** Holds a start where several generations are there and nobody knows which is in force, and where the one in force is gone. */
export function waitForGeneration(context: ServiceContext): Decision | undefined {
  const { current, desired, memory, world } = context;
  if (current !== undefined && isAlive(current)) return undefined;
  for (const volume of desired.spec.volumes ?? []) {
    const reason = judgeVolume(context, volume);
    if (reason === undefined) continue;
    if (reason.code === "generation-found") return { state: "waiting", reason, memory, nextMs: world.nowMs };
    return { state: "held", reason, memory };
  }
  return undefined;
}

function judgeVolume({ desired, engine, world }: ServiceContext, volume: VolumeMount): StartReason | undefined {
  const base = findBase(volume);
  if (base === undefined || volume.name === undefined || volume.ephemeral === true) return undefined;
  const there = engine.generations?.[base] ?? [];
  const at = { service: desired.name, volume: base, there };
  if (world.memory.generations?.[base] === undefined) {
    if (there.length === 0) return undefined;
    const inForce = findInForce(base, engine);
    return inForce === undefined
      ? { code: "generation-unknown", ...at }
      : { code: "generation-found", volume: inForce };
  }
  // A volume that has never had another begins empty, as ever.
  const mayBegin = volume.name === base && there.length === 0;
  if (mayBegin || engine.volumes[volume.name] !== undefined) return undefined;
  return { code: "generation-gone", ...at, generation: volume.name };
}
