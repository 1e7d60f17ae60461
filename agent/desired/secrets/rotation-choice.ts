// Which services may take newer values of their secrets now. Those that share such a value, or of which one requires the other,
// take turns, what others require first, each when the one before has settled; nobody else waits for them. A turn ends also when
// its time is over, or when the service went back. Where a service was healthy with the old value and
// fails with the new one, Orca gives the new value to no other service. Pure.

import type { InForce } from "../../../shared/state/in-force.ts";
import { compareText } from "../../../shared/text/problem.ts";
import type { RotationMark, ServiceStanding } from "../../../shared/state/rotation.ts";
import { nameVersion, type SecretFacts } from "../../../shared/secret/secret-facts.ts";
import type { AcceptedManifest } from "../build/accept.ts";

/** What the choice depends on. */
export interface RotationInput {
  services: readonly AcceptedManifest[];
  inForce: InForce | undefined;
  facts: SecretFacts;
  standings: ReadonlyMap<string, ServiceStanding>;
  /** Services that have had the time that they are given to settle with newer values. */
  late: ReadonlySet<string>;
  /** Services that cannot be given them as their manifest stands: they try, and nobody waits for them. */
  refused: ReadonlySet<string>;
}

/** Whose turn it is, and what is said of the others. */
export interface Rotation {
  /** Service → the secrets of which it takes what is newest. */
  turns: ReadonlyMap<string, ReadonlySet<string>>;
  notes: ReadonlyMap<string, readonly string[]>;
}

/** A service and the secrets that are new to it. */
interface Entry {
  service: string;
  paths: readonly string[];
}

/** Why nobody else takes a version of a secret. */
interface Stop {
  service: string;
  reason: string;
}

/** Chooses whose turn it is. A job's next run takes what is newest, whenever it comes. */
export function chooseRotation(input: RotationInput): Rotation {
  const marked = input.services.flatMap(({ service, accepted }) => {
    // With another manifest it is a release like any other, and nobody waits for it.
    const isNew = input.inForce?.services[service]?.text !== accepted.text;
    const mark = isNew ? undefined : findMark(service, input);
    return mark === undefined ? [] : [{ service, mark }];
  });
  const stops = listStops(marked, input);
  const turns = new Map<string, ReadonlySet<string>>();
  const notes = new Map<string, string[]>();
  const say = (service: string, note: string): void => void notes.set(service, [...(notes.get(service) ?? []), note]);
  for (const { service, mark } of marked) {
    const note = describeMark(service, mark, input);
    if (note !== undefined) say(service, note);
  }
  const active: Entry[] = marked
    .filter(({ service }) => !isOver(service, input))
    .map(({ service, mark }) => ({ service, paths: mark.paths }));
  const waiting: Entry[] = [];
  for (const { service, manifest, news } of listPending(input)) {
    const stopped = news.filter((path) => stops.has(nameNewest(path, input)));
    const paths = news.filter((path) => !stopped.includes(path));
    for (const path of stopped) say(service, describeStop(path, stops.get(nameNewest(path, input))));
    if (paths.length === 0) continue;
    // What has not settled may take newer values still: those that it was given may be the reason.
    const isFree = manifest.schedule !== undefined || input.refused.has(service);
    if (isFree || active.some((entry) => entry.service === service)) turns.set(service, new Set(paths));
    else waiting.push({ service, paths });
  }
  takeTurns(waiting, active, { input, turns, say });
  return { turns, notes };
}

/** Goes through those that wait, what others require first. */
function takeTurns(
  waiting: readonly Entry[],
  active: Entry[],
  { input, turns, say }: { input: RotationInput; turns: Map<string, ReadonlySet<string>>; say: Say },
): void {
  if (waiting.length === 0) return;
  const reach = buildReach(input.services);
  const held: Entry[] = [];
  for (const entry of sortByOrder(waiting, reach)) {
    const { service, paths } = entry;
    const before =
      active.find((other) => shares(entry, other) || requires(reach, service, other.service)) ??
      active.find((other) => requires(reach, other.service, service)) ??
      held.find((other) => requires(reach, service, other.service));
    if (before === undefined) {
      turns.set(service, new Set(paths));
      active.push(entry);
      continue;
    }
    held.push(entry);
    const why = shares(entry, before) ? "takes it first" : `takes a new value of ${listPaths(before.paths)} first`;
    say(
      service,
      `waits with the new value of ${listPaths(paths)}: ${before.service} ${why}, see orca why ${before.service}`,
    );
  }
}

type Say = (service: string, note: string) => void;

/** The mark of a service that was given newer values and has not settled with them. */
export function findMark(
  service: string,
  { inForce, standings }: Pick<RotationInput, "inForce" | "standings">,
): RotationMark | undefined {
  return standings.get(service)?.settled === true ? undefined : inForce?.services[service]?.rotation;
}

/** The services that had a turn, and for which no newer value is in force after it. */
export function listRefused(
  { turns }: Rotation,
  after: Readonly<Record<string, { secrets?: Readonly<Record<string, string>> }>>,
  facts: SecretFacts,
): string[] {
  return [...turns].flatMap(([service, paths]) => {
    const secrets = after[service]?.secrets ?? {};
    const isRefused = [...paths].some((path) => {
      const fact = facts.look(path);
      return fact?.kind === "value" && secrets[path] !== fact.version;
    });
    return isRefused ? [service] : [];
  });
}

function isOver(service: string, { standings, late }: RotationInput): boolean {
  return late.has(service) || standings.get(service)?.fault?.wentBack === true;
}

/** The versions that failed with a service that was well before. */
function listStops(
  marked: readonly { service: string; mark: RotationMark }[],
  input: RotationInput,
): ReadonlyMap<string, Stop> {
  const stops = new Map<string, Stop>();
  for (const { service, mark } of marked) {
    const fault = input.standings.get(service)?.fault;
    if (!mark.witness || fault === undefined || !isOver(service, input)) continue;
    const versions = input.inForce?.services[service]?.secrets ?? {};
    for (const path of mark.paths) stops.set(nameVersion(path, versions[path] ?? ""), { service, ...fault });
  }
  return stops;
}

function nameNewest(path: string, { facts }: RotationInput): string {
  const fact = facts.look(path);
  return nameVersion(path, fact?.kind === "value" ? fact.version : "");
}

function listPending({ services, inForce, facts }: RotationInput): (AcceptedManifest & { news: string[] })[] {
  return services.flatMap((entry) => {
    const before = inForce?.services[entry.service];
    if (before?.text !== entry.accepted.text) return [];
    const news = Object.entries(before.secrets ?? {}).flatMap(([path, version]) => {
      const fact = facts.look(path);
      return fact?.kind === "value" && fact.version !== version ? [path] : [];
    });
    return news.length === 0 ? [] : [{ ...entry, news }];
  });
}

function describeMark(service: string, { paths, witness }: RotationMark, input: RotationInput): string | undefined {
  const fault = input.standings.get(service)?.fault;
  const others = witness
    ? "other services that use it keep theirs"
    : "it was not well before either, so that others do not wait for it";
  if (fault?.wentBack === true) return `runs with its old value of ${listPaths(paths)} again: ${others}`;
  if (!isOver(service, input)) return undefined;
  const after = fault === undefined ? "other services do not wait for it any more" : others;
  return `has not settled with the new value of ${listPaths(paths)} in its time: ${after}`;
}

function describeStop(path: string, stop: Stop | undefined): string {
  const who = stop === undefined ? "another service" : stop.service;
  const why = stop === undefined ? "" : `: ${stop.reason}`;
  return (
    `keeps its old value of ${path}, since ${who} failed with the new one${why}; ` +
    `until the value changes again, or orca sync --retry ${who}`
  );
}

function listPaths(paths: readonly string[]): string {
  return paths.join(", ");
}

function shares(left: Entry, right: Entry): boolean {
  return left.paths.some((path) => right.paths.includes(path));
}

/** Service → everything on this node that it requires or wants, directly or through others. */
type Reach = ReadonlyMap<string, ReadonlySet<string>>;

function requires(reach: Reach, service: string, other: string): boolean {
  return service !== other && reach.get(service)?.has(other) === true;
}

/** What others require first, by name where that says nothing; those that require each other by name. */
function sortByOrder(entries: readonly Entry[], reach: Reach): Entry[] {
  const left = entries.toSorted((one, other) => compareText(one.service, other.service));
  const sorted: Entry[] = [];
  while (left.length > 0) {
    const free = left.findIndex(({ service }) => !left.some((other) => requires(reach, service, other.service)));
    sorted.push(...left.splice(Math.max(0, free), 1));
  }
  return sorted;
}

function buildReach(services: readonly AcceptedManifest[]): Reach {
  const direct = new Map(services.map((entry) => [entry.service, listLocal(entry)]));
  return new Map(services.map(({ service }) => [service, reachFrom(service, direct)]));
}

function listLocal({ node, manifest }: AcceptedManifest): string[] {
  const targets = [...manifest.requires.map((entry) => entry.target), ...manifest.wants];
  return targets.flatMap((target) =>
    target.kind === "service" && (target.node === undefined || target.node === node) ? [target.service] : [],
  );
}

function reachFrom(from: string, direct: ReadonlyMap<string, readonly string[]>): ReadonlySet<string> {
  const reached = new Set<string>();
  const open = [from];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    for (const next of direct.get(name) ?? []) {
      if (reached.has(next)) continue;
      reached.add(next);
      open.push(next);
    }
  }
  return reached;
}
