// Every number of the gossip, each with its reason. Times are in milliseconds. Pure: the protocols in core/ read them as the shells do.
// What must hold between them is held by test/unit/gossip/gossip-settings.test.ts.

// ── Both ways: a mesh of links, and NATS ─────────────────────────────────────────────────────────────────────────────────────

/** How often a protocol is told the time: a quarter of a heartbeat, so that what is due is late by a quarter at most. */
export const TICK_MS = 250;

/** A node that is away for so long is reported: a reboot takes less. */
export const REPORT_AFTER_MS = 60_000;

/** The same refusal is told once in so long, with how many there were: who sends nonsense all day fills no log. */
export const REFUSAL_EVERY_MS = 60_000;
/** Refusals that are remembered, so that a sender of ever new ones takes no memory. */
export const MOST_REFUSALS = 1_000;
/** The same for what the mesh's listener refuses, whose reasons are few. */
export const MOST_REASONS = 200;

/** Own records, at once and each second in the long run: what services do in a storm of crashes is told in a few records, not in all. */
export const OWN_RECORDS = { atOnce: 5, perSecond: 5 } as const;

/** Against another life of this node the boot is raised at most this often: two clones must not outbid each other for ever. */
export const REFUTE_EVERY_MS = 5_000;
/** A restored disk needs one; more means that somebody else signs with this key. */
export const REFUTES_OF_A_RESTORED_DISK = 2;

/** Hints of one peer are heard this often: a push to Git comes in a burst, and one look at Git answers it. */
export const HINT_EVERY_MS = 500;
/** A hint is acted on within this time, spread over a large fleet so that Git is not asked by all at once. */
export const HINT_SPREAD_MS = 150;
export const HINT_SPREAD_PER_NODE_MS = 3;
/** Revisions that are remembered as told. */
export const HINTS_KEPT = 32;

/** At the end the last word may take so long to go out; systemd waits 90 s, and people less. */
export const LAST_WORD_MS = 500;

// ── What a node says ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The largest body that is sent or taken, in characters: some 500 services with their reasons. */
export const LARGEST_BODY = 48 * 1024;
/** Services that a body may name. */
export const MOST_SERVICES = 512;
/** Losses of other nodes that a node tells of: those of the last week, and more of them is no outage but a cut. */
export const MOST_LOST = 64;
/** A reason and a list of waited-for, as they are said; what is taken may be longer, for versions to come. */
export const LONGEST_WHY_SAID = 200;
export const LONGEST_WHY_TAKEN = 300;
export const MOST_WAITING_SAID = 16;
export const MOST_WAITING_TAKEN = 64;
/** Takeovers that a body may name: each is about one lost node, and some 350 characters. */
export const MOST_TAKEOVERS = 16;
/** The old key of a replaced node is told so this often; between, its streams end without a word, and it dials ever more seldom. */
export const TURN_AWAY_EVERY_MS = 1_000;
/** After a boot, a node that has a spare waits so long for a peer that would know of a takeover. */
export const TENURE_PATIENCE_MS = 30_000;

/** The largest frame of the mesh, in bytes: the digest of 1,000 nodes, or a record. */
export const LARGEST_FRAME_BYTES = 64 * 1024;
/** The largest message through NATS but for records, which the bucket holds. */
export const LARGEST_RELAYED_BYTES = 2_048;

// ── The mesh: links ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** In a realm of so many nodes everyone has a link to everyone; in a larger one to whom it waits for, and a ring. */
export const MESH_LIMIT = 64;

/** A heartbeat is due when nothing was sent for so long. */
export const BEAT_MS = 1_000;
/** A heartbeat is answered at once when nothing was sent for so long: one packet carries it and the acknowledgement. */
export const ANSWER_AFTER_MS = 450;

/** The first dial after a failed one comes soon, since an agent that restarts is back within a second; then ever more seldom. */
export const DIAL_FIRST_MS = 50;
export const DIAL_MOST_MS = 1_500;
/** So many failed dials wake the protocol by themselves: whether a process is dead must not wait for a tick. */
export const PROMPT_DIALS = 3;
/** Everything from the first packet of a dial to the first frame. */
export const DIAL_MS = 2_500;

/** A link on which nothing was heard for so long is dialled beside: soon enough to be heard again before a suspicion ends. */
export const STALLED_MS = 1_700;
/** A link on which nothing was heard for so long is given up: what TCP still holds back on it would come too late. */
export const GIVE_UP_MS = 8_000;
/** A link on which something was heard lately is not given up for a crossing one. */
export const LIVELY_MS = 1_500;
/** A surplus link is read for so long: what was on its way arrives. */
export const SPARE_MS = 2_000;

/** Frames a peer may send at once, and each second in the long run: a storm of a whole realm's records fits. */
export const FRAMES_AT_ONCE = 2_000;
export const FRAMES_PER_SECOND = 200;

// ── The mesh: who is alive ───────────────────────────────────────────────────────────────────────────────────────────────────

/** A heartbeat is due each second; three missed ones raise a suspicion. */
export const SUSPECT_MS = 2_800;
/** How long a silence must last, by the number of peers that confirm it (SWIM's suspicion, shortened as Lifeguard does). */
export const DEATH_AFTER_MS = [6_500, 3_900, 3_400, 3_000] as const;
/** While a peer is not heard directly, others are asked this often: often enough for an answer before a suspicion ends. */
export const ASK_EVERY_MS = 700;
/** As in SWIM: three that do not reach it leave little doubt. */
export const RELAYS_ASKED = 3;
/** A relay that has not heard of the target for so long has no better opinion than the asker. */
export const RELAY_SILENCE_MS = 2_200;
/** Open questions that are remembered of one peer. */
export const MOST_NONCES = 16;
/** How old a proof through others may be and still count as life. */
export const PROVEN_MS = 3_000;
/** Relayed knowledge older than this is stale, whatever it says (behaviour, section 4). */
export const RELAYED_FRESH_MS = 10_000;
/** Questions that this node passes on for others: so many at once, and for so long. */
export const MOST_RELAYED = 256;
export const RELAYED_MS = 3_000;

/** More time than this between two ticks was spent asleep: the process was stopped, or its loop was blocked. */
export const LONGEST_STEP_MS = 600;
/** While the own loop lags, others are given up to so many times as long, as Lifeguard does: it may be this node that is ill. */
export const MOST_STRAIN = 8;

// ── The mesh: what was missed ────────────────────────────────────────────────────────────────────────────────────────────────

/** How often one peer is shown the sum over everything held. */
export const REPAIR_EVERY_MS = 1_000;
/**
 * Where not everyone has a link to everyone, repair is what brings a record to those who do not wait for its owner. They get it
 * later and less often in a larger fleet, so that what a node sends stays about the same.
 */
export const NODES_PER_SECOND = 128;
/** As many records as one digest may cause, so that no reply is without bound. */
export const RECORDS_PER_DIGEST = 64;

// ── The mesh: its listener ───────────────────────────────────────────────────────────────────────────────────────────────────

/** An address that could not be bound is tried again after this: it comes up with the network. */
export const BIND_RETRY_MS = 5_000;
/** Streams that others may open, known or not: 1,000 nodes that all dial, and some strangers. */
export const MOST_CONNECTIONS = 1_200;
/** A handshake has so long. */
export const HANDSHAKE_MS = 5_000;
/** Handshakes at once from strangers, and from each peer's address: a flood from elsewhere takes no place of a peer. */
export const MOST_HANDSHAKES = 64;
export const MOST_HANDSHAKES_OF_A_PEER = 8;
/** What a peer that reads nothing may keep waiting here. */
export const MOST_WAITING_BYTES = 1024 * 1024;

// ── NATS: the connection ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** A server that does not answer two pings is given up. */
export const PING_MS = 5_000;
export const PINGS_OUT = 2;
export const CONNECT_MS = 5_000;
/** A first connection that did not come to a bucket for so long is given up. */
export const OPEN_MS = 10_000;
/** The server is tried again after this, doubling. */
export const NATS_RETRY_FIRST_MS = 500;
export const NATS_RETRY_MOST_MS = 5_000;
/** Not all nodes come at one moment when a server is back. */
export const NATS_JITTER = 0.3;
/** A put that the server has not confirmed for so long has failed. */
export const PUT_MS = 5_000;
/** What nobody puts again is forgotten; owners put theirs every four minutes. */
export const BUCKET_TTL_MS = 600_000;
/** A value of the bucket: a body whose every character takes four bytes. */
export const LARGEST_VALUE_BYTES = 4 * LARGEST_BODY;

// ── NATS: who is present ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** A heartbeat each five seconds; in a larger realm more seldom, so that what a server passes on stays bearable. */
export const RELAY_BEAT_MS = 5_000;
export const RELAY_BEAT_PER_NODE_MS = 20;
export const LONGEST_RELAY_BEAT_MS = 30_000;
/** What a node says counts as present for three heartbeats and a moment. */
export const BEATS_MISSED = 3;
export const MOMENT_MS = 2_000;
/** More time than this between two calls was spent asleep: who has been silent meanwhile is not known. */
export const ASLEEP_MS = 3_000;
/** Clocks run apart: the moment that heartbeats are counted from is found anew so often. */
export const PROVE_EVERY_MS = 600_000;
/** A node of which more must be known is asked after this; again after this, doubling. */
export const ASK_SOON_MS = 1_000;
export const ASK_MS = 1_000;
export const LONGEST_ASK_MS = 30_000;
/** Questions at a tick to nodes that nothing here waits for. */
export const ASKED_AT_ONCE = 4;
/** Open questions that are remembered of one node. */
export const MOST_RELAY_NONCES = 8;
/** Questions that are answered: a whole realm that has just come back asks at once. */
export const ANSWERS = { atOnce: 1_000, perSecond: 200 } as const;
/** Messages in one node's name that are looked at: its signature costs more to check than to make up. */
export const HEARD = { atOnce: 60, perSecond: 10 } as const;

// ── NATS: records in the bucket ──────────────────────────────────────────────────────────────────────────────────────────────

/** The own record is put again so often: the bucket forgets what nobody puts, and a server may have lost it. */
export const PUT_AGAIN_MS = 240_000;
/** And after this, where something else stands in its place, or nothing. */
export const PUT_ELSE_MS = 2_000;
/** And after this, where the server did not take it. */
export const PUT_FAILED_MS = 500;
/** What an owner said comes by itself, and nearly at once; when it has not for so long, the bucket is asked for it, and again. */
export const FETCH_AFTER_MS = 1_500;
export const FETCH_AGAIN_MS = 3_000;
/** Records at a tick that the bucket is asked for. */
export const FETCHED_AT_ONCE = 8;

// ── The node's key ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A child makes the certificate, once: so long it may take, and so much memory, which the agent then does not hold. */
export const MAKE_MS = 60_000;
export const MAKE_BYTES = 256 * 1024 ** 2;
