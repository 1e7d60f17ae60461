// What the engines of a lab saw of a cold start: when each service's process was started, and whether anything began before what
// it requires was ready. The engines' own word, so that it also holds for agents that were killed on the way.

import type { ColdStartPlan } from "../../../agent/desired/cold-start/cold-start-plan.ts";
import { LABEL } from "../../../shared/state/identity.ts";
import type { FleetLab } from "../../../scripts/lab/engine/fleet-lab.ts";

/** Clocks and roundings of one machine. */
const TOLERANCE_MS = 50;

/** `node/service` → when the engine started it last, by the wall clock. */
export async function readStarts(lab: FleetLab, nodes: readonly string[]): Promise<Map<string, number>> {
  const starts = new Map<string, number>();
  for (const node of nodes) {
    const { reader } = lab.of(node).engine.client;
    for (const row of await reader.listContainers()) {
      const startedMs = (await reader.inspectContainer(row.id))?.startedMs;
      if (row.status === "running" && startedMs !== undefined)
        starts.set(`${node}/${row.labels[LABEL.service]}`, startedMs);
    }
  }
  return starts;
}

/** Calls that started something since the counting began, by `node/id`. */
export function listStartCalls(lab: FleetLab, nodes: readonly string[]): string[] {
  return nodes.flatMap((node) =>
    lab.of(node).proxy.calls.flatMap(({ path }) => {
      const id = /\/containers\/([^/]+)\/start$/.exec(path)?.[1];
      return id === undefined ? [] : [`${node}/${id}`];
    }),
  );
}

/** What began before something that it requires can have been ready, in words; also that nothing was there to compare. */
export function findEarlyStarts(
  plan: Pick<ColdStartPlan, "services">,
  starts: ReadonlyMap<string, number>,
  except: string[] = [],
): string[] {
  const takes = new Map(plan.services.map(({ name, takesMs }) => [name, takesMs]));
  if (!plan.services.some(({ name }) => starts.has(name))) return ["nothing of the plan has started"];
  return plan.services.flatMap(({ name, waitsFor }) => {
    const startedMs = starts.get(name);
    if (startedMs === undefined) return [];
    return waitsFor.flatMap((one) => {
      if (except.includes(one)) return [];
      const readyMs = (starts.get(one) ?? Infinity) + (takes.get(one) ?? 0);
      if (startedMs >= readyMs - TOLERANCE_MS) return [];
      return [`${name} began ${Math.round(readyMs - startedMs)} ms before ${one} was ready`];
    });
  });
}
