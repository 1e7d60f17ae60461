// Measures one cold start of a whole realm after every host lost power at once, against the longest chain of declared times and
// of what the engines themselves took for each start. For the fleet test and for `scripts/bench --only cold`.

import { planColdStart } from "../../../agent/desired/cold-start/cold-start-plan.ts";
import { LABEL } from "../../../shared/state/identity.ts";
import type { FleetDocument } from "../../../shared/document/fleet-document.ts";
import { type ColdFleet, NO_MARKS } from "./cold-fleet.ts";
import { FleetLab } from "../engine/fleet-lab.ts";
import { IMAGE } from "../engine/real-node.ts";

/** What a cold start came to. Times in milliseconds. */
export interface ColdStartOutcome {
  /** From the agents' start until the last service was healthy. */
  totalMs: number;
  /** Of it, until the first agent asked its engine for the first start: the agents' own. */
  firstMs: number;
  /** The longest chain of declared times alone, and with the engine's own time for each start. */
  declaredMs: number;
  floorMs: number;
  /** By the time they became healthy, the last one last. */
  order: string[];
  /** `node/service` → since when it is healthy, from the agents' start. */
  since: ReadonlyMap<string, number>;
  restarts: number;
  /** Explanations beside a service, such as "started without …". */
  notes: string[];
  /** Starts that engines were asked for. */
  starts: number;
  /** Where the time went, a line for each service. */
  lines: string[];
}

/** Makes the lab of a fleet and lets everything start for the first time. */
export async function openColdLab(cold: ColdFleet): Promise<FleetLab> {
  const lab = new FleetLab({ nodes: cold.nodes, images: [IMAGE], manifests: cold.manifests, unread: NO_MARKS });
  try {
    await lab.create();
    lab.start();
    await untilHealthy(lab, cold, "the first start of everything");
  } catch (error) {
    await lab.destroy();
    throw error;
  }
  return lab;
}

async function untilHealthy(lab: FleetLab, cold: ColdFleet, what: string): Promise<void> {
  const [first = ""] = lab.hosts.keys();
  const isHealthy = async (): Promise<boolean> => (await lab.read<FleetDocument>(first, "/v1/fleet"))?.healthy === true;
  await lab.until(isHealthy, 120_000 + 2 * cold.plan.totalMs, what);
}

/** Takes the power from every host and measures how everything comes back. */
export async function measureColdStart(lab: FleetLab, cold: ColdFleet): Promise<ColdStartOutcome> {
  await Promise.all([...lab.hosts.keys()].map((node) => lab.reboot(node)));
  for (const { proxy } of lab.hosts.values()) proxy.reset();
  const from = Date.now();
  const clockMs = from - performance.now();
  lab.start();
  await untilHealthy(lab, cold, "the cold start");
  const since = new Map<string, number>();
  const [notes, lines]: [string[], string[]] = [[], []];
  let restarts = 0;
  for (const status of await Promise.all([...lab.hosts.keys()].map((node) => lab.read(node)))) {
    if (status === undefined) throw new Error(await lab.describe());
    for (const service of status.services) {
      since.set(`${status.node}/${service.name}`, Date.parse(service.since) - from);
      restarts += service.restarts;
      notes.push(...service.notes);
    }
  }
  const asked = new Map<string, number>();
  const known = new Map<string, number>();
  const planned = new Map(cold.plan.services.map((service) => [service.name, service]));
  for (const { name, askedMs, startedMs } of await listStarts(lab)) {
    const service = planned.get(name);
    if (service === undefined) throw new Error(`${name} is not planned`);
    const [askedAtMs, engineMs] = [askedMs + clockMs - from, startedMs - askedMs - clockMs];
    asked.set(name, askedAtMs);
    known.set(name, service.takesMs + engineMs);
    const openMs = Math.max(0, ...service.waitsFor.map((one) => since.get(one) ?? 0));
    const lateMs = (since.get(name) ?? 0) - askedAtMs - engineMs - service.takesMs;
    const after = `asked ${show(askedAtMs - openMs)} after all it requires`;
    lines.push(`${name}: ${after}, engine ${show(engineMs)}, healthy ${show(lateMs)} late`);
  }
  const starts = [...lab.hosts.values()].flatMap(({ proxy }) =>
    proxy.calls.filter(({ path }) => path.endsWith("/start")),
  );
  const order = [...since.keys()].toSorted((left, right) => (since.get(left) ?? 0) - (since.get(right) ?? 0));
  return {
    order,
    since,
    restarts,
    notes,
    lines,
    starts: starts.length,
    firstMs: Math.min(...asked.values()),
    totalMs: Math.max(...since.values()),
    declaredMs: cold.plan.criticalMs,
    floorMs: planColdStart(cold.services, { known, defaultMs: 0, slots: 1_000, slotMs: 1 }).criticalMs,
  };
}

/** When each start was asked of its engine (`performance.now()`), and when its process began (the wall clock). */
async function listStarts(lab: FleetLab): Promise<{ name: string; askedMs: number; startedMs: number }[]> {
  const starts: { name: string; askedMs: number; startedMs: number }[] = [];
  for (const [node, { proxy, engine }] of lab.hosts)
    for (const row of await engine.client.reader.listContainers()) {
      const name = `${node}/${row.labels[LABEL.service]}`;
      const call = proxy.calls.find(({ path }) => path.endsWith(`${row.id}/start`));
      const startedMs = (await engine.client.reader.inspectContainer(row.id))?.startedMs;
      if (call === undefined || startedMs === undefined) throw new Error(`${name} did not start`);
      starts.push({ name, askedMs: call.atMs, startedMs });
    }
  return starts;
}

function show(ms: number): string {
  return `${Math.round(ms)} ms`;
}
