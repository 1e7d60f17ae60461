// What keeps a container from starting on this host, judged before anything is stopped for it: a port that somebody else holds, the
// source of a bind that is not there. Pure; used by start.ts and by what restarts a container that runs.
// Held by test/scenario/start/start-failures.test.ts.

import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import { type HostFacts, isAlive } from "../../../shared/state/observed-state.ts";
import { parsePublishedPort, type PublishedPort, portsClash } from "../../../shared/manifest/published-port.ts";
import type { Reason } from "../../../shared/state/reason.ts";
import type { FaultCode } from "../../../shared/state/step.ts";
import type { Reachable, World } from "../world.ts";

/** What is in the way: a failure that need not be tried to be known. */
export interface Obstacle {
  fault: Extract<FaultCode, "port-held" | "source-missing">;
  why: Reason;
}

/** What is around a service: what the host was seen to have, and what else is wanted of the node. */
export interface Surroundings {
  obstacles: HostFacts["obstacles"];
  wanted: Pick<DesiredState, "services" | "objections">;
}

/** What is around the services of a world. */
export function lookAround({ observed, desired }: World): Surroundings {
  return { obstacles: observed.host.obstacles, wanted: desired };
}

/** Everything of the host and the engine that is in the way of this service's start. */
export function listObstacles(
  desired: DesiredService,
  engine: Reachable,
  { obstacles, wanted }: Surroundings,
): readonly Obstacle[] {
  const tried = (obstacles.get(desired.name) ?? []).map((fault): Obstacle => {
    if (fault.kind === "source") return { fault: "source-missing", why: { code: "source-missing", path: fault.path } };
    const port = parsePublishedPort(fault.port) as PublishedPort;
    const code = fault.why === "no-address" ? "port-without-address" : "port-held-by-program";
    return { fault: "port-held", why: { code, port } };
  });
  const held = listHolders(desired, engine, wanted);
  // The engine names the holder; that the port cannot be bound is then no news.
  return held.length > 0 ? [...held, ...tried.filter(({ fault }) => fault !== "port-held")] : tried;
}

/** Containers that hold a port which this service publishes, and keep it: certain, since the same engine gives it out. */
export function listHolders(
  { name, spec }: DesiredService,
  engine: Reachable,
  wanted: Surroundings["wanted"],
): readonly Obstacle[] {
  return (spec.ports ?? []).flatMap((text) => {
    const port = parsePublishedPort(text);
    if (typeof port === "string") return [];
    const why = findForeignHolder(port, engine) ?? findOwnHolder(port, name, engine, wanted);
    return why === undefined ? [] : [{ fault: "port-held", why } as const];
  });
}

function findForeignHolder(port: PublishedPort, { foreign }: Reachable): Reason | undefined {
  const holder = foreign.find(({ running, ports }) => running && ports.some((held) => clashes(port, held)));
  if (holder === undefined) return undefined;
  return { code: "port-held-by-container", port, container: holder.name, owner: holder.node };
}

/** A container of this node gives its port up where it is replaced or removed, and keeps it where it is wanted, or refused and runs on. */
function findOwnHolder(
  port: PublishedPort,
  name: string,
  { containers }: Reachable,
  { services, objections }: Surroundings["wanted"],
): Reason | undefined {
  const holder = containers.find((entry) => {
    const { service, specHash, ports } = entry;
    if (service === name || !isAlive(entry) || !ports.some((held) => clashes(port, held))) return false;
    const other = services.get(service);
    if (other === undefined) return objections.has(service);
    return other.running && other.specHash === specHash;
  });
  if (holder === undefined) return undefined;
  const runsOn = services.has(holder.service) ? undefined : objections.get(holder.service)?.state;
  return { code: "port-held-by-service", port, service: holder.service, runsOn };
}

function clashes(port: PublishedPort, text: string): boolean {
  const held = parsePublishedPort(text);
  return typeof held !== "string" && portsClash(port, held);
}
