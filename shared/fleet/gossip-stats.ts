// What the gossip counts, for the metrics: closed sets of names alone, so that nobody outside chooses a label. Types and names.

/** Why something was refused. */
export const REFUSAL_KINDS = [
  /** In the handshake: whose key it is. */
  "unknown-key",
  "other-realm",
  "own-key",
  /** A spare stands in the place of the node that had it. */
  "replaced-key",
  "wrong-node",
  "no-key",
  "resumed-session",
  "handshake-failed",
  /** This node takes no part, or knows nothing of the fleet yet. */
  "not-taking-part",
  "too-many-connections",
  "too-many-handshakes",
  /** On a link that stood. */
  "slow-reader",
  "bad-frame",
  "too-many-frames",
  /** What was said in somebody else's name. */
  "forged-record",
  /** What could not be believed for its age or place: a value that a server or a stranger has put anew. */
  "replayed-record",
] as const;

/** One of `REFUSAL_KINDS`. */
export type RefusalKind = (typeof REFUSAL_KINDS)[number];

/** What the protocol counts, since the agent's start. */
export interface ProtocolCounts {
  recordsAccepted: number;
  recordsForged: number;
  /** Of nodes that the roster does not hold. */
  recordsOfStrangers: number;
  /** Not newer than what was held: they came on two ways, or again. */
  recordsKnown: number;
  /** Times that two views were found to differ. */
  digestsSent: number;
  /** Records sent because the other lacked them. */
  recordsRepaired: number;
  hintsSent: number;
  hintsReceived: number;
}

/** Nothing counted yet. */
export function beginCounts(): ProtocolCounts {
  return {
    recordsAccepted: 0,
    recordsForged: 0,
    recordsOfStrangers: 0,
    recordsKnown: 0,
    digestsSent: 0,
    recordsRepaired: 0,
    hintsSent: 0,
    hintsReceived: 0,
  };
}

/** Everything the metrics say of the gossip. */
export interface GossipStats extends ProtocolCounts {
  links: number;
  framesSent: number;
  framesReceived: number;
  bytesSent: number;
  bytesReceived: number;
  refused: Readonly<Record<RefusalKind, number>>;
  /** 1 while the own loop runs in time, up to 8 while it lags: all patience with others is stretched by it. */
  strain: number;
}

/** A counter for each reason. */
export function beginRefusals(): Record<RefusalKind, number> {
  return Object.fromEntries(REFUSAL_KINDS.map((kind) => [kind, 0])) as Record<RefusalKind, number>;
}
