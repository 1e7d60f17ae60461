// Compares two readings of a manifests repository as the agents of its nodes would follow from one to the other. Reads
// nothing; plan-against.ts does. The judges are those of the agent, so that both say the same.

import { buildDesired, type Built } from "../../desired/build/build.ts";
import { ParseCache } from "../../desired/repository/repository.ts";
import { compareToml, type TomlChange } from "../../desired/repository/toml-diff.ts";
import { listChanges, sumCaps } from "../../plan/compare/changes.ts";
import type { ChangeDocument } from "../../../shared/document/plan-preview.ts";
import { type PlacedText, selectOthers, speaksOfRoutes } from "../../sources/git/store/git-select.ts";
import type { NodeTree, RepositoryTree } from "../../sources/git/store/repository-tree.ts";
import type { DesiredState } from "../../../shared/state/desired-state.ts";
import { type Fleet, fleetSchema } from "../../../shared/fleet/fleet.ts";
import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import { readManifest } from "../../../shared/manifest/parse-manifest.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import type { Policy } from "../../../shared/policy/policy.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { STAND_IN_FACTS } from "../../../shared/secret/secret-facts.ts";
import type { Snapshot } from "../../../shared/state/snapshot.ts";
import { templates } from "../../../shared/text/template.ts";
import { listWaves } from "../agent/up-progress.ts";
import type { HoldKind } from "../../../shared/state/hold.ts";
import { describeHold } from "../../../shared/text/words/hold-words.ts";

/** One reading. */
interface Side {
  tree: RepositoryTree;
  /** How the reading is named: a commit, or the directory. */
  revision: string;
  /** The trailers of the newest commit, which may lift the deletion brake. */
  trailers: readonly (readonly [key: string, value: string])[];
}

/** What is compared. */
export interface Comparison {
  before: Side;
  after: Side;
  /** How messages name the directory that holds manifests/. */
  shown: string;
  policy: Policy;
}

/** One service that changes, with its manifest's keys that do. */
interface ServiceChange extends ChangeDocument {
  fields: readonly TomlChange[];
}

/** Memory caps of one node, in bytes. */
export interface BudgetChange {
  before: number;
  after: number;
  /** What the node has for services; undefined where fleet.toml does not say. */
  limit: number | undefined;
}

/** What changes on one node. */
export interface NodeChange {
  node: string;
  /** The node is new to the repository, or gone from it. */
  presence: "new" | "gone" | "both";
  services: readonly ServiceChange[];
  /** Its entry in fleet.toml. */
  fleet: readonly TomlChange[];
  budget: BudgetChange;
  /** Services that start anew, wave by wave: each wave waits until the one before is healthy. */
  starts: readonly (readonly string[])[];
  /** Why nothing of it is followed until a person says so. */
  held: string | undefined;
  /** Why it cannot be followed at all. */
  refused: string | undefined;
  notes: readonly string[];
}

/** Keys of fleet.toml that belong to no node. */
export function compareFleet({ before, after }: Comparison): TomlChange[] {
  return compareToml(before.tree.fleet, after.tree.fleet).filter(({ key }) => !key.startsWith("nodes."));
}

/** Compares every node, or one; nodes that stay as they are are left out. */
export async function compareNodes(comparison: Comparison, only: string | undefined): Promise<NodeChange[]> {
  const { before, after } = comparison;
  const names = [...new Set([...before.tree.nodes.keys(), ...after.tree.nodes.keys()])].toSorted(compareText);
  const [old, now] = [await readSide(before), await readSide(after)];
  const changes: NodeChange[] = [];
  for (const node of names) {
    if (only !== undefined && node !== only) continue;
    const inputs = { before: await selectInputs(old, node), after: await selectInputs(now, node) };
    if (inputs.before.key === inputs.after.key && !hasInvalid(inputs.after)) continue;
    const change = await compareNode(comparison, { node, old, now, ...inputs });
    if (isChange(change)) changes.push(change);
  }
  return changes;
}

/** True where a manifest is invalid by itself, which is said whether or not it was so before. */
function hasInvalid({ own }: NodeInputs): boolean {
  return Object.values((own ?? EMPTY).manifests).some((text) => readManifest(text) === undefined);
}

function isChange({ services, fleet, presence, held, refused }: NodeChange): boolean {
  return services.length + fleet.length > 0 || presence !== "both" || held !== undefined || refused !== undefined;
}

/** A reading with what is asked of it for each node. */
interface ReadSide extends Side {
  fleet: Fleet | undefined;
  /** Node → service → text of the manifests that speak of routes. */
  routed: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

async function readSide(side: Side): Promise<ReadSide> {
  const { fleet: text, nodes } = side.tree;
  const parsed = text === undefined ? undefined : await parseToml(fleetSchema, text, "fleet.toml");
  const routed = [...nodes].map(([node, { manifests }]) => {
    return [node, new Map(Object.entries(manifests).filter(([, manifest]) => speaksOfRoutes(manifest)))] as const;
  });
  return { ...side, fleet: parsed?.ok === true ? parsed.value : undefined, routed: new Map(routed) };
}

/** What one node's desired state depends on. */
interface NodeInputs {
  own: NodeTree | undefined;
  others: readonly PlacedText[];
  /** The same for the same inputs. */
  key: string;
}

const EMPTY: NodeTree = { manifests: {}, files: {}, faults: { manifests: {}, files: {} } };

async function selectInputs({ tree, routed, fleet }: ReadSide, node: string): Promise<NodeInputs> {
  const own = tree.nodes.get(node);
  const { manifests, files, faults } = own ?? EMPTY;
  const placed = Object.entries(manifests).map(([service, text]) => ({ node, service, text }));
  const others = await selectOthers(placed, {
    nodes: [...tree.nodes.keys()],
    readOne: (place, service) => Promise.resolve(tree.nodes.get(place)?.manifests[service]),
    readRouted: (place) => Promise.resolve(routed.get(place) ?? new Map<string, string>()),
  });
  const contents = Object.entries(files).map(([path, content]) => [path, Buffer.from(content).toString("base64")]);
  // Other nodes' entries reach a node through templates alone; its hosts file is nothing that is shown.
  const renders = fleet === undefined || Object.values(manifests).some((text) => text.includes("template"));
  const fleetPart = renders ? tree.fleet : fleet.nodes[node];
  return { own, others, key: JSON.stringify([own !== undefined, fleetPart, manifests, contents, faults, others]) };
}

interface NodeComparison {
  node: string;
  old: ReadSide;
  now: ReadSide;
  before: NodeInputs;
  after: NodeInputs;
}

async function compareNode(comparison: Comparison, parts: NodeComparison): Promise<NodeChange> {
  const { node, old, now, before, after } = parts;
  if (after.own === undefined) return describeGone(parts);
  const cache = new ParseCache();
  const build = async (
    side: ReadSide,
    inputs: NodeInputs,
    rest: { base?: Built; allowedRemovals: number },
  ): Promise<Built> =>
    buildDesired({
      snapshot: buildSnapshot(side, inputs, { node, shown: comparison.shown }),
      // A reading that was itself refused is nothing that an agent would have in force.
      inForce: rest.base === undefined || rest.base.desired.held !== undefined ? undefined : rest.base.inForce,
      storedContents: rest.base?.desired.contents ?? new Map(),
      adopted: [],
      allowedRemovals: rest.allowedRemovals,
      host: { realPath: (source) => Promise.resolve(source) },
      settings: buildSettings(node, comparison.policy),
      cache,
      // Secrets are the node's: what a manifest takes of them is compared by its paths.
      secrets: { facts: STAND_IN_FACTS, standings: new Map(), late: new Set(), notes: [] },
      nowMs: 0,
    });
  const base = await build(old, before, { allowedRemovals: Number.POSITIVE_INFINITY });
  const braked = await build(now, after, { base, allowedRemovals: 0 });
  // What is held is shown as it comes once it goes in. Freezes are for the time of the merge, which nobody knows here.
  const { holds = [], desired: pending } = braked.desired.held ?? {};
  const free = pending ?? braked.desired;
  const tell = (kind: HoldKind): string | undefined => holds.filter((hold) => hold.kind === kind).map(describeHold)[0];
  const refused = tell("refused");
  const all = refused === undefined ? listChanges({ kind: "desired", state: base.desired }, free) : [];
  const deltas = all.filter(({ action }) => action !== "none");
  const texts = { before: before.own ?? EMPTY, after: after.own };
  return {
    node,
    presence: before.own === undefined ? "new" : "both",
    services: deltas.map((delta) => ({ ...delta, fields: compareManifest(delta, texts) })),
    fleet: compareToml(old.tree.fleet, now.tree.fleet, ["nodes", node]),
    budget: { before: sumCaps(base.desired), after: sumCaps(free), limit: findLimit(now.fleet, node) },
    starts: listStarts(free, deltas),
    held: tell("removal"),
    refused,
    notes: listNotes(now.fleet, node, deltas.length > 0),
  };
}

/** An agent whose directory is gone keeps what is in force: a missing directory is an error and not an empty one. */
function describeGone({ node, old, now }: NodeComparison): NodeChange {
  return {
    node,
    presence: "gone",
    services: [],
    starts: [],
    held: undefined,
    refused: undefined,
    fleet: compareToml(old.tree.fleet, now.tree.fleet, ["nodes", node]),
    budget: { before: 0, after: 0, limit: undefined },
    notes: ["its directory is gone: its agent keeps what is in force and says so; nothing is removed"],
  };
}

function buildSettings(node: string, policy: Policy): Parameters<typeof buildDesired>[0]["settings"] {
  return {
    node,
    policy,
    address: undefined,
    ports: "as-written",
    budget: "enforce",
    hostNotes: [],
    agentPorts: [],
    standIns: undefined,
    frontImage: FRONT_IMAGE,
    assumeDataMounted: true,
    templates,
  };
}

function buildSnapshot(
  side: ReadSide,
  { own, others }: NodeInputs,
  { node, shown }: { node: string; shown: string },
): Snapshot {
  const placed = Map.groupBy(others, (entry) => entry.node);
  const texts = [...placed].map(([place, list]) => [
    place,
    Object.fromEntries(list.map(({ service, text }) => [service, text])),
  ]);
  return {
    revision: side.revision,
    commit: { author: "", committer: "", committedMs: 0, subject: "", trailers: side.trailers },
    fleet: side.tree.fleet,
    manifests: { ...(Object.fromEntries(texts) as Snapshot["manifests"]), [node]: (own ?? EMPTY).manifests },
    files: (own ?? EMPTY).files,
    faults: { manifests: { [node]: (own ?? EMPTY).faults.manifests }, files: (own ?? EMPTY).faults.files },
    describeFile: (place, service) => `${shown}manifests/${place}/${service}.toml`,
    fleetFile: `${shown}fleet.toml`,
  };
}

function compareManifest(
  { service, action }: ChangeDocument,
  texts: { before: NodeTree; after: NodeTree },
): TomlChange[] {
  // What is new or gone is so as a whole, and a manifest that is invalid means nothing.
  if (action === "create" || action === "remove" || action === "invalid") return [];
  return compareToml(texts.before.manifests[service], texts.after.manifests[service]);
}

function listStarts(desired: DesiredState, deltas: readonly ChangeDocument[]): string[][] {
  const starting = new Set(deltas.filter(({ restarts }) => restarts).map(({ service }) => service));
  const waves = listWaves(desired).map((wave) => wave.filter((name) => starting.has(name)));
  return waves.filter((wave) => wave.length > 0);
}

function findLimit(fleet: Fleet | undefined, node: string): number | undefined {
  const entry = fleet?.nodes[node];
  return entry === undefined ? undefined : entry.memory - entry.reserve;
}

/** What the fleet makes the node wait for. */
function listNotes(fleet: Fleet | undefined, node: string, changes: boolean): string[] {
  const entry = fleet?.nodes[node];
  if (entry === undefined || !changes) return [];
  const notes: string[] = [];
  if (entry.approval === "tag") notes.push(`it waits for an approval tag orca/approve/${node}/…`);
  if (entry.rollout !== undefined) notes.push(`it waits until ${entry.rollout.after} has settled on the same commit`);
  if (entry.freeze.length > 0) notes.push("it waits for the end of a freeze window");
  return notes;
}
