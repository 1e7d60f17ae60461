// What keeps a container from starting on this host, judged before anything is stopped for it: a port that somebody else holds, the
// source of a bind that is not there. Pure; used by start.ts and by what restarts a container that runs.
// Held by test/scenario/start-failures.test.ts.

import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import { type HostFacts, isAlive } from "../../../shared/state/observed-state.ts";
import { parsePublishedPort, type PublishedPort, portsClash } from "../../../shared/manifest/published-port.ts";
import type { FaultCode } from "../../../shared/state/step.ts";
import type { Reachable, World } from "../world.ts";

/** What is in the way, as a failure that did not have to happen. */
export interface Obstacle {
  fault: Extract<FaultCode, "port-held" | "source-missing">;
  message: string;
}

/** What is around a service: what the host was seen to have, and what else is wanted of the node. */
export interface Surroundings {
  places: HostFacts["places"];
  wanted: Pick<DesiredState, "services" | "objections">;
}

/** What is around the services of a world. */
export function lookAround({ observed, desired }: World): Surroundings {
  return { places: observed.host.places, wanted: desired };
}

/** Everything of the host and the engine that is in the way of this service's start. */
export function listObstacles(
  desired: DesiredService,
  engine: Reachable,
  { places, wanted }: Surroundings,
): readonly Obstacle[] {
  const tried = (places.get(desired.name) ?? []).map((fault): Obstacle => {
    if (fault.kind === "source")
      return { fault: "source-missing", message: `the bind source ${fault.path} does not exist on this host` };
    const port = describeHostPort(parsePublishedPort(fault.port) as PublishedPort);
    const message =
      fault.why === "no-address"
        ? `${port} cannot be published: this host has no such address`
        : `${port} is held by another program on this host (sudo ss -lnp shows which)`;
    return { fault: "port-held", message };
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
    const holder = findForeignHolder(port, engine) ?? findOwnHolder(port, name, engine, wanted);
    if (holder === undefined) return [];
    return [{ fault: "port-held", message: `${describeHostPort(port)} is held by ${holder}` } as const];
  });
}

function findForeignHolder(port: PublishedPort, { foreign }: Reachable): string | undefined {
  const holder = foreign.find(({ running, ports }) => running && ports.some((held) => clashes(port, held)));
  if (holder === undefined) return undefined;
  const owner = holder.node === undefined ? "which was not made by Orca" : `which belongs to node ${holder.node}`;
  return `the container ${holder.name}, ${owner}: stop that, or publish another port`;
}

/** A container of this node gives its port up where it is replaced or removed, and keeps it where it is wanted, or refused and runs on. */
function findOwnHolder(
  port: PublishedPort,
  name: string,
  { containers }: Reachable,
  { services, objections }: Surroundings["wanted"],
): string | undefined {
  const holder = containers.find((entry) => {
    const { service, specHash, ports } = entry;
    if (service === name || !isAlive(entry) || !ports.some((held) => clashes(port, held))) return false;
    const other = services.get(service);
    if (other === undefined) return objections.has(service);
    return other.running && other.specHash === specHash;
  });
  if (holder === undefined) return undefined;
  const why = services.has(holder.service) ? "" : `, which is ${objections.get(holder.service)?.state} and runs on`;
  return `the service ${holder.service} of this node${why}: publish another port`;
}

function clashes(port: PublishedPort, text: string): boolean {
  const held = parsePublishedPort(text);
  return typeof held !== "string" && portsClash(port, held);
}

function describeHostPort({ address, hostPort, protocol }: PublishedPort): string {
  const on = address === undefined ? "" : `${address.includes(":") ? `[${address}]` : address}:`;
  return `host port ${on}${hostPort}/${protocol}`;
}
