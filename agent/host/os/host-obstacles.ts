// Whether this host has what a container is to start with: its ports free, the sources of its binds there. Tried, so that a start that
// must fail ends nothing that serves. Called by the loop and by `orca plan`; holds nothing longer than the try itself.

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { createServer } from "node:net";
import { setTimeout } from "node:timers/promises";

import type { DesiredState } from "../../../shared/state/desired-state.ts";
import type { HostFacts, ObservedEngine, HostObstacle } from "../../../shared/state/observed-state.ts";
import { parsePublishedPort, type PublishedPort, portsClash } from "../../../shared/manifest/published-port.ts";
import { selectNotRunning } from "../../plan/targets.ts";

/** Tries what a container needs of the host. */
export interface ObstacleProbe {
  /** Why this port cannot be bound now; undefined where it can, or where nobody can say. */
  tryPort(port: PublishedPort): Promise<"in-use" | "no-address" | undefined>;
  /** True when this path is not on the host. */
  isMissing(path: string): Promise<boolean>;
}

/** A path that has not answered by then (a file system whose server is away) says nothing. */
const PATH_DEADLINE_MS = 500;

/** Opens the probe of a real host. */
export function openObstacleProbe(): ObstacleProbe {
  const pending = new Set<string>();
  return { ...PORTS, isMissing: (path) => isMissing(path, pending) };
}

/** A path that hangs is asked once and left alone until it answers: each call holds one of the process's few threads. */
async function isMissing(path: string, pending: Set<string>): Promise<boolean> {
  // systemd gives a service directories of its own in these places.
  if (pending.has(path) || /^\/(?:tmp|var\/tmp|dev|proc|sys)(?:\/|$)/.test(path)) return false;
  pending.add(path);
  const asked = stat(path).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === "ENOENT",
  );
  const answer = asked.finally(() => pending.delete(path));
  const ending = new AbortController();
  const late = setTimeout(PATH_DEADLINE_MS, false, { signal: ending.signal }).catch(() => false);
  try {
    return await Promise.race([answer, late]);
  } finally {
    ending.abort();
  }
}

const PORTS: Pick<ObstacleProbe, "tryPort"> = {
  tryPort: async (port) => {
    try {
      await (port.protocol === "udp" ? bindUdp(port) : bindTcp(port));
      return undefined;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return code === "EADDRINUSE" ? "in-use" : code === "EADDRNOTAVAIL" ? "no-address" : undefined;
    }
  },
};

/**
 * Tries what wanted services need of the host.
 * @param busy services that are being worked on: a try must not meet the engine's own
 * @returns what is not as it must be, by service
 */
export async function readHostObstacles(
  desired: DesiredState,
  engine: ObservedEngine,
  probe: ObstacleProbe,
  busy: ReadonlySet<string>,
): Promise<HostFacts["obstacles"]> {
  if (!engine.reachable) return new Map();
  // What a container of this node holds is given up when that one ends, in the order of the plan.
  const held = engine.containers.flatMap((container) => parsePorts(container.ports));
  const idle = new Set(selectNotRunning(desired, engine.containers).filter(({ name }) => !busy.has(name)));
  const found = await Promise.all(
    [...desired.services.values()].map(async (service) => {
      const ports = (idle.has(service) ? (service.spec.ports ?? []) : []).filter((text) => {
        const [port] = parsePorts([text]);
        return port !== undefined && !held.some((other) => portsClash(other, port));
      });
      const sources = (service.spec.volumes ?? []).flatMap(({ source }) => source ?? []);
      return [service.name, await tryPlace(probe, ports, sources)] as const;
    }),
  );
  return new Map(found.filter(([, faults]) => faults.length > 0));
}

/** How often, and how far apart, somebody beside the agent looks before a port is said to be held. */
const LOOKS = 3;
const LOOK_EVERY_MS = 400;

/**
 * What every one of a few looks finds. A container of this node that the agent restarts just now holds its port at one moment and
 * not in the list of the moment before: whoever does not know what the agent is doing would call that another program.
 */
export async function readLastingObstacles(
  look: () => Promise<HostFacts["obstacles"]>,
  wait: (ms: number) => Promise<unknown> = setTimeout,
): Promise<HostFacts["obstacles"]> {
  let lasting = await look();
  for (let count = 1; count < LOOKS && lasting.size > 0; count += 1) {
    await wait(LOOK_EVERY_MS);
    const now = await look();
    const kept = [...lasting].map(([service, faults]) => {
      const again = new Set((now.get(service) ?? []).map((fault) => JSON.stringify(fault)));
      return [service, faults.filter((fault) => again.has(JSON.stringify(fault)))] as const;
    });
    lasting = new Map(kept.filter(([, faults]) => faults.length > 0));
  }
  return lasting;
}

async function tryPlace(
  probe: ObstacleProbe,
  ports: readonly string[],
  sources: readonly string[],
): Promise<readonly HostObstacle[]> {
  const faults: HostObstacle[] = [];
  for (const port of ports) {
    const why = await probe.tryPort(parsePublishedPort(port) as PublishedPort);
    if (why !== undefined) faults.push({ kind: "port", port, why });
  }
  for (const path of sources) if (await probe.isMissing(path)) faults.push({ kind: "source", path });
  return faults;
}

function parsePorts(texts: readonly string[]): PublishedPort[] {
  return texts.map(parsePublishedPort).filter((port) => typeof port !== "string");
}

async function bindTcp({ address = "0.0.0.0", hostPort }: PublishedPort): Promise<void> {
  const server = createServer((socket) => socket.destroy());
  try {
    server.listen({ host: address, port: hostPort, exclusive: true, ipv6Only: true });
    await once(server, "listening");
  } finally {
    server.close();
  }
}

async function bindUdp({ address = "0.0.0.0", hostPort }: PublishedPort): Promise<void> {
  const socket = createSocket({ type: address.includes(":") ? "udp6" : "udp4", ipv6Only: address.includes(":") });
  try {
    socket.bind({ address, port: hostPort, exclusive: true });
    await once(socket, "listening");
  } finally {
    socket.close();
  }
}
