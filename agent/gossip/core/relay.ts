// The protocol of one node where a server stands between all of them: what happens comes in with the time it happened, what is to be
// done goes out as effects. The server is believed nothing. Pure; the shell is ../nats/shell.ts.

import { growDelayMs } from "../../../shared/state/backoff.ts";
import type { ColdStartStatement } from "../../../shared/state/cold-start.ts";
import {
  beginCounts,
  beginRefusals,
  type ProtocolCounts,
  type RefusalKind,
} from "../../../shared/fleet/gossip-stats.ts";
import type { PeerLook, PeerView } from "./gossip.ts";
import { isKnownHint } from "./hints.ts";
import type { ServiceStatement, SignedRecord } from "./record.ts";
import { answer, hear, hearTakeoversIn, meetOwn, take } from "./relay-hear.ts";
import { keyTakeovers } from "./takeovers.ts";
import { type RelayMessage, signRelayed } from "./relay-message.ts";
import { OwnRecord } from "./relay-own.ts";
import { askWith, beginRelayPeer, findRelayStaleness, isFetchDue, listLongAway } from "./relay-peer.ts";
import {
  beatEveryMs,
  judgePeer,
  put,
  putAgainSoon,
  putIfDue,
  readHearing,
  type RelayEffect,
  type RelayState,
  sayBeat,
} from "./relay-state.ts";
import { reportRefusal } from "./gossip-refusals.ts";
import type { GossipOptions, Member } from "./state.ts";
import { ASKED_AT_ONCE, ASK_MS, ASLEEP_MS, FETCHED_AT_ONCE, LONGEST_ASK_MS } from "../settings.ts";

/** Whom noise is told of: its sender is not known, and names no name here. */
const SERVER = "the server";

type Services = Readonly<Record<string, ServiceStatement>>;

/** One node's part. Every method answers the effects that the shell is to carry out, in order. */
export class Relay {
  readonly #state: RelayState;

  constructor(options: GossipOptions, nowMs: number) {
    this.#state = {
      options,
      nowMs,
      own: new OwnRecord(options, nowMs),
      peers: new Map(),
      takeovers: keyTakeovers(options.takeovers),
      counts: beginCounts(),
      refused: beginRefusals(),
      putMs: -Infinity,
      beatMs: -Infinity,
      echo: undefined,
      connectedMs: undefined,
      trouble: "the server was not reached yet",
      roster: new Map(),
      interests: new Set(),
      hints: [],
      told: new Map(),
      effects: [],
    };
    const { own, takeovers } = this.#state;
    own.takeovers = () => [...takeovers.values()];
    own.sign();
  }

  /** What was counted since the start. */
  get stats(): { counts: ProtocolCounts; refused: Readonly<Record<RefusalKind, number>> } {
    const { counts, refused } = this.#state;
    return { counts, refused };
  }

  /** Git's word on who belongs to the realm. */
  setRoster(nowMs: number, roster: ReadonlyMap<string, Member>, interests: ReadonlySet<string>): RelayEffect[] {
    return this.#run(nowMs, (state) => {
      for (const [node, { publicKey }] of state.roster)
        if (roster.get(node)?.publicKey !== publicKey) state.peers.delete(node);
      state.roster = roster;
      state.interests = interests;
      for (const node of roster.keys())
        if (node !== state.options.node && !state.peers.has(node)) state.peers.set(node, beginRelayPeer(node, nowMs));
      state.effects.push({ kind: "changed", node: undefined });
    });
  }

  /** Takes what this node has to say of its services, and of how it came up while that is news. */
  publish(nowMs: number, services: Services, revision: string | undefined, cold?: ColdStartStatement): RelayEffect[] {
    return this.#run(nowMs, (state) => {
      if (
        state.own.take({
          services,
          revision,
          cold,
          agent: state.options.agentWord?.(),
          lost: state.options.lostWord?.(),
        })
      )
        putIfDue(state);
    });
  }

  /** Says that this agent ends as it was told to. */
  leave(nowMs: number): RelayEffect[] {
    return this.#run(nowMs, (state) => {
      state.own.leave();
      put(state);
    });
  }

  /** This node has seen a new revision: the others are told. */
  hint(nowMs: number, revision: string): RelayEffect[] {
    return this.#run(nowMs, (state) => {
      if (isKnownHint(state.hints, revision)) return;
      state.counts.hintsSent += 1;
      const { node, realm, signer } = state.options;
      state.effects.push({ kind: "say", message: signRelayed(realm, { t: "hint", node, revision }, signer) });
    });
  }

  /** The server is reached: the own word is put, and everybody is asked anew. */
  connected(nowMs: number): RelayEffect[] {
    return this.#run(nowMs, (state) => {
      state.connectedMs = nowMs;
      for (const peer of state.peers.values()) peer.asked = { dueMs: nowMs, times: 0 };
      put(state);
      sayBeat(state);
      lookAround(state);
    });
  }

  /** The server is not reached, and why. */
  disconnected(nowMs: number, why: string): RelayEffect[] {
    return this.#run(nowMs, (state) => {
      state.connectedMs = undefined;
      state.trouble = why;
      lookAround(state);
    });
  }

  /** The server did not take the own record: it is put again. */
  putFailed(nowMs: number): RelayEffect[] {
    return this.#run(nowMs, putAgainSoon);
  }

  /** A value of the bucket has come; undefined where it is no record, or was taken out. */
  takeValue(nowMs: number, key: string, record: SignedRecord | undefined): RelayEffect[] {
    return this.#run(nowMs, (state) => {
      const said = record?.node === key ? record : undefined;
      if (said !== undefined) hearTakeoversIn(state, said);
      if (key === state.options.node) meetOwn(state, said);
      else if (said !== undefined) take(state, said);
      if (record !== undefined && said === undefined)
        reportRefusal(state, SERVER, "bad-frame", "a record under another node's name");
    });
  }

  /** A message has come. */
  receive(nowMs: number, message: RelayMessage): RelayEffect[] {
    return this.#run(nowMs, (state) => {
      if (message.t === "ask") answer(state, message);
      else hear(state, message);
    });
  }

  /** Something that is no message of this protocol came. */
  refuseNoise(nowMs: number): RelayEffect[] {
    return this.#run(nowMs, (state) =>
      reportRefusal(state, SERVER, "bad-frame", "what is no message of this protocol"),
    );
  }

  /** To be called every quarter of a second. */
  tick(nowMs: number): RelayEffect[] {
    return this.#run(nowMs, (state) => lookAround(state));
  }

  /** What is known of every other node of the roster, in the order of their names. */
  view(): PeerView[] {
    const hearing = readHearing(this.#state);
    return [...this.#state.peers.keys()].toSorted().flatMap((node) => {
      const peer = this.#state.peers.get(node);
      if (peer === undefined) return [];
      const stale = findRelayStaleness(peer, node, hearing);
      const silenceMs = this.#state.nowMs - (peer.last?.saidMs ?? -Infinity);
      const { state, why, sinceMs, held } = peer;
      return [{ node, state, why, forMs: this.#state.nowMs - sinceMs, stale, silenceMs, words: held?.body }];
    });
  }

  /** What one other node said last, why that is not its present word, and what is thought of it. */
  look(node: string): PeerLook {
    const peer = this.#state.peers.get(node);
    const stale = findRelayStaleness(peer, node, readHearing(this.#state));
    return { state: peer?.state ?? "unknown", why: peer?.why ?? stale ?? "", stale, words: peer?.held?.body };
  }

  #run(nowMs: number, act: (state: RelayState) => void): RelayEffect[] {
    const state = this.#state;
    const passedMs = Math.max(0, nowMs - state.nowMs);
    state.nowMs = Math.max(nowMs, state.nowMs);
    state.own.refill(passedMs);
    if (passedMs > ASLEEP_MS && state.connectedMs !== undefined) state.connectedMs = state.nowMs;
    act(state);
    const { effects } = state;
    state.effects = [];
    return effects;
  }
}

/** Everything that happens because time passes. */
function lookAround(state: RelayState): void {
  for (const peer of state.peers.values()) judgePeer(state, peer);
  if (state.connectedMs === undefined) return;
  putIfDue(state);
  if (state.nowMs - state.beatMs >= beatEveryMs(state)) sayBeat(state);
  askWhereDue(state);
  fetchWhereDue(state);
  for (const event of listLongAway(state.peers, state.options.node, readHearing(state)))
    state.effects.push({ kind: "event", event });
}

/**
 * Asks the bucket for what should have come by itself: a server of a cluster that is lost takes the watch with it, and a client
 * notices that a minute later.
 */
function fetchWhereDue(state: RelayState): void {
  let left = FETCHED_AT_ONCE;
  for (const peer of state.peers.values()) {
    if (left === 0) return;
    if (!isFetchDue(peer, state.nowMs)) continue;
    left -= 1;
    state.effects.push({ kind: "fetch", node: peer.node });
  }
}

/** Asks whoever is not proven, or was long ago: first those that something here waits for, of the others a few at a time. */
function askWhereDue(state: RelayState): void {
  let left = ASKED_AT_ONCE;
  for (const peer of state.peers.values()) {
    const isOf = state.interests.has(peer.node);
    if (state.nowMs < peer.asked.dueMs || (!isOf && left === 0)) continue;
    if (!isOf) left -= 1;
    const { node, newNonce, rng } = state.options;
    const nonce = newNonce();
    askWith(peer, nonce, state.nowMs);
    state.effects.push({ kind: "say", message: { t: "ask", asker: node, target: peer.node, nonce } });
    const { times } = peer.asked;
    const waitMs = growDelayMs({ initialMs: ASK_MS, maxMs: LONGEST_ASK_MS }, times) * (0.7 + 0.3 * rng());
    peer.asked = { dueMs: state.nowMs + waitMs, times: times + 1 };
  }
}
