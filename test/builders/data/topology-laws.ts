// What must hold in every manifests repository, as small pure checks over a parsed topology. Each gives the list of what
// breaks it, so that an empty list is the pass. They stand beside lint on purpose: the topologies are its good examples,
// and must be known good by other means than lint itself.

import { Cron } from "croner";

import { placeName } from "../../../agent/desired/build/constraints.ts";
import { type Manifest, SECRET_TABLES } from "../../../shared/manifest/manifest.ts";
import { describeTarget } from "../../../shared/manifest/requirement.ts";
import { parseSchedule } from "../../../shared/manifest/schedule.ts";
import { placeOf, type Topology } from "../../../scripts/lab/cold/topology.ts";
import { MINUTE } from "./topology-figures.ts";

/** References to services or nodes that do not exist, and orders across realms. */
export function findBadReferences(topology: Topology): string[] {
  const places = new Set(topology.services.map(placeOf));
  const realmOf = (node: string): string | undefined => topology.fleet.nodes[node]?.env;
  return topology.services.flatMap(({ node, service, manifest }) =>
    [...manifest.requires.map((entry) => entry.target), ...manifest.wants].flatMap((target) => {
      const line = `${placeName(node, service)} → ${describeTarget(target)}`;
      if (target.kind === "endpoint") return [`${line}: an endpoint, which a trial cannot reach`];
      const there = target.node ?? node;
      if (!places.has(placeName(there, target.service))) return [`${line}: there is none`];
      return realmOf(there) === realmOf(node) ? [] : [`${line}: another realm`];
    }),
  );
}

/** Promises that are stronger than those of what a service requires; what is waited for only a while does not bind. */
export function findEmptyPromises(topology: Topology): string[] {
  const bySlo = new Map(topology.services.map((entry) => [placeOf(entry), entry.manifest.slo]));
  return topology.services.flatMap(({ node, service, manifest }) =>
    manifest.requires.flatMap(({ target, then }) => {
      if (target.kind === "endpoint" || then === "start" || manifest.slo === undefined) return [];
      const mine = manifest.slo;
      const theirs = bySlo.get(placeName(target.node ?? node, target.service)) ?? {};
      const line = `${placeName(node, service)} → ${describeTarget(target)}`;
      return [
        ...(mine.availability !== undefined && mine.availability > (theirs.availability ?? 0)
          ? [`${line}: availability ${mine.availability} over ${theirs.availability ?? "none"}`]
          : []),
        ...(mine.rto !== undefined && mine.rto < (theirs.rto ?? Infinity)
          ? [`${line}: rto ${mine.rto} under ${theirs.rto ?? "none"}`]
          : []),
      ];
    }),
  );
}

/** The longest time between two runs of a schedule. */
export function longestGapMs(schedule: string): number {
  const parsed = parseSchedule(schedule);
  if (typeof parsed === "string" || parsed.kind === "once") return Infinity;
  if (parsed.kind === "every") return parsed.everyMs;
  const runs = new Cron(parsed.pattern, { paused: true, timezone: "UTC" })
    .nextRuns(60, new Date("2026-01-01T00:00:00Z"))
    .map((run) => run.getTime());
  return Math.max(...runs.slice(1).map((run, index) => run - (runs[index] ?? run)));
}

/** What a backup may take on top of its interval: the agent's jitter (a tenth, at most 15 minutes) and the run itself. */
const LEAST_RUN_MS = 10 * MINUTE;

/** Recovery points that no backup of the service can hold. A service without backups holds its data elsewhere. */
export function findLostRecoveryPoints(topology: Topology): string[] {
  return topology.services.flatMap((entry) => {
    const rpo = entry.manifest.slo?.rpo;
    if (rpo === undefined || entry.manifest.backups.length === 0) return [];
    const needs = entry.manifest.backups.map((backup) => {
      const gapMs = longestGapMs(backup.schedule);
      return gapMs + Math.min(gapMs / 10, 15 * MINUTE) + LEAST_RUN_MS;
    });
    return Math.min(...needs) <= rpo ? [] : [`${placeOf(entry)}: rpo ${rpo}, the backups need ${Math.min(...needs)}`];
  });
}

const SECRET_NAME = /(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIAL|ACCESS_KEY)/i;
const POINTS_TO_FILE = /^(file:)?\/run\/secrets\//;

/** Literals that look like secrets, URLs with a password, and secret paths of another realm. */
export function findLooseSecrets(topology: Topology): string[] {
  return topology.services.flatMap((entry) => {
    const { env, command = [], secrets } = entry.manifest;
    const place = placeOf(entry);
    const realm = topology.fleet.nodes[entry.node]?.env ?? "";
    const paths = SECRET_TABLES.flatMap((table) => Object.values(secrets?.[table] ?? {}));
    return [
      ...Object.entries(env)
        .filter(([name, value]) => SECRET_NAME.test(name) && !POINTS_TO_FILE.test(value))
        .map(([name]) => `${place}: env.${name} holds a literal`),
      ...[...Object.values(env), ...command]
        .filter((value) => /:\/\/[^/\s]*:[^/\s]*@/.test(value))
        .map((value) => `${place}: a URL with a password: ${value.split("@").at(-1)}`),
      ...paths
        .filter((path) => !path.startsWith(`/${realm}/`))
        .map((path) => `${place}: ${path} is not under /${realm}/`),
    ];
  });
}

/** File sources that are missing, container paths used twice, and files that nobody mounts. */
export function findBadFiles(topology: Topology): string[] {
  const used = new Set<string>();
  const problems: string[] = [];
  for (const { node, service, manifest } of topology.services) {
    const place = placeName(node, service);
    for (const source of listSources(manifest)) {
      used.add(`${node}/${source}`);
      if (!topology.files.has(`${node}/${source}`)) problems.push(`${place}: no file ${source}`);
    }
    const targets = [...manifest.files, ...manifest.volumes].map((entry) => entry.target);
    for (const [index, target] of targets.entries()) {
      if (targets.indexOf(target) !== index) problems.push(`${place}: ${target} is used twice`);
    }
  }
  for (const file of topology.files.keys()) if (!used.has(file)) problems.push(`${file}: nobody mounts it`);
  return problems;
}

function listSources({ files, backups }: Manifest): string[] {
  const allowlists = backups.flatMap((backup) => backup.verify?.fk_allowlist ?? []);
  return [...files.map((file) => file.source), ...allowlists];
}

/** Backup repositories that fleet.toml does not know. */
export function findUnknownRepositories(topology: Topology): string[] {
  const known = new Set(["local", ...Object.keys(topology.fleet.repositories)]);
  return topology.services.flatMap((entry) =>
    entry.manifest.backups.flatMap((backup) =>
      backup.repositories
        .filter((repository) => !known.has(repository))
        .map((repository) => `${placeOf(entry)}: backups ${backup.name}: no repository ${repository}`),
    ),
  );
}

/** Caps that do not say in a comment whether the seed gives them or whether they were chosen. */
export function findUnmarkedCaps(topology: Topology): string[] {
  return [...topology.texts].flatMap(([place, text]) => {
    const cap = text.split("\n").find((line) => /^memory\s*=/.test(line)) ?? "";
    return /#\s*(chosen:|section |Memory Budget)/.test(cap) ? [] : [`${place}: ${cap}`];
  });
}
