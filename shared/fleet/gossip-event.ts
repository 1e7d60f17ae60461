// What happens between nodes, as people are told it. Made by the gossip, logged and shown by report/.

/** What an observer thinks of a node: its own opinion, kept apart from the node's word on its services. */
export type Reachability = "unknown" | "alive" | "suspect" | "dead" | "left";

/** Something that people may want to know. */
export type GossipEvent =
  | { kind: "peer"; node: string; state: Reachability; why: string }
  /** Said once in the realm, by the reachable node with the lowest name. */
  | { kind: "unreachable"; node: string; forMs: number; why: string }
  | { kind: "refused"; node: string; reason: string }
  /** The recovery key has put a spare in a node's place. */
  | { kind: "takeover"; node: string; spare: string; term: number }
  /** Another process signs with this node's key. */
  | { kind: "cloned"; boot: number };
