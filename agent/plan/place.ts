// What keeps a container from starting on this host, judged before anything is stopped for it: a port that somebody else holds, the
// source of a bind that is not there. Pure; used by start.ts and by what restarts a container that runs.

import type { DesiredService } from "../../shared/desired-state.ts";
import type { HostFacts } from "../../shared/observed-state.ts";
import { parsePublishedPort, type PublishedPort, portsClash } from "../../shared/published-port.ts";
import type { FaultCode } from "../../shared/step.ts";
import type { Reachable } from "./world.ts";

/** What is in the way, as a failure that did not have to happen. */
export interface Obstacle {
  fault: Extract<FaultCode, "port-held" | "source-missing">;
  message: string;
}

/** Everything of the host and the engine that is in the way of this service's start. */
export function listObstacles(
  desired: DesiredService,
  engine: Reachable,
  places: HostFacts["places"],
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
  const held = listForeignHolders(desired, engine);
  // The engine names the holder; that the port cannot be bound is then no news.
  return held.length > 0 ? [...held, ...tried.filter(({ fault }) => fault !== "port-held")] : tried;
}

/** Containers of others that hold a port which this service publishes: certain, since the same engine gives it out. */
export function listForeignHolders({ spec }: DesiredService, engine: Reachable): readonly Obstacle[] {
  return (spec.ports ?? []).flatMap((text) => {
    const port = parsePublishedPort(text);
    if (typeof port === "string") return [];
    const holder = engine.foreign.find(
      (foreign) => foreign.running && foreign.ports.some((held) => clashes(port, held)),
    );
    if (holder === undefined) return [];
    const owner = holder.node === undefined ? "which was not made by Orca" : `which belongs to node ${holder.node}`;
    const message = `${describeHostPort(port)} is held by the container ${holder.name}, ${owner}: stop that, or publish another port`;
    return [{ fault: "port-held", message } as const];
  });
}

function clashes(port: PublishedPort, text: string): boolean {
  const held = parsePublishedPort(text);
  return typeof held !== "string" && portsClash(port, held);
}

function describeHostPort({ address, hostPort, protocol }: PublishedPort): string {
  const on = address === undefined ? "" : `${address.includes(":") ? `[${address}]` : address}:`;
  return `host port ${on}${hostPort}/${protocol}`;
}
