// Reads one of test/topologies/ as a whole: fleet.toml, every manifest, every file, all parsed as the agent parses them.
// Used by the topology tests alone; it reads and never writes.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import type { PlacedService } from "../../../agent/desired/build/constraints.ts";
import { type Fleet, fleetSchema } from "../../../shared/fleet/fleet.ts";
import { type Manifest, manifestSchema } from "../../../shared/manifest/manifest.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { describeProblem } from "../../../shared/text/problem.ts";

const TOPOLOGIES = join(import.meta.dirname, "../../../test/topologies");

/** One topology, read and parsed. */
export interface Topology {
  name: string;
  fleet: Fleet;
  services: readonly PlacedService[];
  /** `node/service` → its manifest's text. */
  texts: ReadonlyMap<string, string>;
  /** `node/files/…` → content. */
  files: ReadonlyMap<string, string>;
  /** What did not parse; empty in a sound topology. */
  problems: readonly string[];
}

/** The names of all topologies: the directories that hold `orca/`. */
export async function listTopologies(): Promise<string[]> {
  const entries = await readdir(TOPOLOGIES, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .toSorted();
}

/** Reads one topology; what does not parse is in `problems` and is missing elsewhere. */
export async function readTopology(name: string): Promise<Topology> {
  const root = join(TOPOLOGIES, name, "orca");
  const problems: string[] = [];
  const fleetText = await readFile(join(root, "fleet.toml"), "utf8");
  const parsedFleet = await parseToml(fleetSchema, fleetText, "fleet.toml");
  if (!parsedFleet.ok) throw new Error(parsedFleet.problems.map(describeProblem).join("\n"));
  const services: PlacedService[] = [];
  const texts = new Map<string, string>();
  const files = new Map<string, string>();
  const manifests = join(root, "manifests");
  for (const entry of await readdir(manifests, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name).slice(manifests.length + 1);
    const text = await readFile(join(manifests, path), "utf8");
    const [node = "", file = "", ...below] = path.split("/");
    if (below.length > 0 || !file.endsWith(".toml")) {
      files.set(path, text);
      continue;
    }
    const service = file.slice(0, -".toml".length);
    const parsed = await parseToml(manifestSchema, text, path);
    texts.set(`${node}/${service}`, text);
    if (parsed.ok) services.push({ node, service, manifest: parsed.value });
    else problems.push(...parsed.problems.map(describeProblem));
  }
  services.sort((left, right) => (placeOf(left) < placeOf(right) ? -1 : 1));
  return { name, fleet: parsedFleet.value, services, texts, files, problems };
}

/** `node/service`. */
export function placeOf(placed: Pick<PlacedService, "node" | "service">): string {
  return `${placed.node}/${placed.service}`;
}

/** The manifest at `node/service`; throws where there is none. */
export function manifestAt(topology: Topology, place: string): Manifest {
  const found = topology.services.find((entry) => placeOf(entry) === place);
  if (found === undefined) throw new Error(`${topology.name} has no ${place}`);
  return found.manifest;
}

/** Node → names of its services, sorted; nodes of fleet.toml without any are there with none. */
export function listServices(topology: Topology): Record<string, string[]> {
  const nodes: Record<string, string[]> = {};
  for (const node of Object.keys(topology.fleet.nodes)) nodes[node] = [];
  for (const { node, service } of topology.services) (nodes[node] ??= []).push(service);
  return nodes;
}
