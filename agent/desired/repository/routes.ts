// The routes of the whole fleet, as a proxy's template sees them: the most specific first. Pure.

import type { Fleet } from "../../../shared/fleet/fleet.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { isPlainWord } from "../../../shared/text/plain-word.ts";
import { compareText } from "../../../shared/text/problem.ts";
import type { RemoteService } from "../build/constraints.ts";

/** One route, as a template reads it. Durations are in seconds, since that is what proxies are configured in. */
export interface Route {
  host: string;
  path: string;
  service: string;
  node: string;
  /** `host:port` where the proxy reaches it: by alias on the proxy's own node, else by the node's published port. */
  upstream: string;
  port: number;
  allow: readonly string[];
  rate: string;
  timeout_seconds: number;
  state: "running" | "stopped";
}

/** Builds the routes that a proxy on `node` serves: those of its own realm. */
export function buildRoutes(services: readonly RemoteService[], node: string, fleet: Fleet | undefined): Route[] {
  const realm = fleet?.nodes[node]?.env;
  const near = services.filter((entry) => fleet?.nodes[entry.node]?.env === realm);
  return near
    .flatMap((entry) => entry.manifest.routes.map((route) => buildRoute(entry, route, { node, fleet })))
    .filter(isPlain)
    .toSorted(compareRoutes);
}

/**
 * What a proxy is given is asked once more, whoever parsed it and when: a word with a sign of the proxy's own language in it
 * would be a directive, written by another node. Such a route is served by nobody.
 */
function isPlain(route: Route): boolean {
  const { host, path, service, node, upstream, allow, rate } = route;
  return (
    isPlainWord("host", host) &&
    isPlainWord("path", path) &&
    isPlainWord("name", service) &&
    isPlainWord("name", node) &&
    isPlainWord("upstream", upstream) &&
    (rate === "" || isPlainWord("rate", rate)) &&
    allow.every((network) => isPlainWord("network", network)) &&
    [route.port, route.timeout_seconds].every((number) => Number.isSafeInteger(number) && number > 0) &&
    (route.state === "running" || route.state === "stopped")
  );
}

function buildRoute(
  { node, service, manifest }: RemoteService,
  route: Manifest["routes"][number],
  proxy: { node: string; fleet: Fleet | undefined },
): Route {
  const published = manifest.ports.find((port) => port.containerPort === route.port && port.protocol === "tcp");
  const remote = `${published?.address ?? proxy.fleet?.nodes[node]?.address ?? node}:${published?.hostPort ?? route.port}`;
  return {
    host: route.host,
    path: route.path ?? "/",
    service,
    node,
    upstream: node === proxy.node ? `${service}:${route.port}` : remote,
    port: route.port,
    allow: route.allow ?? [],
    rate: route.rate ?? "",
    timeout_seconds: Math.ceil((route.timeout ?? 60_000) / 1_000),
    state: manifest.state,
  };
}

/** The most specific wins: a full host before a wildcard, a longer host before a shorter, a longer path before a shorter. */
function compareRoutes(left: Route, right: Route): number {
  const wildcard = Number(left.host.startsWith("*")) - Number(right.host.startsWith("*"));
  return (
    wildcard ||
    right.host.length - left.host.length ||
    compareText(left.host, right.host) ||
    right.path.length - left.path.length ||
    compareText(left.path, right.path)
  );
}
