// How a service is reached: addresses it publishes on, networks that take no ports, and updates that cannot be done so.

import { describePort, isEveryAddress, type PublishedPort } from "../../../shared/manifest/published-port.ts";
import { selectFrontPorts } from "../build/front-service.ts";
import { blame, type FiledService, type FileFinding, findNode, type RepositoryView } from "./view/repository-view.ts";

/** Checks ports, networks and start-first of every service. */
export function checkNetwork(view: RepositoryView): FileFinding[] {
  return view.services.flatMap((service) => [
    ...checkAddresses(view, service),
    ...checkMode(service),
    ...checkStartFirst(service),
  ]);
}

const HTTP_PORT = 80;
const WEB_PORTS: ReadonlySet<number> = new Set([HTTP_PORT, 443]);

/** A proxy publishes on the node's own address, so that `curl localhost` reaches the agent (contract, section 4). */
function checkAddresses(view: RepositoryView, service: FiledService): FileFinding[] {
  const address = findNode(view.fleet.fleet, service.node)?.address;
  return service.manifest.ports.flatMap((port, index) => {
    const every = isEveryAddress(port.address);
    const hides = port.hostPort === HTTP_PORT && port.protocol === "tcp" && (every || port.address === "127.0.0.1");
    if (!hides && !(every && WEB_PORTS.has(port.hostPort))) return [];
    const where = every ? "on every address" : "on 127.0.0.1";
    const effect = hides ? ": `curl localhost` then does not reach the agent" : "";
    return blame(service, ["ports", index], {
      severity: "warning",
      code: "public-port",
      message: `port ${port.hostPort} is published ${where}${effect}`,
      hint: `write ${JSON.stringify(describePort(withoutAddress(port)))}, which is published on the node's own address${address === undefined ? "" : ` ${address}`}`,
    });
  });
}

function withoutAddress(port: PublishedPort): PublishedPort {
  return { ...port, address: undefined };
}

/** Only what can never work: Docker discards published ports on these networks without failing (seen with 28.2). */
function checkMode(service: FiledService): FileFinding[] {
  const { network, ports, health, routes } = service.manifest;
  if (network === "orca") return [];
  const findings: FileFinding[] = [];
  const none = network === "none";
  if (ports.length > 0) {
    findings.push(
      blame(service, ["ports"], {
        severity: "error",
        code: "ports-without-network",
        message: `network = "${network}" publishes no ports`,
        hint: none
          ? "take ports out, or network"
          : "take ports out: on the host's network the service binds them itself",
      }),
    );
  }
  if (!none) return findings;
  if (health?.http !== undefined || health?.tcp !== undefined) {
    const key = health.http === undefined ? "tcp" : "http";
    findings.push(
      blame(service, ["health", key], {
        severity: "error",
        code: "health-without-network",
        message: `network = "none" has no address that a ${key} check could reach`,
        hint: 'write exec = ["program", …], which is run inside the container',
      }),
    );
  }
  if (routes.length > 0) {
    findings.push(
      blame(service, ["routes"], {
        severity: "error",
        code: "route-unreachable",
        message: 'network = "none" has no address that a proxy could reach',
        hint: "take routes out, or network",
      }),
    );
  }
  return findings;
}

/** A front switches connections: it can hold no UDP port and no port of the host's network (behaviour, section 2). */
function checkStartFirst(service: FiledService): FileFinding[] {
  const { update, ports, network, schedule } = service.manifest;
  if (update.order !== "start-first") return [];
  const udp = ports.find((port) => port.protocol === "udp");
  const reachable = network === "orca" && selectFrontPorts(service.manifest).length === 0;
  const reasons = [
    ...(schedule === undefined ? [] : ["a job has no traffic to hand over"]),
    ...(network === "none" ? ['with network = "none" nothing reaches it'] : []),
    ...(reachable ? ["its manifest names no port that a front could hold (ports, routes, health)"] : []),
    ...(udp === undefined ? [] : [`the UDP port ${describePort(udp)} cannot be handed over`]),
    ...(network === "host" ? ["on the host's network both copies would bind the same ports"] : []),
  ];
  const refusals = reasons.map((message) =>
    blame(service, ["update", "order"], {
      severity: "error" as const,
      code: "start-first",
      message: `start-first is not possible: ${message}`,
      hint: 'write order = "stop-first"',
    }),
  );
  return [...refusals, ...warnOfSharedVolume(service)];
}

/** Two copies run at once for a while: what only one process may write to, is lost then. */
function warnOfSharedVolume(service: FiledService): FileFinding[] {
  const index = service.manifest.volumes.findIndex((volume) => !volume.read_only);
  if (index === -1) return [];
  const hint =
    'write order = "stop-first", unless the service is made for that (a database never is), or read_only = true';
  const message = "start-first lets two copies write to this volume at once during an update";
  return [blame(service, ["volumes", index], { severity: "warning", code: "start-first", message, hint })];
}
