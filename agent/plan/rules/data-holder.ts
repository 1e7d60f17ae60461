// Nobody begins to write to data while somebody is still writing there who is no longer wanted: a service under another name, two
// renames that came at once, a commit that was taken back. Two services of Git may share data; what is being removed shares none. Pure.
// Held by test/scenario/start/data-holder.test.ts.

import { findLaneService } from "../../../shared/state/front.ts";
import { isAlive, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import { listEnded } from "../steps.ts";
import type { Decision, ServiceContext } from "../world.ts";

/** Holds a start back until what is no longer in Git has ended and given up its data. */
export function waitForDataHolder(context: ServiceContext): Decision | undefined {
  const { world, engine, memory } = context;
  const wanted = listWritten(context);
  if (wanted.length === 0) return undefined;
  const { services, objections } = world.desired;
  const isGone = (name: string): boolean => !services.has(name) && !objections.has(name);
  const wait = (service: string, data: string): Decision => {
    return { state: "waiting", reason: { code: "waiting-for-data", service, data }, memory };
  };
  // What this start ends itself has ended before it.
  const ended = new Set(listEnded(context).map(({ id }) => id));
  for (const container of engine.containers) {
    if (!isGone(container.service) || ended.has(container.id) || !isAlive(container)) continue;
    const data = findShared(container, wanted);
    if (data !== undefined) return wait(container.service, data);
  }
  // Its container may start in the next moment; the operation is cancelled, and ends with the step that is under way.
  const starting = world.observed.operations.find((busy) => busy.starts && isGone(findLaneService(busy.lane)));
  const [first] = wanted;
  return starting === undefined || first === undefined ? undefined : wait(findLaneService(starting.lane), first);
}

/** Where this service writes: names of volumes, and real paths of this host. */
function listWritten({ desired: { spec, binds = [] } }: ServiceContext): string[] {
  return (spec.volumes ?? []).flatMap(({ name, source, target, readOnly }) => {
    if (readOnly === true) return [];
    const path = binds.find((bind) => bind.target === target)?.real ?? source;
    return [name ?? path ?? ""].filter((data) => data !== "");
  });
}

function findShared({ writes }: ObservedContainer, wanted: readonly string[]): string | undefined {
  return wanted.find((data) => writes.some((held) => isSameOrInside(held, data) || isSameOrInside(data, held)));
}

/** Only a path has an inside. */
function isSameOrInside(path: string, directory: string): boolean {
  return path === directory || (directory.startsWith("/") && path.startsWith(`${directory.replace(/\/$/, "")}/`));
}
