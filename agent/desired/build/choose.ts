// For each accepted service the manifest that can really run: the newest one the host's policy allows and whose files
// are there, else the one that was in force. Pure but for waiting on the parser that knows places.

import type { DesiredService, Objection } from "../../../shared/state/desired-state.ts";
import type { Fleet } from "../../../shared/fleet/fleet.ts";
import { sha256 } from "../../../shared/state/identity.ts";
import type { AcceptedService, InForce } from "../../../shared/state/in-force.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { locateFindings } from "../../../shared/text/parse-toml.ts";
import type { Reason } from "../../../shared/state/reason.ts";
import { cutText } from "../../../shared/text/problem.ts";
import { STAND_IN_FACTS, type TemplateRecipe } from "../../../shared/secret/secret-facts.ts";
import type { Snapshot } from "../../../shared/state/snapshot.ts";
import { type AcceptedManifest, keepText } from "./accept.ts";
import { type ClosureFault, findClosureFaults } from "../secrets/bootstrap-closure.ts";
import { type Compiled, compileService } from "./compile.ts";
import type { PlacedService, RemoteService } from "./constraints.ts";
import { findUnsteadySource, type HostPaths, listBinds, readRealPaths, type RealPaths } from "./host-paths.ts";
import { checkPolicy, explainRefusals, type PolicySubject } from "../policy/policy-check.ts";
import { checkRepositoryPolicy } from "../policy/policy-repositories.ts";
import { buildSecretTests, checkContents, listForbidden, refuseContent } from "../policy/policy-values.ts";
import {
  chooseRotation,
  findMark,
  listRefused,
  type Rotation,
  type RotationInput,
} from "../secrets/rotation-choice.ts";
import { chooseSecrets, type SecretChoice } from "../secrets/secret-choice.ts";
import type { DesiredSettings } from "./desired-settings.ts";

/** What choosing depends on. */
export interface ChoiceInput {
  snapshot: Snapshot;
  inForce: InForce | undefined;
  before: ReadonlyMap<string, PlacedService>;
  storedContents: ReadonlyMap<string, Uint8Array>;
  /** What the host says of bind-mount sources. */
  host: HostPaths;
  settings: DesiredSettings;
  fleet: Fleet | undefined;
  /** Every service of the fleet, for routes. */
  services: readonly RemoteService[];
  /** True while the whole change is held, so that files come from the store and not from the snapshot. */
  held: boolean;
  /** What is known of secrets, and whose turn it is to take newer ones. */
  secrets: Pick<KnownOfSecrets, "facts" | "standings"> & {
    rotation: Rotation;
    /** What would keep the fleet's own secrets server or forge from starting. */
    closure: readonly ClosureFault[];
  };
}

/** What is known of secrets, how services stand with what they were given, and who has had the time for newer values. */
export type KnownOfSecrets = Pick<RotationInput, "facts" | "standings" | "late">;

/** One service as chosen: `service` is undefined where nothing can run. */
export interface Choice {
  service: DesiredService | undefined;
  accepted: AcceptedService | undefined;
  objection: Objection | undefined;
  contents: ReadonlyMap<string, Uint8Array>;
  /** Secrets that it was given and that the provider refuses. */
  refusals?: Chosen["refusals"];
}

/** Chooses for every service; one that cannot be given its newer values is found by trying, and keeps nobody waiting. */
export async function chooseEach(
  accepted: readonly AcceptedManifest[],
  input: Omit<ChoiceInput, "secrets"> & { secrets: KnownOfSecrets },
): Promise<{ rotation: Rotation; choices: ReadonlyMap<string, Choice> }> {
  const { facts, standings, late } = input.secrets;
  const closure = findClosureFaults(accepted, facts.provider === "server");
  const refused = new Set<string>();
  for (;;) {
    const rotation = chooseRotation({ services: accepted, inForce: input.inForce, facts, standings, late, refused });
    const choices = new Map<string, Choice>();
    const secrets = { facts, standings, rotation, closure };
    for (const entry of accepted) choices.set(entry.service, await chooseRelease(entry, { ...input, secrets }));
    const after = Object.fromEntries([...choices].map(([name, choice]) => [name, choice.accepted ?? {}]));
    const more = listRefused(rotation, after, facts).filter((name) => !refused.has(name));
    if (more.length === 0) return { rotation, choices };
    for (const name of more) refused.add(name);
  }
}

/** Chooses what runs for one service. */
async function chooseRelease(newest: AcceptedManifest, input: ChoiceInput): Promise<Choice> {
  const first = await guard(newest.service, () => tryRelease(newest, input), input);
  if (first.service !== undefined) return first;
  const before = input.before.get(newest.service);
  const accepted = input.inForce?.services[newest.service];
  if (before === undefined || accepted === undefined || accepted.text === newest.accepted.text) return first;
  const second = await guard(
    newest.service,
    () => tryRelease({ ...before, accepted: keepText(accepted) }, input),
    input,
  );
  return second.service === undefined ? { ...first, accepted } : { ...second, objection: first.objection };
}

/** What throws while one service is built is that service's fault: it stays what it is, and the others are built. */
async function guard(service: string, build: () => Promise<Choice>, { inForce }: ChoiceInput): Promise<Choice> {
  try {
    return await build();
  } catch (error) {
    const said = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const why = { code: "build-fault", message: cutText(said) } as const;
    return { ...chooseNone({ state: "invalid", why, problems: [] }), accepted: inForce?.services[service] };
  }
}

/** A release that is being tried. */
interface Tried {
  entry: AcceptedManifest;
  manifest: Manifest;
  realPaths: RealPaths;
  /** Why no container of it is made, where only one that is there may go on. */
  unsteady: string | undefined;
}

function chooseNone(objection: Objection): Choice {
  return { service: undefined, accepted: undefined, contents: new Map(), objection };
}

function refuseService(why: Reason): Choice {
  return chooseNone({ state: "refused", why, problems: [] });
}

async function tryRelease(entry: AcceptedManifest, input: ChoiceInput): Promise<Choice> {
  const { settings } = input;
  const { service: name } = entry;
  const manifest = adaptToStandIn(entry.manifest, settings);
  const realPaths = await readRealPaths(manifest.volumes, input.host, settings.policy.mounts.allowed_prefixes);
  const closure = input.secrets.closure.find((fault) => fault.service === name);
  if (closure !== undefined && settings.standIns === undefined)
    return refuseService({ code: "constraint-broken", message: closure.message, hint: closure.hint });
  // First without any value, so that nothing is asked of a provider that the host does not allow.
  const refusal = judgePolicy({ service: name, manifest, realPaths }, input);
  if (refusal !== undefined) return refuseService(refusal);
  const neighbours = input.services.filter(({ node }) => node === settings.node);
  const before = (service: string): Manifest["volumes"] | undefined => input.before.get(service)?.manifest.volumes;
  const judged = { service: name, volumes: manifest.volumes };
  const unsteady = await findUnsteadySource(judged, realPaths, { host: input.host, neighbours, before });
  // What ran with exactly these mounts goes on; nothing new is made with them.
  const goesOn = unsteady?.mayGoOn === true && input.inForce?.services[name]?.text === entry.accepted.text;
  if (unsteady !== undefined && !goesOn) return refuseService({ code: "source-unsteady", message: unsteady.message });
  const mayRotate = input.secrets.rotation.turns.get(name) ?? NO_TURN;
  const chosen = chooseVersions(entry, manifest, { ...input, mayRotate });
  if (chosen.kind === "objected") return chooseNone(chosen.objection);
  const tried = { entry, manifest, realPaths, unsteady: unsteady?.message };
  const first = await tryVersions(chosen, tried, input);
  if (first.service !== undefined || chosen.rotated.length === 0) return first;
  // A newer value that it cannot be given: it goes on with the one it has, and says why.
  const older = chooseVersions(entry, manifest, { ...input, mayRotate: NO_TURN });
  if (older.kind === "objected" || older.rotated.length > 0) return first;
  const kept = await tryVersions(older, tried, input);
  return kept.service === undefined ? first : { ...kept, objection: first.objection };
}

const NO_TURN: ReadonlySet<string> = new Set();

type Chosen = Extract<SecretChoice, { kind: "chosen" }>;

/** Tries one release with these versions of its secrets. */
async function tryVersions(
  secrets: Chosen,
  { entry, manifest, realPaths, unsteady }: Tried,
  input: ChoiceInput,
): Promise<Choice> {
  const { settings, snapshot } = input;
  const { service: name, accepted } = entry;
  const tests = buildSecretTests(input.secrets.facts, secrets.versions);
  const second = judgePolicy({ service: name, manifest, realPaths, secrets: tests }, input);
  if (second !== undefined) return refuseService(second);
  const read = (path: string): Uint8Array | undefined => readSource(entry, path, input);
  const compiled = compileService(name, manifest, {
    secrets,
    settings,
    fleet: input.fleet,
    services: input.services,
    readFile: read,
    findFault: (path) => snapshot.faults?.files[path],
    revision: accepted.revision,
    movedFrom: accepted.movedFrom,
  });
  if (!compiled.ok) {
    const problems = await locateFindings(compiled.findings, accepted.text, snapshot.describeFile(settings.node, name));
    return chooseNone({ state: "invalid", why: { code: "parts-missing", problems }, problems });
  }
  const third = judgeContents(compiled, settings) ?? judgeRendered(compiled, secrets.versions, input);
  if (third !== undefined) return refuseService(third);
  const contents = new Map(compiled.contents);
  const files: Record<string, string> = {};
  for (const source of listSources(manifest)) {
    const content = read(source);
    if (content === undefined) continue;
    files[source] = sha256(content);
    contents.set(files[source], content);
  }
  const kept = { ...accepted, files, ...keepSecrets(entry, secrets, input) };
  const { refusals } = secrets;
  const binds = listBinds(manifest, realPaths);
  const service = binds.length === 0 ? compiled.service : { ...compiled.service, binds };
  const done = { accepted: kept, contents, refusals };
  if (unsteady === undefined) return { ...done, service, objection: undefined };
  const { objection } = refuseService({ code: "source-unsteady", message: unsteady });
  return { ...done, service: { ...service, onlyAsItIs: unsteady }, objection };
}

function chooseVersions(
  { service, accepted }: AcceptedManifest,
  manifest: Manifest,
  { inForce, secrets, settings, mayRotate }: ChoiceInput & { mayRotate: ReadonlySet<string> },
): SecretChoice {
  const before = inForce?.services[service];
  const facts = settings.standIns === undefined || secrets.facts.provider !== "none" ? secrets.facts : STAND_IN_FACTS;
  const isNew = before?.text !== accepted.text;
  return chooseSecrets({ manifest, facts, before, isNew, mayRotate });
}

/** What is remembered of its secrets: the versions, and which of them are newer than what it has settled with. */
function keepSecrets(
  { service, accepted }: AcceptedManifest,
  { versions, rotated }: Chosen,
  { inForce, secrets: { standings } }: ChoiceInput,
): Pick<AcceptedService, "secrets" | "rotation"> {
  if (Object.keys(versions).length === 0) return {};
  const isNew = inForce?.services[service]?.text !== accepted.text;
  const before = isNew ? undefined : findMark(service, { inForce, standings });
  const paths = [...new Set([...(before?.paths ?? []), ...rotated])].toSorted();
  if (paths.length === 0) return { secrets: versions };
  const witness = before?.witness ?? standings.get(service)?.proven ?? true;
  return { secrets: versions, rotation: { paths, witness } };
}

/** The files that a manifest names, whether they are mounted or read here. */
function listSources({ files, backups }: Manifest): string[] {
  const lists = backups.flatMap(({ verify }) => verify?.fk_allowlist ?? []);
  return [...new Set([...files.map(({ source }) => source), ...lists])];
}

/** A release from this snapshot reads its files from it; an older one reads what the store kept for it. */
function readSource(
  entry: AcceptedManifest,
  path: string,
  { snapshot, settings, held, inForce, storedContents }: ChoiceInput,
): Uint8Array | undefined {
  const isNewest = !held && entry.accepted.text === snapshot.manifests[settings.node]?.[entry.service];
  if (isNewest) return snapshot.files[path];
  return storedContents.get(inForce?.services[entry.service]?.files[path] ?? "");
}

/** A stand-in plays the service without its secrets on the host: files of the bootstrap exception are not read. */
export function adaptToStandIn(manifest: Manifest, settings: DesiredSettings): Manifest {
  if (settings.standIns === undefined) return manifest;
  const { bootstrap: _bootstrap, ...rest } = manifest;
  return { ...rest, backups: manifest.backups.map(adaptBackup) };
}

type Backup = Manifest["backups"][number];

/**
 * What a stand-in keeps goes to this host alone, which has no keys of the real repositories; no change waits for it, and a proof
 * expects nothing of the real data in it.
 */
function adaptBackup(backup: Backup): Backup {
  const { connect: _connect, image: _image, verify, ...rest } = backup;
  return {
    ...rest,
    repositories: ["local"],
    min_success: 1,
    before_update: false,
    hooks: { before: [], after: [] },
    ...(verify === undefined ? {} : { verify: adaptProof(verify) }),
  };
}

function adaptProof(verify: NonNullable<Backup["verify"]>): NonNullable<Backup["verify"]> {
  const { image: _image, fk_allowlist: _allowed, ...rest } = verify;
  return { ...rest, extensions: [], schemas: [], queries: [] };
}

/** The first refusal of the host's policy; what only values could tell is left until they are known. */
function judgePolicy(subject: PolicySubject, { settings, fleet }: ChoiceInput): Reason | undefined {
  const { ownDirectories, node } = settings;
  const address = settings.address ?? fleet?.nodes[node]?.address;
  const refusals = checkPolicy({ ...subject, ownDirectories, address }, settings.policy).filter(
    ({ deferred }) => !deferred,
  );
  const named = [...new Set(subject.manifest.backups.flatMap((backup) => backup.repositories))];
  const stores = named.flatMap((name) => {
    const repository = fleet?.repositories[name];
    if (repository === undefined) return [];
    return checkRepositoryPolicy(repository, settings.policy).map(({ key, rule, message }) => ({
      key: `repositories.${name}.${key}`,
      rule,
      message,
    }));
  });
  return explainRefusals([...refusals, ...stores]);
}

function judgeContents(compiled: Extract<Compiled, { ok: true }>, { policy }: DesiredSettings): Reason | undefined {
  const files = compiled.service.files.flatMap(({ target, content: wanted }) => {
    const content = wanted.kind === "plain" ? compiled.contents.get(wanted.hash) : undefined;
    return content === undefined ? [] : [{ path: [target], content }];
  });
  return explainRefusals(checkContents(files, policy).map((refusal) => ({ ...refusal, key: refusal.path.join() })));
}

/** Files with secrets in them, as they would be delivered: whether they can be, and what the host's policy says. */
function judgeRendered(
  { service, contents }: Extract<Compiled, { ok: true }>,
  versions: Readonly<Record<string, string>>,
  { settings, secrets }: ChoiceInput,
): Reason | undefined {
  const { templates, policy } = settings;
  for (const { target, content: wanted } of service.files) {
    const content = wanted.kind === "rendered" ? contents.get(wanted.recipe) : undefined;
    if (content === undefined || templates === undefined) continue;
    const recipe = JSON.parse(new TextDecoder().decode(content)) as TemplateRecipe;
    const trial = { recipe, versions, templates, forbidden: listForbidden(policy) };
    const verdict = secrets.facts.tryTemplate(trial);
    if (verdict.kind === "fails") return { code: "file-undeliverable", target, message: verdict.reason };
    if (verdict.kind !== "renders" || verdict.matched === undefined) continue;
    const refusal = refuseContent([target], verdict.matched);
    return explainRefusals([{ ...refusal, key: target }]);
  }
  return undefined;
}
