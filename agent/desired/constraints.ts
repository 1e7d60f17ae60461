// What must hold between services: no cycle, the memory budget, no two on one host port. Pure; the agent holds the
// changed services of a violation, lint reports them.

import type { FleetNode } from "../../shared/fleet.ts";
import { findCycles } from "../../shared/graph.ts";
import type { Manifest } from "../../shared/manifest.ts";
import { compareText } from "../../shared/problem.ts";
import { describePort, isEveryAddress, portsClash, type PublishedPort } from "../../shared/published-port.ts";
import { describeSize } from "../../shared/size.ts";

/** A service by place and manifest. */
export interface PlacedService {
  node: string;
  service: string;
  manifest: Manifest;
}

/** A rule that is broken, and by whom. */
export interface Violation {
  code: "cycle" | "memory-budget" | "port-clash";
  /** Services of the violation as `node/service`. */
  members: readonly string[];
  message: string;
  hint: string;
}

/** The name of a service across nodes. */
export function placeName(node: string, service: string): string {
  return `${node}/${service}`;
}

/** Dependency cycles, across nodes too; `wants` counts, since a circle of wishes slows every boot by its timeouts. */
export function findDependencyCycles(services: readonly PlacedService[]): Violation[] {
  const edges = new Map(
    services.map(({ node, service, manifest }) => [placeName(node, service), listEdges(node, manifest)]),
  );
  return findCycles(edges).map((cycle) => ({
    code: "cycle",
    members: cycle,
    message: `they require each other: ${[...cycle, cycle[0]].join(" → ")}`,
    hint: "take one of these out of requires, or make it a wants with a short wants_timeout on one side only",
  }));
}

function listEdges(node: string, manifest: Manifest): string[] {
  const targets = [...manifest.requires.map((entry) => entry.target), ...manifest.wants];
  return targets.flatMap((target) =>
    target.kind === "service" ? [placeName(target.node ?? node, target.service)] : [],
  );
}

/** The memory caps of one node against what it has for services; a service with `state = "stopped"` takes none. */
export function checkBudget(services: readonly PlacedService[], node: FleetNode | undefined): Violation[] {
  if (node === undefined) return [];
  const counted = services.filter(({ manifest }) => manifest.state === "running");
  const totalBytes = counted.reduce((sum, { manifest }) => sum + manifest.resources.memory, 0);
  const budgetBytes = node.memory - node.reserve;
  if (totalBytes <= budgetBytes) return [];
  const largest = counted
    .toSorted((left, right) => right.manifest.resources.memory - left.manifest.resources.memory)
    .slice(0, 3)
    .map(({ service, manifest }) => `${service} ${describeSize(manifest.resources.memory)}`);
  return [
    {
      code: "memory-budget",
      members: counted.map(({ node: place, service }) => placeName(place, service)),
      message:
        `the caps come to ${describeSize(totalBytes)}, and the node has ${describeSize(budgetBytes)} for services ` +
        `(${describeSize(node.memory)} less ${describeSize(node.reserve)} in reserve)`,
      hint: `lower caps by ${describeSize(totalBytes - budgetBytes)}; the largest are ${largest.join(", ")}`,
    },
  ];
}

/** A host port with its holder. */
interface HeldPort extends PublishedPort {
  holder: string;
}

/**
 * Host ports that two services of one node both publish, or that the agent itself listens on.
 * @param address what a port is published on where the manifest names no address
 * @param agentPorts the agent's own listeners
 */
export function findPortClashes(
  services: readonly PlacedService[],
  address: string,
  agentPorts: readonly PublishedPort[],
): Violation[] {
  const held: HeldPort[] = agentPorts.map((port) => ({ ...port, holder: "" }));
  const violations: Violation[] = [];
  for (const { node, service, manifest } of services.toSorted((left, right) =>
    compareText(left.service, right.service),
  )) {
    for (const port of manifest.ports) {
      const mine = { ...port, address: port.address ?? address, holder: placeName(node, service) };
      const other = held.find((entry) => portsClash(entry, mine));
      if (other !== undefined) violations.push(describeClash(mine, other));
      held.push(mine);
    }
  }
  return violations;
}

function describeClash(mine: HeldPort, other: HeldPort): Violation {
  const every = [mine, other].some((port) => isEveryAddress(port.address))
    ? "; one of them is published on every address"
    : "";
  const holder =
    other.holder === "" ? "the agent itself" : other.holder === mine.holder ? "the same service twice" : other.holder;
  return {
    code: "port-clash",
    members: other.holder === "" ? [mine.holder] : [...new Set([mine.holder, other.holder])],
    message: `host port ${describePort(mine)} is held by ${holder}${every}`,
    hint: "publish it on another host port, or write the address out where they differ",
  };
}
