// What a node must not be able to reach: secrets and databases of other realms, as the repository knows them. Pure; the drill
// probes each, and nothing may answer.

import { parseImageReference } from "../../shared/image-reference.ts";
import { compareText } from "../../shared/problem.ts";
import { isEveryAddress } from "../../shared/published-port.ts";
import { type FiledService, findNode, findRealm, type RepositoryView } from "./checks/repository-view.ts";
import { listSecretPaths } from "./secret-choice.ts";

/** A listener of another realm that this node must not reach. */
export interface ForbiddenListener {
  /** `node/service`. */
  service: string;
  host: string;
  port: number;
}

/** What the drill tries on one node. */
export interface IsolationTargets {
  realm: string;
  /** Paths that services of other realms take and none of this realm does. */
  secrets: readonly string[];
  databases: readonly ForbiddenListener[];
}

const DATABASE = /(^|[/-])(postgres|postgresql|mysql|mariadb|mongo|mongodb|redis|valkey|qdrant|minio|clickhouse)$/;

/** Lists what a node must not reach; undefined where fleet.toml does not say its realm. */
export function listIsolationTargets(view: RepositoryView, node: string): IsolationTargets | undefined {
  const realm = findRealm(view.fleet.fleet, node);
  if (realm === undefined) return undefined;
  const isOwn = (service: FiledService): boolean => findRealm(view.fleet.fleet, service.node) === realm;
  const own = new Set(view.services.filter(isOwn).flatMap(({ manifest }) => listSecretPaths(manifest)));
  const others = view.services.filter((service) => !isOwn(service));
  const paths = others.flatMap(({ manifest }) => listSecretPaths(manifest)).filter((path) => path.startsWith("/"));
  return {
    realm,
    secrets: [...new Set(paths)].filter((path) => !own.has(path)).toSorted(compareText),
    databases: others.filter(isDatabase).flatMap((service) => listListeners(view, service)),
  };
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
    .filter((port) => port.protocol === "tcp" && !/^(127\.|::1$)/.test(port.address ?? ""))
    .map((port) => ({
      host: port.address === undefined || isEveryAddress(port.address) ? address : port.address,
      port: port.hostPort,
    }));
  const probed = manifest.health?.tcp === undefined ? [] : [{ host: address, port: manifest.health.tcp.port }];
  const all = [...published, ...probed].map((at) => ({ service: `${node}/${service}`, ...at }));
  return [...new Map(all.map((at) => [`${at.host}:${at.port}`, at])).values()];
}
