// What must hold between services: no cycle, the memory budget, no two on one host port or under one name. Pure; the agent holds the
// changed services of a violation, lint reports them.

import { RECEIVER_MEMORY_BYTES } from "../../../shared/state/backup.ts";
import { FRONT_MEMORY_BYTES } from "../../../shared/state/front.ts";
import type { FleetNode } from "../../../shared/fleet/fleet.ts";
import { findCycles } from "../../../shared/fleet/graph.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { compareText } from "../../../shared/text/problem.ts";
import {
  describePort,
  isEveryAddress,
  portsClash,
  type PublishedPort,
} from "../../../shared/manifest/published-port.ts";
import { describeSize } from "../../../shared/text/size.ts";

/** What a node needs to know of another node's service: a fleet may have 20,000 of them. */
export type RemoteManifest = Pick<
  Manifest,
  "requires" | "wants" | "routes" | "ports" | "state" | "volumes" | "moved_from"
>;

/** A service of any node. */
export interface RemoteService {
  node: string;
  service: string;
  manifest: RemoteManifest;
}

/** A service by place and manifest. */
export interface PlacedService extends RemoteService {
  manifest: Manifest;
}

/** A rule that is broken, and by whom. */
export interface Violation {
  code: "cycle" | "memory-budget" | "port-clash" | "name-clash";
  /** Services of the violation as `node/service`. */
  members: readonly string[];
  /** Set where it is enough to hold the first of them that was changed. */
  holdsOne?: true;
  /** Where it is best shown: a member and a key of its manifest; undefined where the node's entry in fleet.toml is the place. */
  at: { member: string; path: readonly (string | number)[] } | undefined;
  message: string;
  hint: string;
}

/** The name of a service across nodes. */
export function placeName(node: string, service: string): string {
  return `${node}/${service}`;
}

/** More names than this in one message help nobody. */
const LONGEST_CYCLE_SHOWN = 12;

/** Dependency cycles, across nodes too; `wants` counts, since a circle of wishes slows every boot by its timeouts. */
export function findDependencyCycles(services: readonly RemoteService[]): Violation[] {
  const edges = new Map<string, Edge[]>();
  for (const { node, service, manifest } of services) edges.set(placeName(node, service), listEdges(node, manifest));
  const targets = new Map([...edges].map(([name, list]) => [name, list.map((edge) => edge.target)]));
  return findCycles(targets).map((cycle) => {
    const last = cycle.at(-1) ?? "";
    const closing = edges.get(last)?.find((edge) => edge.target === cycle[0]);
    return {
      code: "cycle",
      members: cycle,
      at: { member: last, path: closing?.path ?? [] },
      message: `they require each other: ${describeCycle(cycle)}`,
      hint: "take one of these out of requires or wants: it must start without the other",
    };
  });
}

function describeCycle(cycle: readonly string[]): string {
  const left = cycle.length - LONGEST_CYCLE_SHOWN;
  const shown = left > 1 ? [...cycle.slice(0, LONGEST_CYCLE_SHOWN), `… ${left} more …`] : cycle;
  return [...shown, cycle[0]].join(" → ");
}

/** One thing that a service waits for, and where its manifest says so. */
interface Edge {
  target: string;
  path: readonly (string | number)[];
}

function listEdges(node: string, { requires, wants }: RemoteManifest): Edge[] {
  const required = requires.map(({ target }, index) => ({ target, path: ["requires", index] }));
  const wanted = wants.map((target, index) => ({ target, path: ["wants", index] }));
  return [...required, ...wanted].flatMap(({ target, path }) =>
    target.kind === "service" ? [{ target: placeName(target.node ?? node, target.service), path }] : [],
  );
}

/** The memory caps of one node against what it has for services; a service with `state = "stopped"` takes none. */
export function checkBudget(services: readonly PlacedService[], node: FleetNode | undefined): Violation[] {
  if (node === undefined) return [];
  const mostBytes = node.memory - node.reserve;
  return checkTotal(services, mostBytes, (total) => {
    const parts = `(${describeSize(node.memory)} less ${describeSize(node.reserve)} in reserve)`;
    return `the caps come to ${total}, and the node has ${describeSize(mostBytes)} for services ${parts}`;
  });
}

/** The same against the host's policy. */
export function checkPolicyBudget(services: readonly PlacedService[], mostBytes: number | undefined): Violation[] {
  if (mostBytes === undefined) return [];
  return checkTotal(
    services,
    mostBytes,
    (total) =>
      `the caps come to ${total}, and the host allows ${describeSize(mostBytes)} in all (policy: memory.max_total)`,
  );
}

function checkTotal(
  services: readonly PlacedService[],
  mostBytes: number,
  describe: (total: string) => string,
): Violation[] {
  const counted = services.filter(({ manifest }) => manifest.state === "running");
  const doubled = counted.filter(({ manifest }) => manifest.update.order === "start-first");
  // The second copies of two start-first services never run at once where they do not fit: the largest must.
  const copyBytes = Math.max(0, ...doubled.map(({ manifest }) => manifest.resources.memory));
  const frontBytes = doubled.length * FRONT_MEMORY_BYTES;
  const capsBytes = counted.reduce((sum, { manifest }) => sum + manifest.resources.memory, 0);
  // One dump or one proof runs at a time: the largest must fit beside all that runs.
  const backupBytes = Math.max(0, ...services.flatMap(({ manifest }) => manifest.backups.map(({ memory }) => memory)));
  const receivers = services.flatMap(({ manifest }) => manifest.backups.filter(({ wal }) => wal !== undefined));
  const receiverBytes = receivers.length * RECEIVER_MEMORY_BYTES;
  const totalBytes = capsBytes + frontBytes + copyBytes + backupBytes + receiverBytes;
  if (totalBytes <= mostBytes) return [];
  const parts = [
    ...(doubled.length === 0
      ? []
      : [
          `${describeSize(frontBytes)} for fronts`,
          `${describeSize(copyBytes)} for the largest second copy of a start-first service`,
        ]),
    ...(backupBytes === 0 ? [] : [`${describeSize(backupBytes)} for one backup or its proof`]),
    ...(receiverBytes === 0 ? [] : [`${describeSize(receiverBytes)} for receivers of logs`]),
  ];
  const extra = parts.length === 0 ? "" : `, among them ${parts.join(" and ")}`;
  const largest = counted
    .toSorted((left, right) => right.manifest.resources.memory - left.manifest.resources.memory)
    .slice(0, 3)
    .map(({ service, manifest }) => `${service} ${describeSize(manifest.resources.memory)}`);
  return [
    {
      code: "memory-budget",
      members: counted.map(({ node: place, service }) => placeName(place, service)),
      at: undefined,
      message: `${describe(describeSize(totalBytes))}${extra}`,
      hint: `lower caps by ${describeSize(totalBytes - mostBytes)}; the largest are ${largest.join(", ")}`,
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
  const held = new Map<string, HeldPort[]>();
  const hold = (port: HeldPort): HeldPort | undefined => {
    const key = `${port.hostPort}/${port.protocol}`;
    const rivals = held.get(key);
    const other = rivals?.find((entry) => portsClash(entry, port));
    if (rivals === undefined) held.set(key, [port]);
    else rivals.push(port);
    return other;
  };
  for (const port of agentPorts) hold({ ...port, holder: "" });
  const violations: Violation[] = [];
  for (const { node, service, manifest } of services.toSorted((left, right) =>
    compareText(left.service, right.service),
  )) {
    for (const [index, port] of manifest.ports.entries()) {
      const mine = { ...port, address: port.address ?? address, holder: placeName(node, service) };
      const other = hold(mine);
      if (other !== undefined) violations.push(describeClash(mine, other, index));
    }
  }
  return violations;
}

function describeClash(mine: HeldPort, other: HeldPort, index: number): Violation {
  const every = [mine, other].some((port) => isEveryAddress(port.address))
    ? "; one of them is published on every address"
    : "";
  const holder =
    other.holder === "" ? "the agent itself" : other.holder === mine.holder ? "the same service twice" : other.holder;
  return {
    code: "port-clash",
    members: other.holder === "" ? [mine.holder] : [...new Set([mine.holder, other.holder])],
    at: { member: mine.holder, path: ["ports", index] },
    message: `host port ${describePort(mine)} is held by ${holder}${every}`,
    hint: "publish it on another host port, or write the address out where they differ",
  };
}

/**
 * Host names that are the name of another service of the node: its network would lead to both containers by that name, in turn.
 * @param services those of one node
 */
export function findNameClashes(services: readonly PlacedService[]): Violation[] {
  const names = new Set(services.map(({ service }) => service));
  return services.flatMap(({ node, service, manifest: { hostname, network } }): Violation[] => {
    const other = hostname?.toLowerCase();
    if (other === undefined || other === service || network !== "orca" || !names.has(other)) return [];
    const member = placeName(node, service);
    return [
      {
        code: "name-clash",
        members: [member, placeName(node, other)],
        holdsOne: true,
        at: { member, path: ["hostname"] },
        message: `hostname ${JSON.stringify(hostname)} is the name of another service on this node: whoever asks for ${other} would get either of them`,
        hint: `write another hostname, or leave it out: this service is reached as ${service}`,
      },
    ];
  });
}
