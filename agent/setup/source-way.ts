// Whether what a VM starts from (its manifests, its secrets) is reached through a service that Orca itself starts, such as the fleet's proxy: a
// fleet that is down could not come up. For `orca cloud-init`, which warns. Pure.

import { isIP } from "node:net";

import type { Fleet } from "../../shared/fleet/fleet.ts";
import type { Manifest } from "../../shared/manifest/manifest.ts";

/** A service of the repository, as far as this asks for it. */
export interface WayService {
  node: string;
  service: string;
  manifest: Pick<Manifest, "routes" | "ports">;
}

/**
 * Looks at one URL.
 * @returns the service that stands in the way, as `node/service`, and whether that is known by its route or by its port; undefined where none does
 */
export function findDetour(
  url: string,
  fleet: Fleet,
  services: readonly WayService[],
): { through: string; by: "route" | "port" } | undefined {
  const { hostname, port, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0) return undefined;
  const owner = services.find(({ manifest }) => manifest.routes.some((route) => serves(route.host, host)));
  if (owner === undefined) return undefined;
  const names = fleet.host?.names ?? {};
  const address = Object.hasOwn(names, host) ? names[host] : undefined;
  if (address === undefined) return { through: `${owner.node}/${owner.service}`, by: "route" };
  const number = port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
  const publisher = services.find(
    ({ node, manifest }) =>
      fleet.nodes[node]?.address === address && manifest.ports.some(({ hostPort }) => hostPort === number),
  );
  if (publisher === undefined || publisher === owner) return undefined;
  return { through: `${publisher.node}/${publisher.service}`, by: "port" };
}

/** `*.example.com` serves every name below it. */
function serves(route: string, host: string): boolean {
  return route.startsWith("*.") ? host.endsWith(route.slice(1)) : route === host;
}
