// What the host says of a manifest's bind-mount sources: where they really lead, and who else could lead them elsewhere. A
// source in a directory that others can change is refused: what was judged need not be what is mounted. Pure; facts come in.

import type { Manifest } from "../../shared/manifest.ts";
import type { BindSource } from "../../shared/step.ts";
import type { RemoteService } from "./constraints.ts";

/** How the host is asked. */
export interface HostPaths {
  /** Looks up the real path behind a bind-mount source; undefined where links lead round in circles. */
  realPath(source: string): Promise<string | undefined>;
  /** A directory above a real path whose entries somebody other than root and the agent can change, and who; left out where no host is asked. */
  findLoose?(real: string): Promise<{ directory: string; who: string } | undefined>;
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

/**
 * Why a source could lead elsewhere at the start than now; undefined where nobody can bring that about.
 * @param neighbours every service of the node, itself too
 */
export async function findUnsteadySource(
  { volumes }: Manifest,
  realPaths: RealPaths,
  { host, neighbours }: { host: HostPaths; neighbours: readonly RemoteService[] },
): Promise<string | undefined> {
  const writable = await listWritable(neighbours, host);
  for (const [index, { source }] of volumes.entries()) {
    if (source === undefined) continue;
    const real = realPaths[source] ?? source;
    const key = `volumes[${index}].source`;
    const loose = await host.findLoose?.(real);
    if (loose !== undefined) {
      const hint = "mount a directory whose parents are root's alone";
      return `${key}: ${loose.who} can change ${loose.directory}, and so what ${source} is; ${hint}`;
    }
    const above = writable.find((mount) => real.startsWith(`${mount.real.replace(/\/$/, "")}/`));
    if (above === undefined) continue;
    const hint = `mount ${above.source} itself, or make that mount read_only`;
    return `${key}: ${above.service} can write to ${above.source}, and so change what ${source} is; ${hint}`;
  }
  return undefined;
}

async function listWritable(
  neighbours: readonly RemoteService[],
  host: HostPaths,
): Promise<{ service: string; source: string; real: string }[]> {
  const mounts: { service: string; source: string; real: string }[] = [];
  for (const { service, manifest } of neighbours) {
    for (const { source, read_only: isReadOnly } of manifest.volumes) {
      if (source === undefined || isReadOnly) continue;
      mounts.push({ service, source, real: (await host.realPath(source)) ?? source });
    }
  }
  return mounts;
}
