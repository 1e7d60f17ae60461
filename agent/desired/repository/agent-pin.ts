// Which version of the agent a node is to run, and which node of its realm goes first with it. Pure.

import type { Fleet } from "../../../shared/fleet/fleet.ts";
import type { AgentPin } from "../../../shared/fleet/agent-version.ts";
import { compareText } from "../../../shared/text/problem.ts";

/** A node's own pin stands before the fleet's; undefined where neither is there. */
export function selectAgentPin(fleet: Fleet | undefined, node: string): AgentPin | undefined {
  const entry = fleet?.nodes[node];
  const own = entry?.agent ?? fleet?.agent;
  if (fleet === undefined || entry === undefined || own === undefined) return undefined;
  const { version, sha256 } = own;
  const same = Object.entries(fleet.nodes)
    .filter(([, other]) => other.env === entry.env && (other.agent ?? fleet.agent)?.version === version)
    .map(([name]) => name)
    .toSorted(compareText);
  // Word of a version goes from node to node of one realm: each realm has a canary of its own.
  const canary = fleet.agent?.canaries.find((name) => same.includes(name)) ?? same[0] ?? node;
  return { version, sha256, canary };
}
