// Routes: one owner for each host and path of a realm, and no route that certainly leads nowhere.

import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { LOOPBACK } from "../build/desired-settings.ts";
import { listTemplates } from "./files.ts";
import { blame, type FiledService, type FileFinding, findRealm, type RepositoryView } from "./view/repository-view.ts";

type Route = Manifest["routes"][number];

/** Checks the routes of every service. */
export function checkRoutes(view: RepositoryView): FileFinding[] {
  const owners = new Map<string, Owner>();
  const proxies = findProxies(view);
  const findings: FileFinding[] = [];
  for (const service of view.services) {
    const { routes, schedule } = service.manifest;
    if (routes.length === 0) continue;
    if (schedule !== undefined) findings.push(describeJob(service));
    const realm = findRealm(view.fleet.fleet, service.node) ?? "";
    for (const [index, route] of routes.entries()) {
      const key = `${realm}\n${route.host}\n${route.path ?? "/"}`;
      const owner = owners.get(key);
      if (owner === undefined) owners.set(key, { service, route });
      else findings.push(...describeTwice(service, index, owner));
      findings.push(...checkReach(service, index, proxies.get(realm)));
    }
  }
  return findings;
}

function describeJob(service: FiledService): FileFinding {
  return blame(service, ["routes"], {
    severity: "error",
    code: "route-of-job",
    message: "a job runs and ends: it can serve no route",
    hint: "take routes out, or schedule",
  });
}

/** Who routes a host and path first. */
interface Owner {
  service: FiledService;
  route: Route;
}

/**
 * One host and path has one owner, or copies of one service on several nodes, which a proxy balances between: then the
 * copies must say the same, since the proxy can follow only one of them.
 */
function describeTwice(service: FiledService, index: number, owner: Owner): FileFinding[] {
  const route = service.manifest.routes[index];
  if (route === undefined) return [];
  const shown = `${route.host}${route.path ?? ""}`;
  const { node, service: name } = owner.service;
  if (name === service.service && node !== service.node) {
    const key = (["allow", "rate", "timeout"] as const).find(
      (field) => JSON.stringify(route[field]) !== JSON.stringify(owner.route[field]),
    );
    if (key === undefined) return [];
    const message = `${shown} is routed to ${node}/${name} too, with another ${key}: a proxy can follow only one of them`;
    const hint = `write the same ${key} for every copy of the service`;
    return [blame(service, ["routes", index, key], { severity: "warning", code: "route-differs", message, hint })];
  }
  const message = `${shown} is routed already by ${node === service.node && name === service.service ? "this service" : `${node}/${name}`}`;
  const hint = "write another host, or narrow one of them with a path";
  return [blame(service, ["routes", index, "host"], { severity: "error", code: "route-duplicate", message, hint })];
}

/** Realm → the nodes on which a template reads the routes: there the proxies run. */
function findProxies(view: RepositoryView): ReadonlyMap<string, ReadonlySet<string>> {
  const proxies = new Map<string, Set<string>>();
  for (const { service, text } of listTemplates(view)) {
    if (!/\broutes\b/.test(text)) continue;
    const realm = findRealm(view.fleet.fleet, service.node) ?? "";
    const nodes = proxies.get(realm) ?? new Set();
    proxies.set(realm, nodes.add(service.node));
  }
  return proxies;
}

/**
 * A proxy on the service's own node reaches it by its name; one on another node needs a published TCP port on an address
 * that is not loopback. Without any proxy in the realm nothing is certain, and nothing is said.
 */
function checkReach(service: FiledService, index: number, proxies: ReadonlySet<string> | undefined): FileFinding[] {
  const { ports, network, routes } = service.manifest;
  const route = routes[index];
  if (route === undefined || proxies === undefined || proxies.has(service.node) || network !== "orca") return [];
  const published = ports.find((port) => port.containerPort === route.port && port.protocol === "tcp");
  if (published !== undefined && published.address !== LOOPBACK && published.address !== "::1") return [];
  const nodes = [...proxies].toSorted().join(", ");
  const state = published === undefined ? "not published" : "published on loopback only";
  return [
    blame(service, ["routes", index, "port"], {
      severity: "error",
      code: "route-unreachable",
      message: `the proxy runs on ${nodes}, and port ${route.port} is ${state}`,
      hint: `write ports = ["${published?.hostPort ?? route.port}:${route.port}"], which is published on the node's own address`,
    }),
  ];
}
