// A service takes no volume that somebody else has made: it holds their data, or leads to a device or path of the host, which
// anybody could then read who may write a manifest. Asked before anything is made or stopped. Pure.
// Held by test/scenario/foreign-volumes.test.ts.

import { isAlive } from "../../../shared/state/observed-state.ts";
import type { Decision, Scene } from "../world.ts";

/** Refuses a start with a volume that is not Orca's on this node; one that the host's policy names is taken. */
export function refuseForeignVolume(scene: Scene): Decision | undefined {
  const { current, desired, memory } = scene;
  if (current !== undefined && isAlive(current)) return undefined;
  for (const { name } of desired.spec.volumes ?? []) {
    const fault = name === undefined ? undefined : findFault(scene, name);
    if (fault !== undefined) return { state: "refused", reason: fault, memory };
  }
  return undefined;
}

function findFault({ current, world, engine }: Scene, name: string): string | undefined {
  const volume = engine.volumes[name];
  if (volume === undefined) return undefined;
  const { node: owner, leadsTo } = volume;
  if (owner !== undefined && owner !== world.desired.node)
    return `the volume ${name} belongs to node ${owner}; choose another name`;
  // What was made with it once is started with it again: a crash is to be no outage.
  if (world.desired.foreignVolumes?.includes(name) === true || current !== undefined) return undefined;
  const remedy = `choose another name, or write volumes.foreign = [${JSON.stringify(name)}] into this host's policy`;
  if (leadsTo !== undefined) return `the volume ${name} is really ${leadsTo}; ${remedy}`;
  return owner === undefined
    ? `the volume ${name} was not made by Orca and holds somebody's data; ${remedy}`
    : undefined;
}
