// Which containers and endpoints are to be probed now. Pure: from desired and observed state to a list.

import { readBegunMs } from "./memory/run.ts";
import type { DesiredService, DesiredState } from "../../shared/state/desired-state.ts";
import type { HealthCheck } from "../../shared/manifest/manifest.ts";
import { findService, type NodeMemory, type ServiceMemory } from "../../shared/state/memory.ts";
import type { ObservedContainer, ObservedEngine } from "../../shared/state/observed-state.ts";

/** One run of a container to probe. */
export interface ContainerTarget {
  container: string;
  /** The engine's time of its start: it names the run, and nothing is counted from it. */
  startedMs: number;
  /** When it began, in milliseconds since the epoch as the turn names them; undefined for one that has begun just now. */
  begunMs: number | undefined;
  address: string | undefined;
  check: HealthCheck;
}

/** Selects the running containers of wanted services; containers on the host's network are probed on loopback. */
export function selectTargets(
  desired: DesiredState,
  engine: ObservedEngine,
  { memory, nowMs }: { memory: NodeMemory; nowMs: number },
): ContainerTarget[] {
  if (!engine.reachable) return [];
  return engine.containers.flatMap((container) => {
    const target = selectTarget(desired, container);
    if (target === undefined) return [];
    return [{ ...target, begunMs: readBegunMs(findService(memory.services, container.service), container, nowMs) }];
  });
}

/** How one container is probed; undefined while it does not run and where nothing is to be probed. */
export function selectTarget(desired: DesiredState, container: Probed): ContainerTarget | undefined {
  const service = desired.services.get(container.service);
  if (service?.health === undefined || container.status !== "running" || container.startedMs === undefined)
    return undefined;
  const address = service.spec.network === "host" ? "127.0.0.1" : container.networks[desired.network.name];
  const { id, startedMs } = container;
  return { container: id, startedMs, begunMs: undefined, address, check: service.health };
}

/** What of a container matters to its probes. */
export type Probed = Pick<ObservedContainer, "id" | "service" | "status" | "startedMs" | "networks">;

/**
 * Selects the endpoints that decide about something now: of services that do not run yet, that wait to start anew, or whose newest
 * release is tried, which is not to blame while what it requires is away.
 */
export function selectEndpoints(
  desired: DesiredState,
  engine: ObservedEngine,
  memory: Readonly<Record<string, Pick<ServiceMemory, "gate" | "release">>>,
): string[] {
  if (!engine.reachable) return [];
  const tried = [...desired.services.values()].filter(({ name }) => {
    const { gate, release } = memory[name] ?? {};
    return gate?.waiting !== undefined || release?.rollout !== undefined;
  });
  const services = new Set([...selectNotRunning(desired, engine.containers), ...tried]);
  const targets = [...services].flatMap((service) => [
    ...service.requires.map((entry) => entry.target),
    ...service.wants,
  ]);
  return [...new Set(targets.flatMap((target) => (target.kind === "endpoint" ? [target.url] : [])))];
}

/** Selects the wanted services of which no container of the wanted spec runs. Two services may have the same spec. */
export function selectNotRunning(desired: DesiredState, containers: readonly ObservedContainer[]): DesiredService[] {
  const running = containers.filter((entry) => entry.status === "running");
  return [...desired.services.values()].filter(
    ({ name, specHash, running: wanted }) =>
      wanted && !running.some((entry) => entry.service === name && entry.specHash === specHash),
  );
}
