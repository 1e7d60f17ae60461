// What the benchmark and its members say to each other.

import type { RosterSource } from "../../agent/gossip/roster.ts";

/** How a member is started: the one argument, as JSON. */
export interface MemberStart {
  node: string;
  listen: string;
  identityFile: string;
  stateDir: string;
  source: RosterSource;
}

/** What it tells. */
export interface Notice {
  /** `said`: this member is told to say something; `known`: a peer's change arrived; `state`: an opinion changed; `all`: every
   * peer is alive and fresh. `began`: its gossip begins, its runtime is loaded; `cost`: what a dial to a closed port takes of a
   * core, in milliseconds. */
  what: "began" | "cost" | "said" | "known" | "state" | "all";
  of: string;
  value: string;
  atMs: number;
}

/** The line on stdin that asks for the cost of a dial; every other line is something new that the member says. */
export const MEASURE_DIAL = "measure a dial";
