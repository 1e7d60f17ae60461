// A service takes no volume that somebody else has made: it holds their data, or leads to a device or path of the host, which
// anybody could then read who may write a manifest. Asked before anything is made or stopped. Pure.
// Held by test/scenario/start/foreign-volumes.test.ts.

import { isAlive } from "../../../shared/state/observed-state.ts";
import type { Reason } from "../../../shared/state/reason.ts";
import type { Decision, ServiceContext } from "../world.ts";

/** Refuses a start with a volume that is not Orca's on this node; one that the host's policy names is taken. */
export function refuseForeignVolume(context: ServiceContext): Decision | undefined {
  const { current, desired, memory } = context;
  if (current !== undefined && isAlive(current)) return undefined;
  for (const { name } of desired.spec.volumes ?? []) {
    const fault = name === undefined ? undefined : findFault(context, name);
    if (fault !== undefined) return { state: "refused", reason: fault, memory };
  }
  return undefined;
}

function findFault({ current, world, engine }: ServiceContext, name: string): Reason | undefined {
  const volume = engine.volumes[name];
  if (volume === undefined) return undefined;
  const { node: owner, leadsTo } = volume;
  if (owner !== undefined && owner !== world.desired.node) return { code: "volume-taken", volume: name, owner };
  // What was made with it once is started with it again: a crash is to be no outage.
  if (world.desired.foreignVolumes?.includes(name) === true || current !== undefined) return undefined;
  const isForeign = leadsTo !== undefined || owner === undefined;
  return isForeign ? { code: "volume-foreign", volume: name, leadsTo } : undefined;
}
