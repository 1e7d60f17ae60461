// A snapshot made from what is in force, for a source that cannot be read or inputs that cannot be built: error is not empty.
// Only the builder of desired state calls it. Pure.

import type { InForce } from "../../../shared/state/in-force.ts";
import type { Snapshot } from "../../../shared/state/snapshot.ts";

/** Puts together what is in force, with the content of its files as far as the store has it by hash. */
export function buildKnownGood(inForce: InForce, contents: ReadonlyMap<string, Uint8Array>, node: string): Snapshot {
  const services = Object.entries(inForce.services);
  const files = services.flatMap(([, service]) =>
    Object.entries(service.files).flatMap(([path, hash]) => {
      const content = contents.get(hash);
      return content === undefined ? [] : [[path, content] as const];
    }),
  );
  return {
    revision: inForce.revision,
    ...(inForce.objects && { objects: inForce.objects }),
    fleet: inForce.fleet,
    manifests: {
      ...inForce.others,
      [node]: Object.fromEntries(services.map(([name, service]) => [name, service.text])),
    },
    files: Object.fromEntries(files),
    describeFile: (place, service) => `manifests/${place}/${service}.toml`,
    fleetFile: "fleet.toml",
  };
}
