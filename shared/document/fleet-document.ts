// What `orca status --fleet --json` and `curl -H 'Accept: application/json' localhost:7070/fleet` give: the fleet as one node
// sees it. Every key is always there, null where nothing is known. Made by report/, read by the CLI.

import type { Reachability } from "../fleet/gossip-event.ts";

/** Changes when a key changes its meaning or goes; a new key changes nothing. */
export const FLEET_SCHEMA = "orca.fleet/1";

/** One service as its owner describes it. */
export interface FleetServiceDocument {
  name: string;
  /** Its owner's word; `unknown` where that is not its present word. */
  state: string;
  /** Healthy now, or a job that has completed: what starts on other nodes may rely on. */
  ready: boolean;
  why: string | null;
  since: string | null;
  revision: string | null;
  waitingFor: string[];
  /** What its last start took, from the start of its container until it was healthy. */
  startSeconds: number | null;
}

/** One node. */
export interface FleetNodeDocument {
  node: string;
  /** What the node that answers thinks of it; `self` for that node. */
  reachability: Reachability | "self";
  why: string;
  /** For how long it has been so. */
  forSeconds: number | null;
  heardSecondsAgo: number | null;
  /** Why its services are unknown; null where its word is present. */
  unknown: string | null;
  revision: string | null;
  /** What its owner said last, also where it is unknown whether that still holds. */
  services: FleetServiceDocument[];
}

/** The realm as one node sees it. */
export interface FleetDocument {
  schema: typeof FLEET_SCHEMA;
  /** Who answers. */
  node: string;
  at: string;
  realm: string | null;
  /** Every node's word is present, and every service is as it should be. */
  healthy: boolean;
  nodes: FleetNodeDocument[];
  /** Starts that wait for each other in a ring: none of them will come. */
  rings: string[][];
  /** What was refused since the agent's start, by reason. */
  refused: Record<string, number>;
  notes: string[];
}
