// From one valid manifest to one desired service: spec, caps, files with their content. Pure.

import type { FileFault } from "../../../shared/manifest/file-fault.ts";
import type { DesiredFile, DesiredService } from "../../../shared/state/desired-state.ts";
import type { Fleet } from "../../../shared/fleet/fleet.ts";
import { type ContainerSpec, listAliases } from "../../../shared/state/container-spec.ts";
import { nameFront } from "../../../shared/state/front.ts";
import { canonicalJson, hashSpec, sha256 } from "../../../shared/state/identity.ts";
import { type FileContent, holdsSecret, nameContent } from "../../../shared/state/file-content.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { compareText, type Finding } from "../../../shared/text/problem.ts";
import type { RemoteService } from "./constraints.ts";
import { buildCaps, buildContainerSpec } from "./compile-spec.ts";
import { buildFront } from "./front-service.ts";
import { nameVersion, SECRETS_DIRECTORY, STAND_IN_VERSION } from "../../../shared/secret/secret-facts.ts";
import { buildFiles, buildSecretFiles } from "./delivered-files.ts";
import { nameEphemeral } from "./ephemeral.ts";
import type { SecretChoice } from "../secrets/secret-choice.ts";
import { parseOrigin } from "../repository/moves.ts";
import { type DesiredSettings, LOOPBACK, placePort } from "./desired-settings.ts";
import { EVERY_STORE } from "./store-plans.ts";
import { describeUnused, listUnused } from "../repository/unused-parts.ts";

/** What a service is compiled with. */
export interface CompileContext {
  settings: DesiredSettings;
  fleet: Fleet | undefined;
  /** Every service of the fleet, for routes. */
  services: readonly RemoteService[];
  /** Content of the files of this node's directory, by relative path. */
  readFile(path: string): Uint8Array | undefined;
  /** Why one of them could not be read. */
  findFault?(path: string): FileFault | undefined;
  revision: string;
  /** Where the service was before, where its manifest does not say. */
  movedFrom?: string | undefined;
  /** Path → version of every secret it takes, and why it must not be started where that is so. */
  secrets: Pick<Extract<SecretChoice, { kind: "chosen" }>, "versions" | "blocked" | "notes">;
}

/** A compiled service with the content of its files, or what is wrong. */
export type Compiled =
  | { ok: true; service: DesiredService; contents: ReadonlyMap<string, Uint8Array> }
  | { ok: false; findings: Finding[] };

/** Compiles one manifest. */
export function compileService(name: string, manifest: Manifest, context: CompileContext): Compiled {
  const { settings, fleet } = context;
  const { files, contents, findings } = buildFiles(name, manifest, context);
  if (findings.length > 0) return { ok: false, findings };
  const address = settings.address ?? fleet?.nodes[settings.node]?.address ?? LOOPBACK;
  const whole = buildContainerSpec(manifest, {
    standIn: (image) => settings.standIns?.[image] ?? settings.standIns?.["*"],
    placePort: (port) => placePort(port, settings, address),
    secretVersion: (path) => context.secrets.versions[path] ?? STAND_IN_VERSION,
    liesInMemory: (target) => files.some((file) => file.target === target && holdsSecret(file.content)),
  });
  files.push(...buildSecretFiles(manifest, context.secrets.versions));
  const sorted = files.toSorted((left, right) => compareText(left.target, right.target));
  const frontImage = findFrontImage(manifest, settings);
  const spec = nameEphemeral(frontImage === undefined ? whole : placeBehindFront(name, whole, sorted));
  const movedFrom = parseOrigin(manifest.moved_from ?? context.movedFrom, settings.node);
  const service: DesiredService = {
    name,
    kind: manifest.schedule === undefined ? "service" : "job",
    fingerprint: takeFingerprint(manifest, spec, sorted),
    revision: context.revision,
    spec,
    specHash: hashSpec(spec),
    caps: buildCaps(manifest.resources),
    files: sorted,
    running: manifest.state === "running",
    schedule: manifest.schedule,
    health: manifest.health,
    restart: manifest.restart,
    update: { ...manifest.update, healthy_within: findHealthyWithinMs(manifest) },
    requires: manifest.requires,
    wants: manifest.wants,
    wantsTimeoutMs: manifest.wants_timeout,
    stopTimeoutMs: manifest.stop_timeout,
    ...(movedFrom === undefined ? {} : { movedFrom }),
    ...listBackupNeeds(name, manifest),
    ...(manifest.backup === undefined ? {} : { disposable: true as const }),
    owner: manifest.owner,
    ...(manifest.slo?.rto === undefined ? {} : { rtoMs: manifest.slo.rto }),
    ...listPromises(manifest),
    ...(context.secrets.blocked === undefined ? {} : { blocked: context.secrets.blocked }),
    ...describeNotes(manifest, frontImage, context.secrets.notes),
  };
  if (frontImage === undefined) return { ok: true, service, contents };
  const aliases = listAliases(name, whole);
  const ports = { ...service, spec: whole };
  const { front, hash, config } = buildFront(ports, { manifest, image: frontImage, aliases });
  return { ok: true, service: { ...service, front }, contents: contents.set(hash, config) };
}

/** Its own stores that ask for it, and all of the services that it names: which these are is known when all are built. */
function listBackupNeeds(name: string, { backups, update, schedule }: Manifest): Pick<DesiredService, "backupFirst"> {
  const own = backups.filter((backup) => backup.before_update).map((backup) => ({ service: name, store: backup.name }));
  const named = (update.backup_first ?? []).map((service) => ({ service, store: EVERY_STORE }));
  const needs = [...own, ...named];
  return needs.length === 0 || schedule !== undefined ? {} : { backupFirst: needs };
}

/** What it promises besides the time of a recovery: a job promises nothing of the kind. */
function listPromises({ slo, schedule }: Manifest): Pick<DesiredService, "slo"> {
  if (slo === undefined || schedule !== undefined) return {};
  const { availability, freeze } = slo;
  const promise = {
    ...(availability === undefined ? {} : { availability }),
    ...(freeze === true ? { freeze } : {}),
  };
  return Object.keys(promise).length === 0 ? {} : { slo: promise };
}

/** What a release has where its manifest says nothing, unless it is given more to come up and settle. */
const HEALTHY_WITHIN_MS = 120_000;

/** How long a release may take to be good, in milliseconds. */
function findHealthyWithinMs({ update, health }: Manifest): number {
  return update.healthy_within ?? Math.max(HEALTHY_WITHIN_MS, (health?.start_period ?? 0) + update.settle);
}

/** What an earlier version filled in is filled in here: an upgrade of the agent changes no fingerprint. */
function takeFingerprint(manifest: Manifest, spec: ContainerSpec, files: readonly DesiredFile[]): string {
  const filled = {
    ...manifest,
    files: manifest.files.map((file) => ({ mode: "0444", on_change: "restart", ...file })),
    update: { healthy_within: HEALTHY_WITHIN_MS, ...manifest.update },
  };
  const hashes = files.map((file) => [file.target, nameContent(file.content)]);
  return sha256(canonicalJson({ manifest: filled, spec, files: hashes })).slice(0, 16);
}

/** The image of this service's front; undefined for a service without one. */
function findFrontImage({ update, schedule }: Manifest, { frontImage, standIns }: DesiredSettings): string | undefined {
  if (update.order !== "start-first" || schedule !== undefined || frontImage === undefined) return undefined;
  // What plays any service cannot play a front.
  return standIns === undefined ? frontImage : standIns[frontImage];
}

function describeNotes(
  manifest: Manifest,
  frontImage: string | undefined,
  secrets: readonly string[],
): Pick<DesiredService, "unused" | "notes"> {
  const unused = listUnused(manifest).map(({ summary }) => summary);
  const notes = [
    ...describeUnused(manifest),
    ...describeMissingFront(manifest, frontImage),
    ...describeEphemeral(manifest),
    ...secrets,
  ];
  return unused.length === 0 ? { notes } : { unused, notes };
}

function describeMissingFront({ update, schedule }: Manifest, frontImage: string | undefined): string[] {
  if (update.order !== "start-first" || schedule !== undefined || frontImage !== undefined) return [];
  return ['update.order = "start-first" is done as stop-first here: no image stands in for its front'];
}

/** Whoever looks at it knows that its data does not last. */
function describeEphemeral({ volumes, schedule }: Manifest): string[] {
  const names = schedule === undefined ? volumes.flatMap(({ name, ephemeral }) => (ephemeral ? (name ?? []) : [])) : [];
  if (names.length === 0) return [];
  return [
    `each release of it begins with an empty ${names.join(" and ")}: the data of the release before is removed in the end`,
  ];
}

/** The front has its ports and names; and what would restart it, makes a new container, which takes over when it is good. */
function placeBehindFront(name: string, whole: ContainerSpec, files: readonly DesiredFile[]): ContainerSpec {
  const { ports: _ports, ...rest } = whole;
  const restarts = new Map(files.flatMap((file) => (file.onChange === "restart" ? [[file.target, file.content]] : [])));
  const mounts = (rest.files ?? []).map((file) => {
    const content = restarts.get(file.target);
    return content === undefined ? file : { ...file, hash: nameContent(content) };
  });
  return {
    ...rest,
    ...(mounts.length === 0 ? {} : { files: mounts }),
    ...(rest.secretFiles === undefined ? {} : { secretFiles: nameVersions(rest.secretFiles, restarts) }),
    behind: nameFront(name),
  };
}

/** Secret files whose new values restart it, by path and version: each set of values has a container and a directory of its own. */
function nameVersions(
  secretFiles: Readonly<Record<string, string>>,
  restarts: ReadonlyMap<string, FileContent>,
): Readonly<Record<string, string>> {
  const named = Object.entries(secretFiles).map(([name, path]) => {
    const content = restarts.get(`${SECRETS_DIRECTORY}/${name}`);
    return [name, content?.kind === "secret" ? nameVersion(content.path, content.version) : path] as const;
  });
  return Object.fromEntries(named);
}
