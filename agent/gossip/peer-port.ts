// The loop's way to other nodes: what is known of their services, and what is said of the own ones. Behind it stands the gossip,
// or a fixed answer where there is none. It gates starts and nothing else.

import type { PeerHealth, Plan, World } from "../plan/world.ts";
import type { ColdStartStatement } from "../../shared/state/cold-start.ts";
import type { DesiredState } from "../../shared/state/desired-state.ts";

/** What another node of the realm said of how it came up. */
export interface PeerCold {
  node: string;
  /** Another text with each of its records. */
  version: string;
  word: ColdStartStatement | undefined;
  /** Why it is not reached now; undefined where it is. */
  why: string | undefined;
}

/** What the loop asks of other nodes, and tells them. Never throws, never waits. */
export interface PeerPort {
  /** What is known now of the services of other nodes that this desired state waits for. */
  read(desired: DesiredState): PeerHealth;
  /** Tells what this node has seen and planned, and of its cold start where that is news. */
  tell(world: World, planned: Plan, cold: ColdStartStatement | undefined): void;
  /** Every other node of the realm. */
  coldStartStatements(): readonly PeerCold[];
  /**
   * Begins: `onChange` when an answer of `read` has changed, `onHint` when there is a new revision to look for, `onWords` when
   * nodes have said something new of a cold start, or are reached or lost.
   */
  watch(onChange: () => void, onHint: () => void, onWords: (changed: readonly PeerCold[]) => void): void;
  close(): Promise<void>;
}

/** An answer that never changes. */
export function fixPeers(health: PeerHealth): PeerPort {
  return {
    read: () => health,
    tell: () => undefined,
    coldStartStatements: () => [],
    watch: () => undefined,
    close: () => Promise.resolve(),
  };
}
