// What belongs to the node and to no service: its network and its hosts file. Pure.

import { isHeldBack, type Setback } from "../../shared/state/backoff.ts";
import { canonicalJson } from "../../shared/state/identity.ts";
import { type Note, noteText } from "../../shared/state/note.ts";
import { NODE_LANE, type Operation, type Step } from "../../shared/state/step.ts";
import { buildCause } from "./cause.ts";
import { noteRetry, rememberLane } from "./memory/remember.ts";
import type { Reachable, World } from "./world.ts";

/** What the node itself needs. */
export interface NodePlan {
  operations: Operation[];
  notes: Note[];
  failure: Setback | undefined;
}

/** Plans the node's own operations. */
export function planNode(world: World, engine: Reachable): NodePlan {
  const { network, hostEntries, revision } = world.desired;
  const notes = describeNetworkFaults(world, engine).map(noteText);
  const steps: Step[] = [];
  if (world.desired.services.size > 0 && engine.networks[network.name] === undefined) {
    const subnet = network.subnet === undefined ? {} : { subnet: network.subnet };
    steps.push({ kind: "ensure-network", network: network.name, internal: network.internal, ...subnet });
  }
  if (world.desired.services.size > 0 && canonicalJson(world.observed.hosts ?? null) !== canonicalJson(hostEntries)) {
    steps.push({ kind: "write-hosts", hosts: hostEntries });
  }
  const failure = rememberLane(world.memory.nodeFailure, world, NODE_LANE);
  const waits = isHeldBack(failure, world.nowMs);
  if (waits) notes.push(noteRetry("", failure, world.nowMs));
  const busy = world.observed.operations.some((operation) => operation.lane === NODE_LANE);
  if (steps.length === 0 || busy || waits) return { operations: [], notes, failure };
  const begins = world.observed.hosts === undefined;
  const cause = begins
    ? buildCause("first-start", { code: "node-begins" }, { revision })
    : buildCause("drift", { code: "node-drift" }, { revision });
  return { operations: [{ lane: NODE_LANE, cause, fingerprint: "node", steps }], notes, failure };
}

function describeNetworkFaults(world: World, engine: Reachable): string[] {
  const { network, node } = world.desired;
  const actual = engine.networks[network.name];
  if (actual === undefined || actual.node !== node) return [];
  const faults: string[] = [];
  if (network.subnet !== undefined && !actual.subnets.includes(network.subnet)) {
    faults.push(`has the subnet ${actual.subnets.join(", ")} and should have ${network.subnet}`);
  }
  if (actual.internal !== network.internal)
    faults.push(network.internal ? "is not internal and should be" : "is internal and should not be");
  if (faults.length === 0) return [];
  return [
    `the network ${network.name} ${faults.join(" and ")}: an engine cannot change that while containers use it; ` +
      `stop them, remove the network, and it is made anew`,
  ];
}
