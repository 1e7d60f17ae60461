// Where the kinds of stores have their data, and which volumes of a service that is: a restore into place puts others there. The agent
// asks it for its plan; what fills the volumes is the child's (restore-data.ts). Pure.

import type { StorePlan } from "../../../shared/state/backup.ts";
import type { ContainerShape } from "../../docker/restores.ts";
import type { BackupRecord } from "../core/backup-record.ts";

/** What is known of a service whose data is to be found. */
interface DataPlace {
  shape: ContainerShape;
  plan: StorePlan;
  record: BackupRecord;
}

/** What is known of one kind of store. */
interface PlaceKind {
  /** The directories that the service keeps its data in; a text says why this backup cannot be put there. */
  findData(place: DataPlace): readonly string[] | string;
  /** So many times the backup is taken for what the volumes will hold, and so much for what a server has of its own. */
  room: { factor: number; bytes: number };
  /** A throw-away server fills the volume; else the engine does, and nothing of the service is run. */
  runsServer: boolean;
}

const MIB = 2 ** 20;

/** Directories as stock images have them; room by what was measured of full servers. A `command` is in no such table. */
const KINDS: Readonly<Record<string, PlaceKind>> = {
  // A dump is compressed.
  postgres: {
    findData: ({ shape: { env } }) => [env["PGDATA"] ?? "/var/lib/postgresql/data"],
    room: { factor: 5, bytes: 150 * MIB },
    runsServer: true,
  },
  // A base is compressed too, and the log since is replayed into it.
  "postgres-base": {
    findData: ({ shape: { env } }) => [env["PGDATA"] ?? "/var/lib/postgresql/data"],
    room: { factor: 8, bytes: 400 * MIB },
    runsServer: true,
  },
  mysql: {
    findData: ({ shape: { command } }) => [readOption(command, "--datadir") ?? "/var/lib/mysql"],
    room: { factor: 3, bytes: 300 * MIB },
    runsServer: true,
  },
  redis: { findData: findRedisData, room: { factor: 2, bytes: 16 * MIB }, runsServer: true },
  files: { findData: findTargets, room: { factor: 1.1, bytes: 16 * MIB }, runsServer: false },
};

/** What is known of a kind; undefined for one that is not restored into place. */
export function findPlaceKind(engine: string): PlaceKind | undefined {
  return Object.hasOwn(KINDS, engine) ? KINDS[engine] : undefined;
}

/** Why a store's backups are not restored into place. */
export function describeUnplaced({ engine, source, service }: StorePlan): string {
  if (engine === "objects")
    return `a bucket is restored into an empty place: orca backup restore ${service} --into s3://BUCKET, or --into and an empty directory`;
  return `its backup is what ${source.command?.[0] ?? engine} has written, and what reads that again Orca does not know`;
}

/** The volumes that a service has its data in, or why there are none that could be other ones. */
export function findDataVolumes(place: DataPlace): { name: string; target: string }[] | string {
  const { engine } = place.plan;
  const kind = findPlaceKind(engine);
  if (kind === undefined) return describeUnplaced(place.plan);
  const directories = kind.findData(place);
  if (typeof directories === "string") return directories;
  const found: { name: string; target: string }[] = [];
  for (const directory of directories) {
    const volume = findVolume(place.shape, directory);
    if (typeof volume === "string") return volume;
    found.push(volume);
  }
  return found;
}

function findVolume({ mounts }: ContainerShape, data: string): { name: string; target: string } | string {
  const mount = mounts
    .filter(({ target }) => data === target || data.startsWith(`${target.replace(/\/$/, "")}/`))
    .toSorted((one, other) => other.target.length - one.target.length)[0];
  if (mount === undefined) return `its data at ${data} is in no volume`;
  if (mount.kind !== "volume") return `its data is in ${mount.source} of this host, and a directory has no generations`;
  return { name: mount.source, target: mount.target };
}

/** By its command, or else the only volume that it has: where its file of settings puts the data, its server is asked later. */
function findRedisData({ shape: { command, mounts } }: DataPlace): readonly string[] | string {
  const [first = ""] = command;
  // The official images start their server for what begins with a dash or names a file of settings.
  if (!(first.startsWith("-") || first.endsWith(".conf") || /(?:^|\/)(?:redis|valkey)-server$/.test(first)))
    return `its command begins with ${JSON.stringify(first)}: no server like it can be started with other settings`;
  const own = mounts.filter(({ kind, readOnly }) => kind === "volume" && !readOnly);
  const at = command.indexOf("--dir");
  return [(at === -1 ? undefined : command[at + 1]) ?? (own.length === 1 ? own[0]?.target : undefined) ?? "/data"];
}

/** Those that are in the backup: a volume that came into the manifest later keeps what it has. */
function findTargets({ plan: { source }, record }: DataPlace): readonly string[] | string {
  const targets = source.volumes.map(({ target }) => target);
  const held = (record.files[0]?.content ?? "").split(", ").map(normalize);
  const gone = held.find((target) => !targets.map(normalize).includes(target));
  if (gone !== undefined) return `the backup holds /${gone}, which [[volumes]] of its manifest does not have`;
  return targets.filter((target) => held.includes(normalize(target)));
}

function normalize(target: string): string {
  return target.replaceAll(/^\/+|\/+$/g, "");
}

function readOption(command: readonly string[], option: string): string | undefined {
  return command.findLast((word) => word.startsWith(`${option}=`))?.slice(option.length + 1);
}
