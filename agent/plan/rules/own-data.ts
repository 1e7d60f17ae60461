// Data that an image keeps in a VOLUME of its own: the engine puts it into a volume without a name, which another container does
// not get by itself. Such data is covered by the manifest, carried over, or its new container is held. Pure; nothing here removes one.
// Held by test/scenario/start/own-data.test.ts.

import type { ContainerSpec } from "../../../shared/state/container-spec.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import {
  type OperatorMemory,
  type OwnVolume,
  type RunsMemory,
  type ServiceMemory,
  setPart,
} from "../../../shared/state/memory.ts";
import type { Reason } from "../../../shared/state/reason.ts";
import type { ObservedContainer } from "../../../shared/state/observed-state.ts";
import { listPredecessors } from "./move.ts";
import type { Decision, Reachable, ServiceContext } from "../world.ts";

/** Remembers the volumes without a name of the container that ran last, and what Git wants while they hold it up. */
export function rememberOwnData(
  memory: ServiceMemory,
  containers: readonly ObservedContainer[],
  wanted: DesiredService,
): ServiceMemory {
  const isHeld = wanted.fingerprint !== memory.intent.fingerprint && memory.release.rolledBack === undefined;
  const heldFor = isHeld ? wanted.fingerprint : undefined;
  return rememberOwn(memory.release.heldFor === heldFor ? memory : setPart(memory, "release", { heldFor }), containers);
}

function rememberOwn(memory: ServiceMemory, containers: readonly ObservedContainer[]): ServiceMemory {
  const last = newestRun(containers);
  if (last === undefined) return memory;
  const own = memory.run.ownVolumes;
  const { specHash, ownVolumes: volumes } = last;
  if (volumes.length === 0) return own === undefined ? memory : setPart(memory, "run", { ownVolumes: undefined });
  if (own?.specHash === specHash && JSON.stringify(own.volumes) === JSON.stringify(volumes)) return memory;
  return setPart(memory, "run", { ownVolumes: { specHash, volumes } });
}

function newestRun(containers: readonly ObservedContainer[]): ObservedContainer | undefined {
  const ran = containers.filter(({ startedMs }) => startedMs !== undefined);
  return ran.toSorted((left, right) => (right.startedMs ?? 0) - (left.startedMs ?? 0))[0];
}

/**
 * Why a new container of this service would begin without data that is here, and what to do about it.
 * @param own the volumes without a name of the container that ran last
 * @param volumes the engine's volumes that the service names; undefined while that is not known
 * @returns undefined where nothing would be lost, or losing it was said to be fine
 */
export function judgeOwnData(
  {
    wanted,
    own,
    emptyBy,
  }: { wanted: DesiredService; own: RunsMemory["ownVolumes"]; emptyBy: OperatorMemory["emptyBy"] },
  volumes: Reachable["volumes"] | undefined,
): Reason | undefined {
  // A job's program keeps nothing between its runs that is worth a stop of all of them: its volume is carried over.
  const isFine = wanted.kind === "job" || wanted.disposable === true || own?.specHash === wanted.specHash;
  if (own === undefined || isFine) return undefined;
  for (const volume of own.volumes) {
    const cover = findCover(wanted.spec, volume.target);
    const at = { service: wanted.name, volume: volume.name, target: volume.target };
    if (cover === undefined) return { code: "data-uncovered", ...at };
    if (cover.name === volume.name || emptyBy !== undefined) continue;
    const isThere = cover.name !== undefined && (volumes === undefined || volumes[cover.name] !== undefined);
    if (!isThere) return { code: "data-cover-empty", ...at, cover: pickCover(cover) };
  }
  return undefined;
}

/** What a manifest mounts at a path itself. */
function findCover(spec: ContainerSpec, target: string): { name?: string; source?: string } | undefined {
  const path = trimPath(target);
  const volume = (spec.volumes ?? []).find((entry) => trimPath(entry.target) === path);
  const inMemory = (spec.tmpfs ?? []).some((entry) => trimPath(entry.split(":")[0] ?? "") === path);
  return volume ?? (inMemory ? {} : undefined);
}

function trimPath(path: string): string {
  return path.replace(/\/+/g, "/").replace(/(.)\/$/, "$1");
}

function pickCover({ name, source }: { name?: string; source?: string }): { name?: string; source?: string } {
  return { ...(name === undefined ? {} : { name }), ...(source === undefined ? {} : { source }) };
}

/** Holds a new container that would begin without data, where no release stands in its place. */
export function keepOwnData(context: ServiceContext): Decision | undefined {
  const { desired, memory, current, engine } = context;
  if (current !== undefined) return undefined;
  const own = findOwn(context);
  const reason = judgeOwnData({ wanted: desired, own, emptyBy: memory.operator.emptyBy }, engine.volumes);
  return reason === undefined ? undefined : { state: "held", reason, memory };
}

/** The volumes without a name that a new container of this service takes over. */
export function listCarried(context: ServiceContext): OwnVolume[] {
  const { spec } = context.desired;
  return (findOwn(context)?.volumes ?? []).filter(({ target }) => findCover(spec, target) === undefined);
}

/** Of this service, or of the name that it had on this node before. */
function findOwn(context: ServiceContext): RunsMemory["ownVolumes"] {
  const { world, engine, desired, memory } = context;
  if (memory.run.ownVolumes !== undefined) return memory.run.ownVolumes;
  const before = newestRun(listPredecessors(world, engine, desired).filter(({ service }) => service !== desired.name));
  return before === undefined || before.ownVolumes.length === 0
    ? undefined
    : { specHash: "", volumes: before.ownVolumes };
}

/** What status always says of a service whose data is in no volume of its manifest. */
export function noteOwnData(desired: DesiredService, memory: ServiceMemory): Reason[] {
  if (desired.disposable === true || desired.kind === "job") return [];
  return (memory.run.ownVolumes?.volumes ?? [])
    .filter(({ target }) => findCover(desired.spec, target) === undefined)
    .map(({ name, target }) => ({ code: "own-data", target, volume: name }));
}
