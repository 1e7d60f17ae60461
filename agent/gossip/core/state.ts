// What one node of the gossip knows, and what it wants done: the data that the parts of the protocol work on, and the few
// ways in which they change it. Pure: time comes in as a number, what is to be done goes out as effects.

import type { LostNode } from "../../../shared/slo/availability.ts";
import type { AgentWord } from "../../../shared/fleet/agent-version.ts";
import type { ColdStartStatement } from "../../../shared/state/cold-start.ts";
import type { SignedTakeover } from "../../../shared/fleet/takeover.ts";
import type { GossipEvent, Reachability } from "../../../shared/fleet/gossip-event.ts";
import type { ProtocolCounts, RefusalKind } from "../../../shared/fleet/gossip-stats.ts";
import type { Message } from "./message.ts";
import type { RecordBody, ServiceStatement, SignedRecord, Signer, Version } from "./record.ts";

/** What Git says of a node of this realm. */
export interface Member {
  /** As fleet.toml writes it. */
  publicKey: string;
  address: string;
}

/** One authenticated stream to a peer. Times are on the awake clock, except `upMs`. */
export interface Link {
  id: number;
  node: string;
  peer: Peer;
  /** Who opened it. */
  dialler: string;
  upMs: number;
  heardMs: number;
  sentMs: number;
  /** Frames it may still send now: a bucket that refills. */
  allowance: number;
  /** Its next heartbeat carries the sum over everything held. */
  compares: boolean;
}

/** What is asked of others about a peer that is not heard. */
interface Suspicion {
  /** Peers that do not reach it either. */
  noes: Set<string>;
  askedMs: number;
  /** Its port refuses connections: no process listens. */
  refused: boolean;
}

/** One other node. */
export interface Peer {
  node: string;
  link: Link | undefined;
  /** Replaced or surplus links, read for a moment more. */
  spares: Link[];
  state: Reachability;
  /** When the state began. */
  sinceMs: number;
  why: string;
  /** Last sign of life on any link, on the awake clock. */
  heardMs: number;
  /** What it said itself, on a link to it, since that link is up. */
  said: Version | undefined;
  /** When it last proved through another that it lives, on the awake clock, and its version then. */
  proven: { atMs: number; version: Version; via: string } | undefined;
  /** Nonces given out, and when. */
  nonces: Map<string, number>;
  suspicion: Suspicion | undefined;
  dial: { dueMs: number; attempt: number; busy: boolean };
  /** It was reported as unreachable. */
  reported: boolean;
  /** Until when hints of it are passed over. */
  hintMs: number;
}

/** A record that is held, and what it says. */
export interface Held {
  record: SignedRecord;
  body: RecordBody;
}

/** The same with what it is compared by. One object for each record, however many nodes of one process hold it. */
export interface KeptRecord extends Held {
  /** As a digest names it. */
  have: [node: string, boot: number, seq: number];
  /** Its part in the sum over everything held. */
  mark: readonly [high: number, low: number];
}

/** What the shell is asked to do. */
export type Effect =
  | { kind: "send"; link: number; message: Message }
  | { kind: "dial"; node: string; address: string }
  | { kind: "close"; link: number; reason: string }
  | { kind: "store-boot"; boot: number }
  /** Call `tick` after this time, besides its usual turn. */
  | { kind: "wake"; afterMs: number }
  | { kind: "hint"; revision: string; delayMs: number }
  | { kind: "event"; event: GossipEvent }
  /** A takeover counts now: it is to be kept, and the roster to be read through it. */
  | { kind: "takeover"; takeover: SignedTakeover }
  /** Something that a view shows of a node has changed; undefined when the roster has. */
  | { kind: "changed"; node: string | undefined };

/** What the protocol is given. */
export interface GossipOptions {
  node: string;
  realm: string;
  publicKey: string;
  /** The counter of this start: higher than at any start before, as far as the disk knows. */
  boot: number;
  signer: Signer;
  /** Between 0 and 1. */
  rng: () => number;
  /** Unguessable, 8 to 32 characters of base64url. */
  newNonce: () => string;
  /** What this node says of its agent; asked whenever it publishes. */
  agentWord?: (() => AgentWord | undefined) | undefined;
  /** Whose signature makes a takeover, as fleet.toml writes keys; undefined where this host knows none. */
  recoveryKey?: (() => string | undefined) | undefined;
  /** The takeovers that the disk remembers. */
  takeovers?: readonly SignedTakeover[] | undefined;
  /** When other nodes were dead for this one. */
  lostWord?: (() => readonly LostNode[]) | undefined;
  /** Full mesh up to so many nodes; beyond, links to those of interest and a few more. */
  meshLimit?: number;
}

/** Everything one node knows. */
export interface State {
  readonly options: GossipOptions;
  nowMs: number;
  /** Time in which this process was awake: what others did while it stood still says nothing of them. */
  awakeMs: number;
  /** 1 while the own loop runs in time, more when it lags: every patience is stretched by it (Lifeguard). */
  strain: number;
  boot: number;
  seq: number;
  own: {
    revision: string | undefined;
    services: Readonly<Record<string, ServiceStatement>>;
    left: boolean;
    /** The same object as long as it need not be said anew. */
    cold?: ColdStartStatement | undefined;
    agent?: AgentWord | undefined;
    lost?: readonly LostNode[] | undefined;
  };
  /** When the own record was last sent, and whether there is something new to say. */
  publishing: { tokens: number; filledMs: number; dirty: boolean };
  /** When the own boot was last raised against a record of another life. */
  refutedMs: number;
  refutations: number;
  roster: ReadonlyMap<string, Member>;
  interests: ReadonlySet<string>;
  linked: ReadonlySet<string>;
  /** The same as peers, in the same order. */
  linkedPeers: readonly Peer[];
  /** Those of them with whom views are compared. */
  ring: ReadonlySet<string>;
  held: Map<string, KeptRecord>;
  /** When the old key of a replaced node was last told so, by node. */
  readonly turnedAway: Map<string, number>;
  /** The takeover of each replaced node that counts. */
  readonly takeovers: Map<string, SignedTakeover>;
  /** XOR over what is held. */
  sum: [high: number, low: number];
  peers: Map<string, Peer>;
  links: Map<number, Link>;
  /** Asks that are being answered for others. */
  relayed: { asker: string; target: string; nonce: string; atMs: number }[];
  /** Peers that have shown that they hold a record of this start of the own agent. */
  heardBy: Set<string>;
  repairMs: number;
  repairQueue: string[];
  hints: string[];
  told: Map<string, number>;
  refused: Record<RefusalKind, number>;
  counts: ProtocolCounts;
  effects: Effect[];
}

/** A peer that nothing is known of. */
export function beginPeer(node: string, nowMs: number): Peer {
  return {
    node,
    link: undefined,
    spares: [],
    state: "unknown",
    sinceMs: nowMs,
    why: "not reached since this agent's start",
    heardMs: -Infinity,
    said: undefined,
    proven: undefined,
    nonces: new Map(),
    suspicion: undefined,
    dial: { dueMs: nowMs, attempt: 0, busy: false },
    reported: false,
    hintMs: -Infinity,
  };
}

/** Sends on a link. */
export function send(state: State, link: Link, message: Message): void {
  link.sentMs = state.awakeMs;
  state.effects.push({ kind: "send", link: link.id, message });
}

/** Sends to a node; false when there is no link to it. */
export function sendTo(state: State, node: string, message: Message): boolean {
  const link = state.peers.get(node)?.link;
  if (link === undefined) return false;
  send(state, link, message);
  return true;
}

/** How long nothing was heard of a peer, on any way, while this process was awake. */
export function silenceMs(state: State, peer: Peer): number {
  return state.awakeMs - Math.max(peer.heardMs, peer.proven?.atMs ?? -Infinity);
}

/** The same on its own link alone. */
export function directSilenceMs(state: State, peer: Peer): number {
  return peer.link === undefined ? Infinity : state.awakeMs - peer.heardMs;
}
