// The protocol of one node: what happens comes in with the time it happened, what is to be done goes out as effects. Pure: no
// clock, no chance, no sockets, so that a whole fleet runs in one thread from one seed. The shell is ../shell.ts.

import { isSameAgent, isSameLost } from "./record.ts";
import type { ColdStartStatement } from "../../../shared/state/cold-start.ts";
import type { Reachability } from "../../../shared/fleet/gossip-event.ts";
import {
  beginCounts,
  beginRefusals,
  type ProtocolCounts,
  type RefusalKind,
} from "../../../shared/fleet/gossip-stats.ts";
import { describeSum, forget, publishIfDue, publishNow, takeRecord } from "./holding.ts";
import { keyTakeovers } from "./takeovers.ts";
import { sayHint, takeHint } from "./hints.ts";
import {
  addLink,
  answerBeat,
  dialWhereDue,
  drop,
  endLink,
  failDial,
  hearOn,
  selectLinked,
  tendLinks,
} from "./links.ts";
import type { Message } from "./message.ts";
import {
  answerChallenge,
  findStaleness,
  lookAt,
  relayAsk,
  relayProof,
  reportAway,
  sweepRelays,
  takeNo,
  takeProof,
} from "./reachability.ts";
import type { RecordBody, ServiceStatement } from "./record.ts";
import { reportRefusal } from "./gossip-refusals.ts";
import { compareSum, repairIfDue, sendDigest, takeDigest } from "./repair.ts";
import { beginPeer, type Effect, type GossipOptions, type Link, type Member, type Peer, type State } from "./state.ts";
import { LONGEST_STEP_MS, MESH_LIMIT, MOST_STRAIN, TURN_AWAY_EVERY_MS } from "../settings.ts";

type Services = Readonly<Record<string, ServiceStatement>>;

/** What one node knows of another. */
export interface PeerView {
  node: string;
  state: Reachability;
  why: string;
  /** For how long this has been the opinion. */
  forMs: number;
  /** Why its record is not its present word; undefined when it is. */
  stale: string | undefined;
  /** Time since something was heard of it. */
  silenceMs: number;
  words: RecordBody | undefined;
}

/** What one look at a node answers. */
export type PeerLook = Pick<PeerView, "state" | "why" | "stale" | "words">;

/** A node without a link, in a fleet too large for all of them. */
const UNLINKED: Peer = { ...beginPeer("", 0), why: "it has no link to this node" };

/** One node's part in the gossip. Every method answers the effects that the shell is to carry out, in order. */
export class Gossip {
  readonly #state: State;

  constructor(options: GossipOptions, nowMs: number) {
    this.#state = {
      options,
      nowMs,
      awakeMs: 0,
      strain: 1,
      boot: options.boot,
      seq: 0,
      own: { revision: undefined, services: {}, left: false },
      publishing: { tokens: 5, filledMs: nowMs, dirty: false },
      refutedMs: -Infinity,
      refutations: 0,
      roster: new Map(),
      interests: new Set(),
      linked: new Set(),
      linkedPeers: [],
      ring: new Set(),
      held: new Map(),
      takeovers: keyTakeovers(options.takeovers),
      turnedAway: new Map(),
      sum: [0, 0],
      peers: new Map(),
      links: new Map(),
      relayed: [],
      counts: beginCounts(),
      refused: beginRefusals(),
      heardBy: new Set(),
      repairMs: 0,
      repairQueue: [],
      hints: [],
      told: new Map(),
      effects: [],
    };
    publishNow(this.#state);
    this.#state.effects = [];
  }

  /** Git's word on who belongs to the realm. Who is not in it any more, or has another key, is cut off at once. */
  setRoster(nowMs: number, roster: ReadonlyMap<string, Member>, interests: ReadonlySet<string>): Effect[] {
    return this.#run(nowMs, (state) => {
      const { node, meshLimit = MESH_LIMIT } = state.options;
      for (const [name, { publicKey }] of state.roster)
        if (roster.get(name)?.publicKey !== publicKey) remove(state, name);
      state.roster = roster;
      state.interests = interests;
      Object.assign(state, selectLinked(roster, node, { interests, meshLimit }));
      for (const name of state.linked) if (!state.peers.has(name)) state.peers.set(name, beginPeer(name, nowMs));
      state.linkedPeers = [...state.linked].flatMap((name) => state.peers.get(name) ?? []);
      state.effects.push({ kind: "changed", node: undefined });
      dialWhereDue(state);
    });
  }

  /** Takes what this node has to say of its services, and of how it came up while that is news. */
  publish(nowMs: number, services: Services, revision: string | undefined, cold?: ColdStartStatement): Effect[] {
    return this.#run(nowMs, (state) => {
      const before = state.own;
      const agent = state.options.agentWord?.();
      const lost = state.options.lostWord?.();
      state.own = { ...before, services, revision, cold, agent, lost };
      const isSame =
        before.revision === revision &&
        before.cold === cold &&
        isSameAgent(before.agent, agent) &&
        isSameLost(before.lost, lost);
      if (isSame && JSON.stringify(before.services) === JSON.stringify(services)) return;
      state.publishing.dirty = true;
      publishIfDue(state);
    });
  }

  /** Says that this agent ends as it was told to. */
  leave(nowMs: number): Effect[] {
    return this.#run(nowMs, (state) => {
      state.own = { ...state.own, left: true };
      publishNow(state);
    });
  }

  /** This node has seen a new revision: the others are told. */
  hint(nowMs: number, revision: string): Effect[] {
    return this.#run(nowMs, (state) => {
      sayHint(state, revision);
    });
  }

  /**
   * A stream to a peer whose key was found in the roster. One whose node a spare has replaced is told so, by the own record that says
   * it, and is ended.
   */
  linkUp(nowMs: number, link: Pick<Link, "id" | "node" | "dialler"> & { replaced?: boolean }): Effect[] {
    return this.#run(nowMs, (state) => (link.replaced === true ? turnAway(state, link) : addLink(state, link)));
  }

  linkDown(nowMs: number, id: number): Effect[] {
    return this.#run(nowMs, (state) => endLink(state, id));
  }

  /** @param refused the port is closed: no process listens there */
  dialFailed(nowMs: number, node: string, refused: boolean): Effect[] {
    return this.#run(nowMs, (state) => failDial(state, node, refused));
  }

  /** A message has come in. */
  receive(nowMs: number, id: number, message: Message): Effect[] {
    return this.#run(nowMs, (state) => {
      const link = state.links.get(id);
      if (link === undefined) return;
      if (hearOn(state, link)) take(state, link, message);
      else {
        reportRefusal(state, link.node, "too-many-frames", "it says more than a peer may");
        drop(state, link, "too many frames");
      }
    });
  }

  /** To be called every `TICK_MS`: everything that happens because time passes. */
  tick(nowMs: number): Effect[] {
    return this.#run(nowMs, (state) => {
      for (const peer of state.peers.values()) lookAt(state, peer);
      tendLinks(state);
      dialWhereDue(state);
      publishIfDue(state);
      repairIfDue(state);
      sweepRelays(state);
      reportAway(state);
    });
  }

  /** What is known of every other node of the roster, in the order of their names. */
  view(): PeerView[] {
    const state = this.#state;
    return [...state.roster.keys()]
      .filter((node) => node !== state.options.node)
      .toSorted()
      .map((node) => {
        const { state: reachability, sinceMs, why, heardMs, proven } = state.peers.get(node) ?? UNLINKED;
        return {
          node,
          state: reachability,
          why,
          forMs: state.nowMs - sinceMs,
          stale: findStaleness(state, node),
          silenceMs: state.awakeMs - Math.max(heardMs, proven?.atMs ?? -Infinity),
          words: state.held.get(node)?.body,
        };
      });
  }

  /** What one other node said last, why that is not its present word, and what is thought of it. */
  look(node: string): PeerLook {
    const { state, why } = this.#state.peers.get(node) ?? UNLINKED;
    return { state, why, words: this.#state.held.get(node)?.body, stale: findStaleness(this.#state, node) };
  }

  /** Peers that hold what this start of the agent has said. */
  get hearers(): readonly string[] {
    return [...this.#state.heardBy].filter((node) => this.#state.roster.has(node));
  }

  /** A sum over everything held; two nodes with equal views have equal sums. */
  get sum(): string {
    return describeSum(this.#state);
  }

  /** Records held, links, asks relayed: what memory is spent on. */
  get sizes(): { records: number; links: number; relayed: number } {
    const { held, links, relayed } = this.#state;
    return { records: held.size, links: links.size, relayed: relayed.length };
  }

  /** What was counted since the start, and how well the own loop runs. */
  get stats(): { counts: ProtocolCounts; refused: Readonly<Record<RefusalKind, number>>; strain: number } {
    const { counts, refused, strain } = this.#state;
    return { counts, refused, strain };
  }

  /** The own position in the order of this node's records. */
  get version(): { boot: number; seq: number } {
    const { boot, seq } = this.#state;
    return { boot, seq };
  }

  #run(nowMs: number, act: (state: State) => void): Effect[] {
    const state = this.#state;
    const passedMs = Math.max(0, nowMs - state.nowMs);
    const sleptMs = Math.max(0, passedMs - LONGEST_STEP_MS);
    state.nowMs = Math.max(nowMs, state.nowMs);
    state.awakeMs += passedMs - sleptMs;
    // As nearly always, there is nothing to relax from.
    const relaxed = state.strain === 1 ? 1 : 1 + (state.strain - 1) * 0.5 ** (passedMs / 1_000);
    state.strain = Math.min(MOST_STRAIN, sleptMs > 0 ? relaxed + sleptMs / LONGEST_STEP_MS : relaxed);
    act(state);
    const { effects } = state;
    state.effects = [];
    return effects;
  }
}

/** A node that Git has taken out, or given another key. */
function remove(state: State, node: string): void {
  const peer = state.peers.get(node);
  state.peers.delete(node);
  forget(state, node);
  for (const link of [peer?.link, ...(peer?.spares ?? [])])
    if (link !== undefined) {
      state.links.delete(link.id);
      state.effects.push({ kind: "close", link: link.id, reason: "not in the roster any more" });
    }
}

/**
 * The old key of a replaced node says nothing here any more. It is told why now and then; a stream that is ended without a word lets it
 * dial ever more seldom.
 */
function turnAway(state: State, { id, node }: Pick<Link, "id" | "node">): void {
  const own = state.held.get(state.options.node);
  const isTold = state.nowMs - (state.turnedAway.get(node) ?? -Infinity) < TURN_AWAY_EVERY_MS;
  if (!isTold) state.turnedAway.set(node, state.nowMs);
  if (own !== undefined && !isTold)
    state.effects.push({ kind: "send", link: id, message: { t: "record", record: own.record } });
  state.effects.push({ kind: "close", link: id, reason: "a spare stands in its place" });
  reportRefusal(state, node, "replaced-key", "it shows the key of the node that a spare has replaced");
}

function take(state: State, link: Link, message: Message): void {
  switch (message.t) {
    case "beat":
      if (message.sum !== undefined) compareSum(state, link, message.sum);
      return answerBeat(state, link);
    case "record":
      return void takeRecord(state, link, message.record);
    case "digest":
      return takeDigest(state, link, message);
    case "ask":
      return relayAsk(state, link.node, message);
    case "no":
      return takeNo(state, link.node, message);
    case "challenge":
      return answerChallenge(state, link.node, message);
    case "proof":
      return message.asker === state.options.node
        ? takeProofAndCatchUp(state, link, message)
        : relayProof(state, link.node, message);
    case "hint":
      return takeHint(state, link, message.revision);
    default:
      return message satisfies never;
  }
}

/** A node that is reached only through others is heard through them too: what it said since is fetched at once. */
function takeProofAndCatchUp(state: State, link: Link, proof: Extract<Message, { t: "proof" }>): void {
  takeProof(state, link.node, proof);
  const held = state.held.get(proof.target)?.record;
  if (held === undefined || held.boot < proof.boot || (held.boot === proof.boot && held.seq < proof.seq))
    sendDigest(state, link, true);
}
