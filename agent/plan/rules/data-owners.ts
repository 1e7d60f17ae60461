// Who still writes to the data that a service is about to write to, and may not: what is no longer in Git, and a service of Git that
// has given the data away, or got it not back. What Git gives to both of two services they share. Pure; the start asks it, and steps.ts.
// Held by test/scenario/start/data-holder.test.ts.

import type { DesiredService } from "../../../shared/state/desired-state.ts";
import { isReleaseVolume } from "../../../shared/state/identity.ts";
import { findService } from "../../../shared/state/memory.ts";
import { findHealth, isAlive, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import { hasCompleted } from "../memory/job-memory.ts";
import type { Reachable, ServiceContext, World } from "../world.ts";

/** A container that writes to data which another service is about to write to. */
interface Holder {
  container: ObservedContainer;
  data: string;
}

type DataContext = Pick<ServiceContext, "world" | "engine" | "desired">;

/** Where a service writes: names of volumes, and real paths of this host. */
export function listWritten({ spec, binds = [] }: DesiredService): string[] {
  return (spec.volumes ?? []).flatMap(({ name, source, target, readOnly }) => {
    if (readOnly === true) return [];
    const path = binds.find((bind) => bind.target === target)?.real ?? source;
    return [name ?? path ?? ""].filter((data) => data !== "");
  });
}

/** True for a service that is wanted no more. What cannot be read or used now is still meant to be there. */
export function isGone({ desired: { services, objections } }: World, name: string): boolean {
  return !services.has(name) && !objections.has(name);
}

/** Containers that must have ended before this service writes. */
export function listHolders({ world, engine, desired }: DataContext): Holder[] {
  const written = listWritten(desired);
  if (written.length === 0) return [];
  return engine.containers.flatMap((container) => {
    if (container.service === desired.name || !isAlive(container)) return [];
    const data = written.find((place) => container.writes.some((held) => overlaps(held, place)));
    return data === undefined || !mustEnd({ world, engine, desired }, container, data) ? [] : [{ container, data }];
  });
}

function mustEnd({ world, engine, desired }: DataContext, container: ObservedContainer, data: string): boolean {
  const { service } = container;
  if (isGone(world, service)) return true;
  if (!world.desired.services.has(service)) return false;
  if (owns(world, service, data)) return !owns(world, desired.name, data);
  return !hadBeside(engine, desired.name, { container, data });
}

/** Whether Git gives this data to that service, whatever release stands in its place. */
function owns({ wanted, desired }: World, name: string, data: string): boolean {
  const service = wanted.get(name) ?? desired.services.get(name);
  return service !== undefined && (listWritten(service).some((own) => overlaps(own, data)) || isRelease(service, data));
}

/**
 * Whether this data is what some release of a service has of its ephemeral volumes. All of them are the service's own, and those of the
 * jobs that mount them, which have the volume of the release that stands.
 */
function isRelease({ spec }: DesiredService, data: string): boolean {
  return (spec.volumes ?? []).some(
    ({ ephemeral, of: base }) => ephemeral === true && base !== undefined && isReleaseVolume(data, base),
  );
}

/** They have shared it until now: that one of them gives it up holds up no restart of the other. */
function hadBeside({ containers }: Reachable, name: string, { container, data }: Holder): boolean {
  return containers.some(
    (own) =>
      own.service === name &&
      own.startedMs !== undefined &&
      own.writes.some((held) => overlaps(held, data)) &&
      (isAlive(own) || (own.finishedMs ?? 0) > (container.startedMs ?? 0)),
  );
}

/**
 * A service of which an earlier release stands in for one that Git has taken the data from: where Git gives the data to another one
 * that runs, it is that one's.
 */
export function findOwner({ world, desired }: DataContext): { service: string; data: string } | undefined {
  for (const data of listWritten(desired)) {
    if (owns(world, desired.name, data)) continue;
    for (const other of world.desired.services.values()) {
      if (other.name === desired.name || !other.running) continue;
      if (owns(world, other.name, data) && listWritten(other).some((own) => overlaps(own, data)))
        return { service: other.name, data };
    }
  }
  return undefined;
}

/**
 * Containers of which the service waits for this one, so that waiting for them would never end: two that exchange their data, a
 * service that requires the one it gives its data to. They end for this start.
 */
export function listTaken(context: DataContext): ObservedContainer[] {
  const { world, desired } = context;
  return listHolders(context).flatMap(({ container }) => {
    const giver = world.desired.services.get(container.service);
    const isOld = giver !== undefined && giver.specHash !== container.specHash;
    const isBusy = world.observed.operations.some(({ lane }) => lane === container.service);
    const isPaused = (world.memory.pauses[container.service] ?? world.memory.pauses["*"]) !== undefined;
    return isOld && !isBusy && !isPaused && waitsFor(context, giver, desired.name) ? [container] : [];
  });
}

/** Does the start of a service wait for another one, by what it requires or by the data that it needs? */
function waitsFor(context: DataContext, from: DesiredService, name: string, seen: readonly string[] = []): boolean {
  const next = listAwaited(context, from).filter((other) => !seen.includes(other));
  if (next.includes(name)) return true;
  return next.some((other) => {
    const service = context.world.desired.services.get(other);
    return service !== undefined && waitsFor(context, service, name, [...seen, from.name, other]);
  });
}

function listAwaited({ world, engine }: DataContext, desired: DesiredService): string[] {
  const mine = engine.containers.filter(({ service, status }) => service === desired.name && status === "running");
  if (mine.some(({ specHash }) => specHash === desired.specHash)) return [];
  const required = desired.requires.flatMap(({ target }) =>
    target.kind === "service" && (target.node === undefined || target.node === world.desired.node)
      ? [target.service]
      : [],
  );
  const missing = required.filter((name) => !isThere(world, engine, name));
  return [...missing, ...listHolders({ world, engine, desired }).map(({ container }) => container.service)];
}

function isThere(world: World, { containers }: Reachable, name: string): boolean {
  const service = world.desired.services.get(name);
  if (service?.kind === "job") return hasCompleted(findService(world.memory.services, name)?.job, service.specHash);
  return containers.some(
    (entry) =>
      entry.service === name && entry.status === "running" && findHealth(world.observed, entry)?.status === "healthy",
  );
}

function overlaps(left: string, right: string): boolean {
  return isSameOrInside(left, right) || isSameOrInside(right, left);
}

/** Only a path has an inside. */
function isSameOrInside(path: string, directory: string): boolean {
  return path === directory || (directory.startsWith("/") && path.startsWith(`${directory.replace(/\/$/, "")}/`));
}
