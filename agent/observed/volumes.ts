// What the engine says of the volumes that services are about to start with. Read by the observer; changes nothing.

import type { DesiredService } from "../../shared/state/desired-state.ts";
import { LABEL } from "../../shared/state/identity.ts";
import type { ObservedVolume } from "../../shared/state/observed-state.ts";
import type { DockerReader } from "../docker/reader.ts";

/** Reads the volumes of services that are about to start; one that does not exist yet is absent. */
export async function readVolumes(
  reader: Pick<DockerReader, "inspectVolume">,
  waiting: readonly DesiredService[],
): Promise<Record<string, ObservedVolume>> {
  const volumes: Record<string, ObservedVolume> = {};
  const names = waiting.flatMap((service) =>
    (service.spec.volumes ?? []).flatMap((volume) => (volume.name === undefined ? [] : [volume.name])),
  );
  await Promise.all(
    [...new Set(names)].map(async (name) => {
      const volume = await reader.inspectVolume(name);
      if (volume !== undefined) volumes[name] = { node: volume.labels[LABEL.node], leadsTo: volume.leadsTo };
    }),
  );
  return volumes;
}
