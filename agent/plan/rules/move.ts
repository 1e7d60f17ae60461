// Services that moved: from another name on this node, where the volumes stay and the old container serves until the new
// one is ready to take over; or from another node, where the data is somewhere else. Pure.
// Held by test/scenario/start/moves.test.ts.

import type { DesiredService } from "../../../shared/state/desired-state.ts";
import { findFronted, nameFront } from "../../../shared/state/front.ts";
import { findService } from "../../../shared/state/memory.ts";
import { isAlive, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import type { Decision, Reachable, ServiceContext, World } from "../world.ts";

/** The name that a service had on this node before; undefined where it had none. */
function findOldName({ movedFrom }: DesiredService, node: string): string | undefined {
  return movedFrom?.node === node ? movedFrom.service : undefined;
}

/** Containers that live under the name that this service had on this node before, and their front. */
export function listPredecessors(
  world: World,
  engine: Reachable,
  desired: DesiredService | undefined,
): ObservedContainer[] {
  const old = desired === undefined ? undefined : findOldName(desired, world.desired.node);
  if (old === undefined || world.desired.services.has(old)) return [];
  const names = new Set([old, nameFront(old)]);
  return engine.containers.filter((entry) => names.has(entry.service) && isAlive(entry));
}

/**
 * The service that takes over from a removed one and has not done so yet: until then the old one serves.
 * @param name the removed service, or its front
 */
export function findSuccessor(
  world: World,
  containers: readonly ObservedContainer[],
  name: string,
): DesiredService | undefined {
  const old = findFronted(name) ?? name;
  const successor = [...world.desired.services.values()].find(
    (service) => service.running && findOldName(service, world.desired.node) === old,
  );
  if (successor === undefined || findService(world.memory.services, successor.name)?.operator.stoppedBy !== undefined)
    return undefined;
  // What has been started once has taken over, whatever became of it.
  const took = containers.some((entry) => entry.service === successor.name && entry.startedMs !== undefined);
  return took ? undefined : successor;
}

/**
 * A service with data that comes from another node is held: started here without its data it would begin anew, and beside
 * the old one there would be two of it. Its data may be restored here; a person may say that it starts with what is here.
 */
export function waitForData(context: ServiceContext): Decision | undefined {
  const { desired, world, engine, memory, current, others } = context;
  const { movedFrom } = desired;
  const volumes = (desired.spec.volumes ?? []).filter(({ ephemeral }) => ephemeral !== true);
  if (movedFrom === undefined || movedFrom.node === world.desired.node || volumes.length === 0) return undefined;
  const { release, run, operator } = memory;
  const ranHere = release.lastGood !== undefined || run.lastSeen?.engineRun !== undefined || others.length > 0;
  if (ranHere || current?.startedMs !== undefined || operator.emptyBy !== undefined) return undefined;
  const from = `${movedFrom.node}/${movedFrom.service}`;
  const missing = volumes.filter(({ name }) => name !== undefined && engine.volumes[name]?.node !== world.desired.node);
  const stopped = hasStopped(world, from);
  if (stopped && missing.length === 0 && volumes.every(({ name }) => name !== undefined)) return undefined;
  const names = missing.flatMap(({ name }) => name ?? []);
  return {
    state: "held",
    reason: { code: "moved-without-data", service: desired.name, from: movedFrom, missing: names, stopped },
    memory,
  };
}

/** Whether the other node itself says that the service no longer runs there: silence is no such word. */
function hasStopped(world: World, from: string): boolean {
  if (world.peers.kind === "assume") return true;
  return world.peers.services[from]?.stopped === true;
}
