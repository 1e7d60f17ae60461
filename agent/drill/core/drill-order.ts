// In which order a drill brings up the services of a node, and whom each waits for there. Pure.

import type { DesiredService } from "../../../shared/state/desired-state.ts";
import type { RequirementTarget } from "../../../shared/manifest/requirement.ts";

/** A service and what it waits for. */
export interface OrderedService {
  service: DesiredService;
  /** Services of the drill that must be healthy before it starts. */
  after: readonly string[];
  /** What it requires and no drill has: services of other nodes, endpoints. */
  outside: readonly string[];
}

/** Each service that runs all the time, after those that it requires; what it wants comes before it where that is no circle. */
export function orderServices(services: ReadonlyMap<string, DesiredService>): OrderedService[] {
  const taken = [...services.values()].filter(({ kind, running }) => kind === "service" && running);
  const names = new Set(taken.map(({ name }) => name));
  const ordered = new Map<string, OrderedService>();
  const visiting = new Set<string>();
  const visit = (service: DesiredService): void => {
    if (ordered.has(service.name) || visiting.has(service.name)) return;
    visiting.add(service.name);
    const targets = [...service.requires.map(({ target }) => target), ...service.wants];
    const here = targets.flatMap((target) => findHere(target, names));
    for (const name of here) {
      const other = services.get(name);
      if (other !== undefined) visit(other);
    }
    visiting.delete(service.name);
    // What is not in order yet stands in a circle with it: it is not waited for.
    const after = [...new Set(here)].filter((name) => ordered.has(name));
    const outside = service.requires.flatMap(({ target }) => findOutside(target));
    ordered.set(service.name, { service, after, outside });
  };
  for (const service of taken.toSorted((one, other) => (one.name < other.name ? -1 : 1))) visit(service);
  return [...ordered.values()];
}

function findHere(target: RequirementTarget, names: ReadonlySet<string>): string[] {
  return target.kind === "service" && target.node === undefined && names.has(target.service) ? [target.service] : [];
}

function findOutside(target: RequirementTarget): string[] {
  if (target.kind === "endpoint") return [target.url];
  return target.node === undefined ? [] : [`${target.node}/${target.service}`];
}
