// Who belongs to the fleet, and with whom this node has to do: for the gossip. Pure.

import type { SignedTakeover } from "../../../shared/fleet/takeover.ts";
import type { FleetMember } from "../../../shared/state/desired-state.ts";
import type { Fleet } from "../../../shared/fleet/fleet.ts";
import { compareText } from "../../../shared/text/problem.ts";
import type { RemoteService } from "../build/constraints.ts";

/** Every node of fleet.toml, in the order of their names. */
export function listMembers(fleet: Fleet | undefined): FleetMember[] {
  return Object.entries(fleet?.nodes ?? {})
    .map(([node, { env, address, public_key: publicKey, standby_for: standbyFor }]) => ({
      node,
      realm: env,
      address,
      publicKey,
      ...(standbyFor === undefined ? {} : { standbyFor }),
    }))
    .toSorted((left, right) => compareText(left.node, right.node));
}

/**
 * fleet.toml as it counts once takeovers do: a replaced node lives at its spare's address, and its data on whatever file system is
 * mounted there. Keys stay as Git has them: by them the gossip knows whom it refuses.
 */
export function leadNodes(fleet: Fleet | undefined, takeovers: readonly SignedTakeover[] = []): Fleet | undefined {
  if (fleet === undefined || takeovers.length === 0) return fleet;
  const nodes = Object.entries(fleet.nodes).map(([name, node]) => {
    const takeover = takeovers.find((entry) => entry.node === name && entry.realm === node.env);
    if (takeover === undefined) return [name, node] as const;
    const data = node.data === undefined ? {} : { data: { mount: node.data.mount } };
    return [name, { ...node, ...data, address: takeover.address }] as const;
  });
  return { ...fleet, nodes: Object.fromEntries(nodes) };
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
