// What a service promises (slo) against what it depends on and against its own backups: a promise that cannot be kept.
//
// - Availability: a service is not up while what it requires is down, so it cannot promise more. A requirement that
//   expires with `then = "start"`, and everything in wants, is one it can do without.
// - RTO: after an outage it starts when what it requires is healthy, so it is back no sooner; with `then = "start"` no
//   sooner than the lesser of that and `expires`, and for what it wants the lesser of that and `wants_timeout`.
// - RPO: a promise about the service's own data, kept by its own backups. One that keeps nothing itself rests on what it
//   requires, which is a guess about whose data is meant: a warning.

import { describeDuration, formatDuration } from "../../../shared/text/duration.ts";
import { parseSchedule } from "../../../shared/manifest/schedule.ts";
import { allowForRun, findLongestGapMs } from "./schedule-gap.ts";
import { addTo, blame, type FiledService, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** Checks the promises of every service. */
export function checkPromises(view: RepositoryView): FileFinding[] {
  const bounds = new Bounds(view);
  const keepers = indexVolumes(view);
  return view.services.flatMap((service) => [
    ...checkAvailability(service, bounds),
    ...checkRto(service, bounds),
    ...(service.manifest.volumes.length === 0 ? checkBorrowedRpo(service, bounds) : checkOwnRpo(service, keepers)),
  ]);
}

function checkAvailability(service: FiledService, bounds: Bounds): FileFinding[] {
  const promised = service.manifest.slo?.availability;
  const bound = bounds.of(service).availability;
  if (promised === undefined || bound === undefined || promised <= bound.value) return [];
  return [
    blame(service, ["slo", "availability"], {
      severity: "error",
      code: "promise-availability",
      message: `it promises ${promised} %, and ${bound.by}, which it requires, promises ${bound.value} %`,
      hint: `promise at most ${bound.value}, or raise the other`,
    }),
  ];
}

function checkRto(service: FiledService, bounds: Bounds): FileFinding[] {
  const promised = service.manifest.slo?.rto;
  const bound = bounds.of(service).rto;
  if (promised === undefined || bound === undefined || promised >= bound.value) return [];
  return [
    blame(service, ["slo", "rto"], {
      severity: "error",
      code: "promise-rto",
      message: `it promises to be back in ${formatDuration(promised)}, and may wait ${formatDuration(bound.value)} for ${bound.by}`,
      hint: `promise ${formatDuration(bound.value)} or more, or shorten the other`,
    }),
  ];
}

/** A service without volumes: its backups, where it has some, or what it requires. */
function checkBorrowedRpo(service: FiledService, bounds: Bounds): FileFinding[] {
  const promised = service.manifest.slo?.rpo;
  if (promised === undefined) return [];
  if (service.manifest.backups.length > 0) return checkSchedules(service, promised);
  const bound = bounds.of(service).rpo;
  if (bound !== undefined && promised >= bound.value) return [];
  const message =
    bound === undefined
      ? "it keeps no data of its own, and nothing that it requires promises one"
      : `it keeps no data of its own, and ${bound.by}, which it requires, may lose ${formatDuration(bound.value)}`;
  const hint = "take rpo out, or promise no more than the other";
  return [blame(service, ["slo", "rpo"], { severity: "warning", code: "promise-rpo", message, hint })];
}

/** A service with volumes: its own backups, or those of a service on its node that mounts the same volume. */
function checkOwnRpo(service: FiledService, keepers: Keepers): FileFinding[] {
  const { slo, backups } = service.manifest;
  const promised = slo?.rpo;
  if (promised === undefined) return [];
  if (backups.length > 0) return checkSchedules(service, promised);
  const sharing = listVolumes(service).flatMap((key) => keepers.get(key) ?? []);
  if (sharing.some((keeper) => judgeSchedules(keeper).some(({ neededMs }) => neededMs <= promised))) return [];
  const who = sharing[0];
  const message =
    who === undefined
      ? "it keeps data, and no backup holds this promise"
      : `the backups of ${who.service}, which has the same volume, cannot hold this promise`;
  const hint = who === undefined ? "write [[backups]], or take rpo out" : "back up more often there, or promise less";
  return [blame(service, ["slo", "rpo"], { severity: "error", code: "promise-rpo", message, hint })];
}

/** Volume of a node → the services that mount it and have backups. */
type Keepers = ReadonlyMap<string, readonly FiledService[]>;

function indexVolumes(view: RepositoryView): Keepers {
  const keepers = new Map<string, FiledService[]>();
  for (const service of view.services) {
    if (service.manifest.backups.length === 0) continue;
    for (const key of listVolumes(service)) addTo(keepers, key, service);
  }
  return keepers;
}

function listVolumes({ node, manifest }: FiledService): string[] {
  return manifest.volumes.map((volume) => `${node}:${volume.name ?? volume.source ?? ""}`);
}

interface JudgedSchedule {
  engine: string;
  index: number;
  gapMs: number;
  /** The shortest RPO that this schedule holds. */
  neededMs: number;
}

/** A log that is streamed is shipped in this time, and its shipment read back. */
const SHIPMENT_MS = 30_000;

/** The age of the newest good backup is at worst the longest gap between two runs and the time that one run takes. */
function judgeSchedules(service: FiledService): JudgedSchedule[] {
  return service.manifest.backups.map(({ engine, schedule, wal }, index) => {
    const gapMs = findLongestGapMs(parseSchedule(schedule));
    if (wal !== undefined) return { engine, index, gapMs: wal.ship, neededMs: wal.ship + SHIPMENT_MS };
    return { engine, index, gapMs, neededMs: gapMs + allowForRun(gapMs) };
  });
}

/** Of several backups with one engine the best one counts: they may be two schedules of the same data. */
function checkSchedules(service: FiledService, rpoMs: number): FileFinding[] {
  const judged = judgeSchedules(service);
  const held = new Set(judged.filter(({ neededMs }) => neededMs <= rpoMs).map(({ engine }) => engine));
  return judged
    .filter(({ engine }) => !held.has(engine))
    .map(({ index, gapMs, neededMs }) =>
      blame(service, ["backups", index, isStreamed(service, index) ? "wal" : "schedule"], {
        severity: "error",
        code: "backup-rpo",
        message:
          `it cannot hold the rpo of ${formatDuration(rpoMs)}: up to ${describeDuration(gapMs)} lie between two runs, ` +
          `and ${describeDuration(neededMs - gapMs)} are allowed for a run and its jitter`,
        hint: `run it more often, or promise an rpo of ${formatDuration(ceilMinute(neededMs))}`,
      }),
    );
}

function isStreamed({ manifest }: FiledService, index: number): boolean {
  return manifest.backups[index]?.wal !== undefined;
}

function ceilMinute(durationMs: number): number {
  return Math.ceil(durationMs / 60_000) * 60_000;
}

/** A bound on a promise, and whose it is. */
interface Bound {
  value: number;
  by: string;
}

interface ServiceBounds {
  availability: Bound | undefined;
  rto: Bound | undefined;
  rpo: Bound | undefined;
}

const UNBOUND: ServiceBounds = { availability: undefined, rto: undefined, rpo: undefined };

/** One thing that is waited for: how long at most, and whether the service can do without. */
interface Wait {
  place: string;
  atMostMs: number;
  needed: boolean;
}

/**
 * What the dependencies of each service allow it to promise. A dependency that promises nothing hands on its own bounds.
 * Each service is worked out once, without recursion: chains may be as long as the repository.
 */
class Bounds {
  readonly #view: RepositoryView;
  readonly #known = new Map<string, ServiceBounds>();

  constructor(view: RepositoryView) {
    this.#view = view;
  }

  of(service: FiledService): ServiceBounds {
    const open = [service];
    const entered = new Set<string>();
    while (open.length > 0) {
      const current = open.at(-1) as FiledService;
      const name = `${current.node}/${current.service}`;
      const missing = this.#known.has(name) || entered.has(name) ? [] : this.#findMissing(current, entered);
      entered.add(name);
      if (missing.length > 0) {
        open.push(...missing);
        continue;
      }
      open.pop();
      if (!this.#known.has(name)) this.#known.set(name, this.#bind(current));
    }
    return this.#known.get(`${service.node}/${service.service}`) ?? UNBOUND;
  }

  /** In a cycle, which is an error of its own, the service that was met first counts as unbound. */
  #findMissing(service: FiledService, entered: ReadonlySet<string>): FiledService[] {
    return listWaits(service).flatMap(({ place }) => {
      const target = this.#view.byPlace.get(place);
      return target === undefined || this.#known.has(place) || entered.has(place) ? [] : [target];
    });
  }

  #bind(service: FiledService): ServiceBounds {
    const bounds = { ...UNBOUND };
    for (const { place, atMostMs, needed } of listWaits(service)) {
      const target = this.#view.byPlace.get(place);
      if (target === undefined || target.manifest.schedule !== undefined) continue;
      const { slo } = target.manifest;
      const inherited = this.#known.get(place) ?? UNBOUND;
      const own = (value: number | undefined, bound: Bound | undefined): Bound | undefined =>
        value === undefined ? bound : { value, by: place };
      const rto = own(slo?.rto, inherited.rto);
      if (rto !== undefined) bounds.rto = pick(bounds.rto, { ...rto, value: Math.min(rto.value, atMostMs) }, Math.max);
      if (!needed) continue;
      bounds.availability = pick(bounds.availability, own(slo?.availability, inherited.availability), Math.min);
      bounds.rpo = pick(bounds.rpo, own(slo?.rpo, inherited.rpo), Math.max);
    }
    return bounds;
  }
}

function pick(
  left: Bound | undefined,
  right: Bound | undefined,
  choose: (a: number, b: number) => number,
): Bound | undefined {
  if (left === undefined || right === undefined) return left ?? right;
  return choose(left.value, right.value) === left.value ? left : right;
}

function listWaits({ node, manifest }: FiledService): Wait[] {
  const required = manifest.requires.map(({ target, expiresMs, then }) => {
    const canStart = then === "start" && expiresMs !== undefined;
    return { target, atMostMs: canStart ? expiresMs : Number.POSITIVE_INFINITY, needed: !canStart };
  });
  const wanted = manifest.wants.map((target) => ({ target, atMostMs: manifest.wants_timeout, needed: false }));
  return [...required, ...wanted].flatMap(({ target, ...rest }) =>
    target.kind === "service" ? [{ place: `${target.node ?? node}/${target.service}`, ...rest }] : [],
  );
}
