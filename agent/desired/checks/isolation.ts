// What a node may and must not reach of other realms, as the repository knows it: their secrets, every port they publish and what
// listens on their hosts, less the routes that its own manifests name. Pure; the drill probes each.

import { parseImageReference } from "../../../shared/manifest/image-reference.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { isEveryAddress } from "../../../shared/manifest/published-port.ts";
import { type FiledService, findNode, findRealm, type RepositoryView } from "./view/repository-view.ts";
import { listSecretPaths } from "../secrets/secret-choice.ts";

/** A listener of another realm that this node must not reach. */
export interface ForbiddenListener {
  /** `node/service`, or what listens on the host itself. */
  service: string;
  host: string;
  port: number;
  protocol: "tcp" | "udp";
}

/** A route of another realm that this realm's manifests name: it must be reachable. */
export interface AllowedCall {
  /** `node/service` behind it. */
  service: string;
  host: string;
  port: number;
}

/** What the drill tries on one node. */
export interface IsolationTargets {
  realm: string;
  /** Paths that services of other realms take and none of this realm does. */
  secrets: readonly string[];
  /** The databases first: they are what the isolation is for. */
  listeners: readonly ForbiddenListener[];
  allowed: readonly AllowedCall[];
}

const DATABASE = /(^|[/-])(postgres|postgresql|mysql|mariadb|mongo|mongodb|redis|valkey|qdrant|minio|clickhouse)$/;

/** What listens on a host beside its services: no manifest names it. */
const HOST_PORTS = { SSH: 22, "the engine": 2375, "the engine, by TLS": 2376 } as const;
/** Nodes of a realm speak to each other there, unless agent.toml says another port. */
const GOSSIP_PORT = 7946;

/** What the node's own agent does on the network, by its configuration. */
export interface AgentCalls {
  /** One for all nodes. */
  gossipPort?: number | undefined;
  /** Where it reads Git and secrets. */
  servers?: readonly { host: string; port: number }[];
}

/** Lists what a node must not reach; undefined where fleet.toml does not say its realm. */
export function listIsolationTargets(
  view: RepositoryView,
  node: string,
  { gossipPort = GOSSIP_PORT, servers = [] }: AgentCalls = {},
): IsolationTargets | undefined {
  const realm = findRealm(view.fleet.fleet, node);
  if (realm === undefined) return undefined;
  const isOwn = (service: FiledService): boolean => findRealm(view.fleet.fleet, service.node) === realm;
  const own = new Set(view.services.filter(isOwn).flatMap(({ manifest }) => listSecretPaths(manifest)));
  const others = view.services.filter((service) => !isOwn(service));
  const agent = listAgentCalls(view, others, servers);
  const allowed = [...listAllowed(view.services.filter(isOwn), others), ...agent];
  // A realm's proxies are its doors: what they let through is the routes' own word.
  const closed = others.filter(({ manifest }) => !manifest.files.some(({ template }) => template));
  const listeners = [...closed.filter(isDatabase), ...closed.filter((service) => !isDatabase(service))]
    .flatMap((service) => listListeners(view, service))
    .filter((at) => !allowed.some((call) => call.host === at.host && call.port === at.port));
  const paths = others.flatMap(({ manifest }) => listSecretPaths(manifest)).filter((path) => path.startsWith("/"));
  return {
    realm,
    secrets: [...new Set(paths)].filter((path) => !own.has(path)).toSorted(compareText),
    listeners: [...listeners, ...listHosts(view, realm, gossipPort)],
    allowed,
  };
}

function listHosts(view: RepositoryView, realm: string, gossipPort: number): ForbiddenListener[] {
  const nodes = Object.entries(view.fleet.fleet?.nodes ?? {}).filter(([, { env }]) => env !== realm);
  return nodes.flatMap(([node, { address }]) =>
    Object.entries({ gossip: gossipPort, ...HOST_PORTS }).map(([what, port]): ForbiddenListener => ({
      service: `${what} of ${node}`,
      host: address,
      port,
      protocol: "tcp",
    })),
  );
}

/** Servers of another realm that the agent of this one asks: by a route's name, a node's or its address. */
function listAgentCalls(
  view: RepositoryView,
  others: readonly FiledService[],
  servers: NonNullable<AgentCalls["servers"]>,
): AllowedCall[] {
  const names = new Set(others.flatMap(({ manifest }) => manifest.routes.map((route) => route.host)));
  const addresses = new Set(others.map(({ node }) => findNode(view.fleet.fleet, node)?.address));
  return servers
    .map(({ host, port }) => ({ host: findNode(view.fleet.fleet, host)?.address ?? host, port }))
    .filter(({ host }) => names.has(host) || addresses.has(host))
    .map(({ host, port }) => ({ service: "what this host's agent reads", host, port }));
}

/** Routes of others whose host stands in a variable or an argument of this realm's services. */
function listAllowed(own: readonly FiledService[], others: readonly FiledService[]): AllowedCall[] {
  const texts = own.flatMap(({ manifest }) => [...Object.values(manifest.env), ...(manifest.command ?? [])]);
  const named = new Map(texts.flatMap(readPlace).map((place) => [`${place.host}:${place.port ?? ""}`, place]));
  return others.flatMap(({ node, service, manifest }) =>
    manifest.routes.flatMap((route) =>
      [...named.values()]
        .filter(({ host }) => host === route.host)
        .map(({ host, port = route.port }) => ({ service: `${node}/${service}`, host, port })),
    ),
  );
}

/** The host and port of a URL, of `host:port`, or of a host alone. */
function readPlace(text: string): { host: string; port: number | undefined }[] {
  const url = /^(https?):\/\/([\w.-]+)(?::(\d+))?(?:[/?#]|$)/.exec(text);
  if (url !== null) {
    const port = url[3] === undefined ? (url[1] === "https" ? 443 : 80) : Number(url[3]);
    return [{ host: url[2] ?? "", port }];
  }
  const place = /^(?:[a-z]+:\/\/(?:[^@/\s]*@)?)?([\w-]+(?:\.[\w-]+)+)(?::(\d+))?$/.exec(text);
  return place === null ? [] : [{ host: place[1] ?? "", port: place[2] === undefined ? undefined : Number(place[2]) }];
}

function isDatabase({ manifest }: FiledService): boolean {
  const reference = parseImageReference(manifest.image);
  const isNamed = typeof reference !== "string" && DATABASE.test(reference.repository);
  return isNamed || manifest.backups.some(({ engine }) => engine !== "files" && engine !== "command");
}

/** Published ports, and the port that it is probed at: a firewall may hold what Docker does not publish. */
function listListeners(view: RepositoryView, { node, service, manifest }: FiledService): ForbiddenListener[] {
  const address = findNode(view.fleet.fleet, node)?.address;
  if (address === undefined) return [];
  const published = manifest.ports
    .filter((port) => !/^(127\.|::1$)/.test(port.address ?? ""))
    .map((port) => ({
      host: port.address === undefined || isEveryAddress(port.address) ? address : port.address,
      port: port.hostPort,
      protocol: port.protocol,
    }));
  const probed =
    manifest.health?.tcp === undefined
      ? []
      : [{ host: address, port: manifest.health.tcp.port, protocol: "tcp" as const }];
  const all = [...published, ...probed].map((at) => ({ service: `${node}/${service}`, ...at }));
  return [...new Map(all.map((at) => [`${at.protocol} ${at.host}:${at.port}`, at])).values()];
}
