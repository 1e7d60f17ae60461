// From a snapshot and what was in force to the desired state of this node, and to what is in force from now on.
// Pure but for waiting: the parser that knows places is loaded only when something is wrong.

import type { Fleet, FleetNode } from "../../../shared/fleet/fleet.ts";
import type { DesiredService, DesiredState, HeldChange, Objection } from "../../../shared/state/desired-state.ts";
import { nameNetwork } from "../../../shared/state/identity.ts";
import type { RolloutVerdict } from "../../../shared/state/hold.ts";
import type { AcceptedService, InForce } from "../../../shared/state/in-force.ts";
import { compareText, describeProblem } from "../../../shared/text/problem.ts";
import type { Approvals, Snapshot } from "../../../shared/state/snapshot.ts";
import { accept, type Acceptance, keepBefore } from "./accept.ts";
import { followEphemeral } from "./ephemeral.ts";
import { adaptToStandIn, chooseEach, type KnownOfSecrets } from "./choose.ts";
import type { PlacedService, RemoteService } from "./constraints.ts";
import { describeHeldChange } from "../holds/held-summary.ts";
import { type Change, listHolds, readAllowedRemovals, readEmergency } from "../holds/holds.ts";
import { leadNodes, listMembers, selectInterests } from "../repository/fleet-members.ts";
import {
  type ParseCache,
  type ParsedManifest,
  parseFleet,
  type ParsedFleet,
  parseManifests,
  readRemotes,
} from "../repository/repository.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import type { HostPaths } from "./host-paths.ts";
import { checkPolicy } from "../policy/policy-check.ts";
import { listMoved, listStateful } from "../repository/moves.ts";
import { listSecretPaths } from "../secrets/secret-choice.ts";
import type { DesiredSettings } from "./desired-settings.ts";
import type { StorePlan } from "../../../shared/state/backup.ts";
import { describeRefusedAlerts, listAlertSecrets, planAlerts } from "./plan-alerts.ts";
import { listRepositorySecrets, type StoreFleet } from "./repository-plans.ts";
import { listStorePlans, nameNeeds } from "./store-plans.ts";
import { selectAgentPin } from "../repository/agent-pin.ts";
import { describeStandby } from "../repository/unused-parts.ts";

/** Everything desired state is built from. */
export interface DesiredInput {
  snapshot: Snapshot;
  inForce: InForce | undefined;
  /** Content of accepted files by hash, as far as the store has it. */
  storedContents: ReadonlyMap<string, Uint8Array>;
  /** Services that have containers on this node. */
  adopted: readonly string[];
  allowedRemovals: number;
  approvals?: Approvals | undefined;
  rollout?: RolloutVerdict | undefined;
  /** What the host says of bind-mount sources. */
  host: HostPaths;
  settings: DesiredSettings;
  cache: ParseCache;
  /** What is known of secrets, how services stand with what they were given, and who has had the time for newer values. */
  secrets: KnownOfSecrets & { notes: readonly string[] };
  nowMs: number;
}

/** Desired state, and what is in force with it. */
export interface Built {
  desired: DesiredState;
  /** Every secret that is wanted now, whether or not it is known. */
  secretPaths: ReadonlySet<string>;
  /** True while a newer version waits for its turn or has not settled. */
  rotating: boolean;
  inForce: InForce;
}

/** Builds desired state. */
export async function buildDesired(input: DesiredInput): Promise<Built> {
  const built = await buildAll(input);
  input.cache.sweep();
  return built;
}

async function buildAll(input: DesiredInput): Promise<Built> {
  const { snapshot, inForce } = input;
  const [newest, judging] = [await parseLed(input, snapshot.fleet), await parseLed(input, inForce?.fleet)];
  const before = await parseBefore(input);
  const others = readOthers(input);
  const kept = { fleet: judging, before, others };
  const refusal = refuseFleet(newest, input.settings);
  if (refusal !== undefined) {
    const held = {
      revision: snapshot.revision,
      holds: [{ kind: "refused", why: { code: "said", message: refusal } } as const],
      desired: undefined,
    };
    return chooseAll(input, keepBefore({ before, inForce }), { ...kept, held });
  }
  const wanted = { fleet: newest, before, others, held: undefined };
  const own = await parseManifests(snapshot, input.settings.node, input.cache);
  const holds = listHolds(
    describeChange(input, { own, others, judging: inForce === undefined ? newest.fleet : judging.fleet }),
  );
  const { revision } = snapshot;
  const { settings } = input;
  const acceptance = accept({ revision, fleet: newest.fleet, own, others, before, inForce, settings });
  const all = await chooseAll(input, acceptance, wanted);
  if (holds.length === 0) return all;
  const held = { revision, holds, desired: all.desired };
  const built = await chooseAll(input, keepBefore({ before, inForce }), { ...kept, held });
  const notes = [...built.desired.notes, describeHeldChange(revision, built.desired, all.desired)];
  return { ...built, desired: { ...built.desired, notes } };
}

/** Parses a fleet.toml: the newest, or the one in force, by which that is judged. Both are read through the takeovers that count. */
async function parseLed({ snapshot, settings }: DesiredInput, text: string | undefined): Promise<ParsedFleet> {
  const parsed = await parseFleet(text, snapshot.fleetFile);
  return { ...parsed, fleet: leadNodes(parsed.fleet, settings.takeovers) };
}

function describeChange(
  { snapshot, inForce, adopted, settings, nowMs, approvals, rollout, allowedRemovals }: DesiredInput,
  parts: { own: readonly ParsedManifest[]; others: readonly RemoteService[]; judging: Fleet | undefined },
): Change {
  const { own, others, judging } = parts;
  const moved = listMoved(settings.node, own, others);
  const known = [...Object.keys(inForce?.services ?? {}), ...adopted];
  return {
    node: settings.node,
    snapshot,
    inForce,
    judging,
    approvals,
    rollout,
    nowMs,
    services: {
      before: new Set(known.filter((service) => !moved.has(service))),
      after: new Set(own.map(({ service }) => service)),
    },
    allowedRemovals: Math.max(allowedRemovals, readAllowedRemovals(snapshot.commit)),
  };
}

/** An unreadable fleet.toml refuses the whole snapshot: what was in force stays. */
function refuseFleet(parsed: ParsedFleet, { node, policy }: DesiredSettings): string | undefined {
  const first = parsed.problems[0];
  if (first !== undefined) return `fleet.toml cannot be read: ${describeProblem(first)}`;
  if (parsed.fleet === undefined) return undefined;
  const realm = parsed.fleet.nodes[node]?.env;
  if (policy.realm !== undefined && realm !== undefined && realm !== policy.realm)
    return `fleet.toml puts this node into ${realm}, and the host's policy pins it to ${policy.realm} (policy: realm)`;
  if (realm !== undefined) return undefined;
  return `fleet.toml does not know this node: add [nodes.${node}], known are ${Object.keys(parsed.fleet.nodes).join(", ")}`;
}

/** What was parsed besides this node's newest manifests. */
interface Parsed {
  fleet: ParsedFleet;
  before: ReadonlyMap<string, PlacedService>;
  others: readonly RemoteService[];
  /** Set while the newest change is not in force. */
  held: HeldChange | undefined;
}

/** The manifests that were in force, as this version reads them. */
async function parseBefore({ inForce, settings, snapshot, cache }: DesiredInput): Promise<Map<string, PlacedService>> {
  const before = new Map<string, PlacedService>();
  for (const [service, accepted] of Object.entries(inForce?.services ?? {})) {
    const parsed = await cache.parse(accepted.text, snapshot.describeFile(settings.node, service));
    if (parsed.ok) before.set(service, { node: settings.node, service, manifest: parsed.value });
  }
  return before;
}

function readOthers({ snapshot, settings, cache }: DesiredInput): RemoteService[] {
  const placed: RemoteService[] = [];
  for (const node of Object.keys(snapshot.manifests)) {
    if (node !== settings.node) placed.push(...readRemotes(snapshot, node, cache));
  }
  return placed;
}

async function chooseAll(input: DesiredInput, acceptance: Acceptance, parsed: Parsed): Promise<Built> {
  const services = new Map<string, DesiredService>();
  const objections = new Map<string, Objection>(acceptance.objections);
  const contents = new Map<string, Uint8Array>();
  const kept: Record<string, AcceptedService> = {};
  const { fleet, before, others } = parsed;
  const all = [...acceptance.services.values(), ...others];
  const held = parsed.held !== undefined;
  const accepted = [...acceptance.services.values()];
  const { rotation, choices } = await chooseEach(accepted, {
    ...input,
    fleet: fleet.fleet,
    before,
    services: all,
    held,
  });
  for (const [name, choice] of choices) {
    if (choice.objection !== undefined) objections.set(name, choice.objection);
    if (choice.service !== undefined) services.set(name, choice.service);
    const front = choice.service?.front?.service;
    if (front !== undefined) services.set(front.name, front);
    if (choice.accepted !== undefined) kept[name] = choice.accepted;
    for (const [hash, content] of choice.contents) contents.set(hash, content);
  }
  const { notes } = acceptance;
  const interests = selectInterests(input.settings.node, all);
  const why = parsed.held;
  const rotating = new Map(
    Object.entries(kept).flatMap(([name, { rotation: mark }]) => (mark ? [[name, mark.paths]] : [])),
  );
  const refused = [...choices].flatMap(([name, { refusals = [] }]) =>
    refusals.length === 0 ? [] : [[name, refusals] as const],
  );
  // The spare has the stores of a replaced node.
  const { isReplaced = false } = input.settings;
  const backups = isReplaced ? [] : planStores(accepted, input.settings, { kept, contents, fleet: fleet.fleet });
  const parts = {
    services: nameNeeds(services, backups),
    objections,
    rotating,
    rotationNotes: rotation.notes,
    refusedSecrets: new Map(refused),
    notes,
    contents,
    held: why,
    interests,
  };
  const desired = { ...buildState(input, fleet.fleet, parts), ...(backups.length === 0 ? {} : { backups }) };
  return {
    desired,
    secretPaths: listWantedSecrets(acceptance, parsed, input),
    rotating: rotation.turns.size + rotation.notes.size + rotating.size > 0,
    inForce: buildInForce(input, parsed, kept),
  };
}

/** What is in force now; of a change that is held only what was accepted of its services. */
function buildInForce(
  input: DesiredInput,
  { held, others }: Parsed,
  services: Readonly<Record<string, AcceptedService>>,
): InForce {
  const {
    revision,
    fleet,
    others: texts,
    objects,
  } = held
    ? { revision: "", fleet: undefined, others: undefined, objects: undefined, ...input.inForce }
    : { objects: undefined, ...input.snapshot, others: selectRouted(input) };
  const stateful = held ? input.inForce?.stateful : updateStateful(input, others);
  return {
    revision,
    fleet,
    acceptedMs: input.nowMs,
    services,
    ...(stateful === undefined ? {} : { stateful }),
    ...(texts && { others: texts }),
    ...(objects && { objects }),
  };
}

/** What is backed up: of services that are in force, with the files that they name. */
function planStores(
  accepted: readonly { service: string; manifest: Manifest }[],
  settings: DesiredSettings,
  {
    kept,
    contents,
    fleet,
  }: Pick<StoreFleet, "fleet"> & {
    kept: Readonly<Record<string, AcceptedService>>;
    contents: ReadonlyMap<string, Uint8Array>;
  },
): StorePlan[] {
  const inForce = accepted.flatMap(({ service, manifest }) =>
    kept[service] === undefined ? [] : [{ service, manifest: adaptToStandIn(manifest, settings) }],
  );
  const readText = (service: string, path: string): string | undefined => {
    const content = contents.get(kept[service]?.files[path] ?? "");
    return content === undefined ? undefined : new TextDecoder().decode(content);
  };
  return listStorePlans(inForce, { fleet, node: settings.node, readText });
}

/** The secrets of what is wanted and of what runs in its place where that cannot be. */
function listWantedSecrets(
  acceptance: Acceptance,
  { before, fleet }: Pick<Parsed, "before" | "fleet">,
  { settings }: DesiredInput,
): ReadonlySet<string> {
  const manifests = [...acceptance.services.values(), ...before.values()].flatMap(({ service, manifest }) => {
    const adapted = adaptToStandIn(manifest, settings);
    return acceptance.services.has(service) && isAllowed(service, adapted, settings) ? [adapted] : [];
  });
  const ofServices = manifests.flatMap((manifest) => [...listSecretPaths(manifest), ...listPasswords(manifest)]);
  // A stand-in's data is not worth keeping, and the host has no keys of the real repositories.
  const ofRepositories = settings.standIns === undefined ? listRepositorySecrets(manifests, fleet.fleet) : [];
  const ofAlerts = settings.standIns === undefined ? listAlertSecrets(planAlerts(fleet.fleet, settings.policy)) : [];
  return new Set([...ofServices, ...ofRepositories, ...ofAlerts]);
}

/** What a backup connects with: the agent alone needs it, and the service is not made anew for it. */
function listPasswords({ backups }: Manifest): string[] {
  return backups.flatMap(({ connect, source }) => [connect?.password ?? [], source?.secret ?? []].flat());
}

/** No secret is asked for that the host's policy does not allow. */
function isAllowed(service: string, manifest: Manifest, { policy }: DesiredSettings): boolean {
  try {
    const refusals = checkPolicy({ service, manifest, realPaths: {} }, policy);
    return !refusals.some(({ rule }) => /^(secrets|bootstrap)\./.test(rule));
  } catch {
    // What cannot be judged is told where the service is built; nothing is asked for it.
    return false;
  }
}

/** What is read again from what is in force knows little of other nodes: then what was known stays. */
function updateStateful(
  { snapshot, inForce, nowMs }: DesiredInput,
  others: readonly RemoteService[],
): InForce["stateful"] {
  return snapshot.revision === inForce?.revision ? inForce.stateful : listStateful(others, inForce?.stateful, nowMs);
}

/** What templates of this node were rendered with must outlive a source that cannot be read. */
function selectRouted({ snapshot, settings }: DesiredInput): InForce["others"] {
  const { [settings.node]: own = {}, ...others } = snapshot.manifests;
  if (!Object.values(own).some((text) => text.includes("template"))) return undefined;
  const routed = Object.entries(others).map(([node, texts]) => {
    return [node, Object.fromEntries(Object.entries(texts).filter(([, text]) => text.includes("routes")))] as const;
  });
  return Object.fromEntries(routed.filter(([, texts]) => Object.keys(texts).length > 0));
}

type StateParts = Omit<
  DesiredState,
  "node" | "revision" | "network" | "memoryBudgetBytes" | "dataMount" | "fleet" | "hostEntries"
>;

function buildState(input: DesiredInput, fleet: Fleet | undefined, parts: StateParts): DesiredState {
  const { settings, snapshot, inForce } = input;
  const node = fleet?.nodes[settings.node];
  const entries = Object.entries(fleet?.nodes ?? {}).map(([name, entry]) => [name, entry.address] as const);
  const emergency = parts.held === undefined ? readEmergency(snapshot.commit) : undefined;
  const data = settings.assumeDataMounted ? undefined : node?.data;
  // Whoever tries a topology with stand-ins tells nobody.
  const alerts = settings.standIns === undefined ? planAlerts(fleet, settings.policy) : undefined;
  const agentPin = selectAgentPin(fleet, settings.node);
  return followEphemeral({
    ...parts,
    notes: [
      ...settings.hostNotes,
      ...input.secrets.notes,
      ...describeStandby(fleet, settings.node, settings.policy.pinned.recovery_key),
      ...describeRefusedAlerts(fleet, settings.policy),
      ...parts.notes,
    ],
    ...(emergency === undefined ? {} : { emergency }),
    ...(alerts === undefined ? {} : { alerts }),
    ...(agentPin === undefined ? {} : { agentPin }),
    node: settings.node,
    revision: parts.held === undefined ? snapshot.revision : (inForce?.revision ?? snapshot.revision),
    network: {
      name: nameNetwork(settings.node),
      subnet: node?.network.subnet,
      internal: node?.network.internal ?? false,
    },
    memoryBudgetBytes: settings.budget === "enforce" ? findBudget(node, settings) : undefined,
    foreignVolumes: settings.policy.volumes.foreign,
    dataMount: data === undefined ? undefined : { mount: data.mount, uuid: data.uuid },
    fleet: listMembers(fleet),
    hostEntries: Object.fromEntries(entries.toSorted(([left], [right]) => compareText(left, right))),
  });
}

function findBudget(node: FleetNode | undefined, { policy }: DesiredSettings): number | undefined {
  const limits = [node === undefined ? undefined : node.memory - node.reserve, policy.memory.max_total];
  const known = limits.filter((limit) => limit !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
