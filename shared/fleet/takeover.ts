// A takeover: the recovery key's word that a spare stands in a node's place. Who belongs to the fleet is read through it. Used by the
// gossip, the desired state and `orca recover`; never decided here whether a signature is good.

import * as z from "zod";

import { name } from "../text/schema-leaf.ts";
import type { FleetMember } from "../state/desired-state.ts";

/** No takeover has a higher term. */
export const MOST_TERM = 1_000_000;

/** The schema of a takeover as it travels and as it is kept. */
export const signedTakeover = z.object({
  realm: name,
  /** The node that was lost. */
  node: name,
  /** Who stands in its place. */
  spare: name,
  /** Of two takeovers of one node the higher term counts. */
  term: z.int().min(1).max(MOST_TERM),
  /** The spare's key among its peers, as fleet.toml writes it. */
  key: z.string().min(1).max(100),
  address: z.string().min(1).max(100),
  signature: z.string().max(200),
});

/** A takeover with the recovery key's signature. */
export type SignedTakeover = z.output<typeof signedTakeover>;
/** What is signed. */
export type Takeover = Omit<SignedTakeover, "signature">;

/** What a fleet comes to once takeovers count. */
export interface LedFleet {
  /** Each replaced node has its spare's address and key; a spare that stands for another is no node of its own. */
  members: FleetMember[];
  /** Key → the node that it spoke for before it was replaced. */
  replaced: Map<string, string>;
}

/** Leads the names of replaced nodes to their spares. Keys are compared as they are written. */
export function leadFleet(fleet: readonly FleetMember[], takeovers: readonly SignedTakeover[]): LedFleet {
  const replaced = new Map<string, string>();
  const members = fleet.flatMap((member) => {
    if (takeovers.some(({ realm, node, spare }) => realm === member.realm && spare === member.node && node !== spare))
      return [];
    const takeover = takeovers.find(({ realm, node }) => realm === member.realm && node === member.node);
    if (takeover === undefined) return [member];
    const { address, key } = takeover;
    if (member.publicKey !== undefined && member.publicKey !== key) replaced.set(member.publicKey, member.node);
    return [{ ...member, address, publicKey: key }];
  });
  return { members, replaced };
}

/**
 * Whether a node may run its services: it has its place, waits for a peer's word, goes on alone, has been replaced, or is a spare that gets
 * the lost node's data and may start these services alone.
 */
export type Tenure =
  | { kind: "held" }
  | { kind: "awaiting"; leftMs: number }
  | { kind: "alone" }
  | { kind: "restoring"; services: readonly string[] }
  | { kind: "replaced"; spare: string; term: number };

/** What tenure is judged by. */
export interface TenureFacts {
  /** The own key. */
  publicKey: string;
  /** The takeover of this node that counts. */
  takeover: Pick<SignedTakeover, "key" | "spare" | "term"> | undefined;
  /** A spare may take this node's place at all. */
  hasStandby: boolean;
  /** A recovery goes on here: what may start before all data is there. */
  restoring?: readonly string[] | undefined;
  /** A peer's present word was heard since the start. */
  hasHeard: boolean;
  /** Time since the start, by the monotonic clock alone: what the wall clock says changes nothing. */
  sinceStartMs: number;
  /** How long a peer is waited for. */
  patienceMs: number;
}

/** Judges the tenure of this node. */
export function judgeTenure(facts: TenureFacts): Tenure {
  const { takeover, hasStandby, hasHeard, sinceStartMs, patienceMs } = facts;
  if (takeover !== undefined && takeover.key !== facts.publicKey)
    return { kind: "replaced", spare: takeover.spare, term: takeover.term };
  if (facts.restoring !== undefined) return { kind: "restoring", services: facts.restoring };
  if (!hasStandby || hasHeard) return { kind: "held" };
  const leftMs = patienceMs - sinceStartMs;
  return leftMs > 0 ? { kind: "awaiting", leftMs } : { kind: "alone" };
}
