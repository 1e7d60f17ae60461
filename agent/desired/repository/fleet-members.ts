// Who belongs to the fleet, and with whom this node has to do: for the gossip. Pure.

import type { FleetMember } from "../../../shared/state/desired-state.ts";
import type { Fleet } from "../../../shared/fleet/fleet.ts";
import { compareText } from "../../../shared/text/problem.ts";
import type { RemoteService } from "../build/constraints.ts";

/** Every node of fleet.toml, in the order of their names. */
export function listMembers(fleet: Fleet | undefined): FleetMember[] {
  return Object.entries(fleet?.nodes ?? {})
    .map(([node, { env, address, public_key: publicKey }]) => ({ node, realm: env, address, publicKey }))
    .toSorted((left, right) => compareText(left.node, right.node));
}

/** Nodes that a service of this node waits for, and nodes on which a service waits for one of this node's. */
export function selectInterests(own: string, services: readonly RemoteService[]): string[] {
  const interests = new Set<string>();
  for (const { node, manifest } of services) {
    for (const target of [...manifest.requires.map((entry) => entry.target), ...manifest.wants]) {
      if (target.kind !== "service" || target.node === undefined || target.node === node) continue;
      if (node === own) interests.add(target.node);
      if (target.node === own) interests.add(node);
    }
  }
  return [...interests].toSorted(compareText);
}
