// What the host says of a manifest's bind-mount sources: where they really lead, and who else could lead them elsewhere. A
// source in a directory that others can change is refused: what was judged need not be what is mounted. Pure; facts come in.

import type { Manifest } from "../../../shared/manifest/manifest.ts";
import type { BindSource } from "../../../shared/state/step.ts";
import type { RemoteService } from "./constraints.ts";

/** How the host is asked. */
export interface HostPaths {
  /** Looks up the real path behind a bind-mount source; undefined where links lead round in circles. */
  realPath(source: string): Promise<string | undefined>;
  /** A directory above a real path whose entries somebody other than root and the agent can change, and who; left out where no host is asked. */
  findLoose?(real: string): Promise<{ directory: string; who: string } | undefined>;
  /** How many names a file has that has more than one, and whether everybody may read it and root alone write. */
  findOtherNames?(real: string): Promise<{ names: number; isPublic: boolean } | undefined>;
}

/** Bind-mount source → the real path behind it. */
export type RealPaths = Readonly<Record<string, string | undefined>>;

/** Looks up every source, and every directory that the host's policy lets be mounted. */
export async function readRealPaths(
  volumes: Manifest["volumes"],
  host: HostPaths,
  prefixes: readonly string[],
): Promise<RealPaths> {
  const realPaths: Record<string, string | undefined> = {};
  const sources = volumes.flatMap(({ source }) => source ?? []);
  // A directory that the policy allows may be a link itself.
  for (const path of sources.length === 0 ? [] : [...sources, ...prefixes]) realPaths[path] = await host.realPath(path);
  return realPaths;
}

/** The binds as they were judged, for who mounts them and looks at them afterwards. */
export function listBinds({ volumes }: Manifest, realPaths: RealPaths): BindSource[] {
  return volumes.flatMap(({ source, target }) =>
    source === undefined ? [] : [{ source, target, real: realPaths[source] ?? source }],
  );
}

/** Why a source could lead elsewhere at the start than now. */
export interface Unsteady {
  message: string;
  /**
   * True where only users of the host could bring that about, and each source is written without a link: a container that ran with
   * exactly this may go on. What another service can write to is a manifest's doing, and may not.
   */
  mayGoOn: boolean;
}

/**
 * Why a source could lead elsewhere at the start than now; undefined where nobody can bring that about. Of a mount that comes to
 * lie above a source that was there before, the mount is at fault: nobody's file stops somebody else's service.
 */
export async function findUnsteadySource(
  { service, volumes }: { service: string; volumes: Manifest["volumes"] },
  realPaths: RealPaths,
  { host, neighbours, before }: Neighbourhood,
): Promise<Unsteady | undefined> {
  const mounts = await listMounts(neighbours, host);
  const isOld = (mount: Pick<PlacedMount, "service" | "source">): boolean =>
    before(mount.service)?.some(({ source }) => source === mount.source) === true;
  const over = findOverMount(mounts, service, isOld);
  if (over !== undefined) return { message: over, mayGoOn: false };
  const placed = volumes.flatMap(({ source, read_only: isReadOnly }, index) =>
    source === undefined
      ? []
      : [{ source, real: realPaths[source] ?? source, isReadOnly, key: `volumes[${index}].source` }],
  );
  const writable = mounts.filter((mount) => mount.isWritable);
  for (const { source, real, key } of placed) {
    const above = writable.find((mount) => isBelow(real, mount.real));
    if (above === undefined || (isOld({ service, source }) && !isOld(above))) continue;
    const hint = `mount ${above.source} itself, or make that mount read_only`;
    const message = `${key}: ${above.service} can write to ${above.source}, and so change what ${source} is; ${hint}`;
    return { message, mayGoOn: false };
  }
  for (const { source, real, isReadOnly, key } of placed) {
    const linked = await host.findOtherNames?.(real);
    if (linked === undefined || (linked.isPublic && isReadOnly)) continue;
    const what = `${source} is a file with ${linked.names} names, and so the content of another path (find -samefile shows it)`;
    return { message: `${key}: ${what}; mount a copy, or the directory that it lies in`, mayGoOn: false };
  }
  for (const { source, real, key } of placed) {
    const loose = await host.findLoose?.(real);
    if (loose === undefined) continue;
    const hint = "mount a directory whose parents are root's alone";
    const message = `${key}: ${loose.who} can change ${loose.directory}, and so what ${source} is; ${hint}`;
    return { message, mayGoOn: placed.every((one) => one.real === one.source) };
  }
  return undefined;
}

/** A new writable mount of this service above what another one has mounted since before. */
function findOverMount(
  mounts: readonly PlacedMount[],
  service: string,
  isOld: (mount: PlacedMount) => boolean,
): string | undefined {
  for (const mount of mounts) {
    if (mount.service !== service || !mount.isWritable || isOld(mount)) continue;
    const below = mounts.find((other) => other.service !== service && isOld(other) && isBelow(other.real, mount.real));
    if (below === undefined) continue;
    const key = `volumes[${mount.index}].source`;
    const what = `it could change what ${below.service} mounts, ${below.source}, which was there before`;
    return `${key}: ${what}; mount a directory beside it, or make this mount read_only`;
  }
  return undefined;
}

function isBelow(real: string, directory: string): boolean {
  return real.startsWith(`${directory.replace(/\/$/, "")}/`);
}

/** Who else mounts what on the node. */
interface Neighbourhood {
  host: HostPaths;
  /** Every service of the node, the judged one too. */
  neighbours: readonly RemoteService[];
  /** What a service mounted by the inputs that are in force. */
  before: (service: string) => Manifest["volumes"] | undefined;
}

/** One bind mount of the node, and where it really lies. */
interface PlacedMount {
  service: string;
  index: number;
  source: string;
  real: string;
  isWritable: boolean;
}

async function listMounts(neighbours: readonly RemoteService[], host: HostPaths): Promise<PlacedMount[]> {
  const mounts: PlacedMount[] = [];
  for (const { service, manifest } of neighbours) {
    for (const [index, { source, read_only: isReadOnly }] of manifest.volumes.entries()) {
      if (source === undefined) continue;
      const real = (await host.realPath(source)) ?? source;
      mounts.push({ service, index, source, real, isWritable: !isReadOnly });
    }
  }
  return mounts;
}
