// What the engine says of the volumes that services are about to start with. Read by the observer; changes nothing.

import type { DesiredService } from "../../shared/state/desired-state.ts";
import { LABEL } from "../../shared/state/identity.ts";
import type { ObservedVolume } from "../../shared/state/observed-state.ts";
import type { DockerReader } from "../docker/reader.ts";
import type { Reachable } from "../plan/world.ts";

/** Reads the volumes of services that are about to start; one that does not exist yet is absent. */
export async function readVolumes(
  { reader, node }: { reader: Pick<DockerReader, "inspectVolume" | "listGenerations">; node: string },
  waiting: readonly DesiredService[],
): Promise<Pick<Reachable, "volumes" | "generations">> {
  const volumes: Record<string, ObservedVolume> = {};
  const names = new Set<string>();
  const bases = new Set<string>();
  for (const { name, of: base = name, ephemeral } of waiting.flatMap((service) => service.spec.volumes ?? [])) {
    if (name !== undefined) names.add(name);
    if (base !== undefined && ephemeral !== true) bases.add(base);
  }
  if (names.size === 0) return { volumes };
  const later = (await reader.listGenerations(node)).filter(({ of: base }) => bases.has(base));
  for (const { of: base } of later) names.add(base);
  await Promise.all(
    [...names].map(async (name) => {
      const volume = await reader.inspectVolume(name);
      if (volume !== undefined) volumes[name] = { node: volume.labels[LABEL.node], leadsTo: volume.leadsTo };
    }),
  );
  if (later.length === 0) return { volumes };
  const generations = Map.groupBy(later, ({ of: base }) => base);
  const listed = [...generations].map(([base, list]): [string, string[]] => {
    const there = list.map(({ name }) => name);
    return [base, volumes[base] === undefined ? there : [base, ...there]];
  });
  return { volumes, generations: Object.fromEntries(listed) };
}
