// Nobody begins to write to data while somebody is still writing there to whom Git gives it no more: a service under another name, two
// renames that came at once, a commit that was taken back, a volume that goes from one service to another. Two services to which Git
// gives the same data share it. Pure.
// Held by test/scenario/start/data-holder.test.ts.

import { findLaneService } from "../../../shared/state/front.ts";
import type { OperationInFlight } from "../../../shared/state/step.ts";
import { findOwner, isGone, listHolders, listWritten } from "./data-owners.ts";
import { listEnded } from "../steps.ts";
import type { Decision, ServiceContext } from "../world.ts";

/** Holds a start back until what may not write there any more has ended. */
export function waitForDataHolder(context: ServiceContext): Decision | undefined {
  const { world, memory, desired } = context;
  const [first] = listWritten(desired);
  if (first === undefined) return undefined;
  const wait = (service: string, data: string): Decision => {
    const reason = { code: "waiting-for-data", service, data, wanted: !isGone(world, service) } as const;
    return { state: "waiting", reason, memory };
  };
  const owner = findOwner(context);
  if (owner !== undefined) return wait(owner.service, owner.data);
  // What this start ends itself has ended before it.
  const ended = new Set(listEnded(context).map(({ id }) => id));
  const holder = listHolders(context).find(({ container }) => !ended.has(container.id));
  if (holder !== undefined) return wait(holder.container.service, holder.data);
  // Its container may start in the next moment; the operation is cancelled, and ends with the step that is under way.
  const starting = world.observed.operations.find((busy) => busy.starts && isOutdated(context, busy));
  return starting === undefined ? undefined : wait(findLaneService(starting.lane), first);
}

/** It starts what is no longer in Git, or an earlier release than is wanted of a service that may have had the data. */
function isOutdated({ world, engine, desired }: ServiceContext, { lane, fingerprint }: OperationInFlight): boolean {
  const name = findLaneService(lane);
  if (isGone(world, name)) return true;
  const service = world.desired.services.get(name);
  if (service === undefined || name === desired.name || service.fingerprint === fingerprint) return false;
  // As far as can be told, its containers have written nothing of this.
  const containers = engine.containers.filter((entry) => entry.service === name && entry.specHash !== service.specHash);
  const written = listWritten(desired);
  const shared = listWritten(service);
  return containers.some(({ writes }) => writes.some((data) => written.includes(data) && !shared.includes(data)));
}
