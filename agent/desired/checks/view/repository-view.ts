// A whole manifests repository as the checks see it: parsed manifests, fleet.toml and the files beside them, with the
// look-ups that keep every check linear. Pure: who builds it hands in how a file is read.

import type { Fleet, FleetNode } from "../../../../shared/fleet/fleet.ts";
import { compareText, type Finding } from "../../../../shared/text/problem.ts";
import type { Templates } from "../../../../shared/text/template.ts";
import type { Place } from "../../../../shared/text/toml-places.ts";
import type { PlacedService } from "../../build/constraints.ts";
import type { ParsedFleet, ParsedManifest } from "../../repository/repository.ts";

/** A finding in a file of the repository. */
export interface FileFinding extends Finding {
  file: string;
  /** The nodes it concerns; empty concerns every node. */
  nodes: readonly string[];
  /** Where it stands, where the file is no TOML; else the place of `path` is looked up. */
  place?: Place;
}

/** A valid service with its file. */
export interface FiledService extends PlacedService {
  file: string;
}

/** What stands at a path below a node's directory. `outside` is a link that leaves it, `dangling` one that leads nowhere. */
export interface NodeFile {
  path: string;
  kind: "file" | "directory" | "outside" | "dangling" | "special";
  sizeBytes: number;
}

/** The files below the nodes' directories that are no manifests. */
export interface NodeFiles {
  /** Every entry below a node's directory, by path. */
  list(node: string): ReadonlyMap<string, NodeFile>;
  /** The content of an entry of kind `file`; undefined where it cannot be read. */
  read(node: string, path: string): Uint8Array | undefined;
  /** How messages name it. */
  describe(node: string, path: string): string;
}

/** What a view is built from. */
export interface RepositoryParts {
  fleet: ParsedFleet;
  /** The directories under manifests/. */
  nodes: readonly string[];
  manifests: readonly ParsedManifest[];
  /** Manifests that stand directly under manifests/, where no node reads them. */
  strays: readonly string[];
  files: NodeFiles;
  templates: Templates;
}

/** A repository, ready to be checked. */
export interface RepositoryView extends RepositoryParts {
  /** The valid services, by node and name. */
  services: readonly FiledService[];
  /** Node → its valid services. */
  servicesOf: ReadonlyMap<string, readonly FiledService[]>;
  /** Node → names of its manifests, valid or not: a service whose manifest is invalid does exist. */
  namesOf: ReadonlyMap<string, ReadonlyMap<string, ParsedManifest>>;
  /** Service → the nodes that have one of that name. */
  nodesOf: ReadonlyMap<string, readonly string[]>;
  /** `node/service` → the valid service. */
  byPlace: ReadonlyMap<string, FiledService>;
}

/** One check: what is wrong with a repository by one kind of rule. */
export type Check = (view: RepositoryView) => FileFinding[];

/** Builds the view; sorts what it is given, so that findings never depend on the order of reading. */
export function viewRepository(parts: RepositoryParts): RepositoryView {
  const manifests = parts.manifests.toSorted(
    (left, right) => compareText(left.node, right.node) || compareText(left.service, right.service),
  );
  const services: FiledService[] = [];
  const servicesOf = new Map<string, FiledService[]>();
  const namesOf = new Map<string, Map<string, ParsedManifest>>();
  const nodesOf = new Map<string, string[]>();
  for (const node of parts.nodes) {
    servicesOf.set(node, []);
    namesOf.set(node, new Map());
  }
  for (const parsed of manifests) {
    const { node, service, file, manifest } = parsed;
    namesOf.get(node)?.set(service, parsed);
    addTo(nodesOf, service, node);
    if (manifest === undefined) continue;
    const filed = { node, service, file, manifest };
    services.push(filed);
    servicesOf.get(node)?.push(filed);
  }
  const byPlace = new Map(services.map((entry) => [`${entry.node}/${entry.service}`, entry]));
  const nodes = parts.nodes.toSorted(compareText);
  return { ...parts, nodes, manifests, services, servicesOf, namesOf, nodesOf, byPlace };
}

/** Adds to the list under a key; lists are not copied, since one may hold thousands. */
export function addTo<K, V>(table: Map<K, V[]>, key: K, value: V): void {
  const list = table.get(key);
  if (list === undefined) table.set(key, [value]);
  else list.push(value);
}

/** The entry of a node in fleet.toml. */
export function findNode(fleet: Fleet | undefined, name: string): FleetNode | undefined {
  return fleet !== undefined && Object.hasOwn(fleet.nodes, name) ? fleet.nodes[name] : undefined;
}

/** The realm of a node, where fleet.toml says one. */
export function findRealm(fleet: Fleet | undefined, node: string): string | undefined {
  return findNode(fleet, node)?.env;
}

/** What a finding says besides where it is. */
export type Fault = Pick<Finding, "severity" | "code" | "message" | "hint">;

/** A finding in a service's manifest. */
export function blame(service: FiledService, path: readonly (string | number)[], fault: Fault): FileFinding {
  return { ...fault, path, file: service.file, nodes: [service.node] };
}

/** A finding in fleet.toml. */
export function blameFleet(view: RepositoryView, path: readonly (string | number)[], fault: Fault): FileFinding {
  const [table, node] = path;
  const concerned = table === "nodes" && typeof node === "string" ? [node] : [];
  return { ...fault, path, file: view.fleet.file, nodes: concerned };
}
