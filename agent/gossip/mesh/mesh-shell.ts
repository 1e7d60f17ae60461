// The gossip of a running agent: hands the protocol what happens with the time it happened, and carries out what it answers.
// Made by daemon.ts. Never waits for a peer, and never throws: without gossip a node goes on alone.

import { randomBytes } from "node:crypto";

import type { ColdStartStatement } from "../../../shared/state/cold-start.ts";
import type { GossipEvent } from "../../../shared/fleet/gossip-event.ts";
import {
  beginCounts,
  beginRefusals,
  type GossipStats,
  REFUSAL_KINDS,
  type RefusalKind,
} from "../../../shared/fleet/gossip-stats.ts";
import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import { BootCounter } from "../boot-counter.ts";
import { Gossip, type PeerLook, type PeerView } from "../core/gossip.ts";
import type { ServiceStatement } from "../core/record.ts";
import type { Effect } from "../core/state.ts";
import { createSigner, type Identity } from "../node-identity.ts";
import { buildRoster, describeUnbegun, isPeerAddress, judgeKey, type Roster, type RosterSource } from "../roster.ts";
import { Transport } from "./transport.ts";
import { MOST_REASONS, REFUSAL_EVERY_MS, TICK_MS } from "../settings.ts";

/** What the shell is made from. */
export interface ShellOptions {
  node: string;
  /** `host:port`. */
  listen: string;
  identity: Identity;
  stateDir: string;
  clock: Clock;
  /** Something happened that people may want to know. */
  onEvent(event: GossipEvent): void;
}

/** How many refusals of each kind there were. */
type Refusals = Readonly<Record<string, number>>;

/** One node's gossip. */
export class GossipShell {
  readonly #options: ShellOptions;
  readonly #transport: Transport;
  readonly #boots: BootCounter;
  readonly #refused = new Map<string, { count: number; saidMs: number }>();
  readonly #refusedBy = beginRefusals();
  readonly #frames = { sent: 0, received: 0 };
  #gossip: Gossip | undefined;
  #roster: Roster | undefined;
  #source: RosterSource | undefined;
  #cancelTick: CancelTimer = () => undefined;
  #cancelHint: CancelTimer = () => undefined;
  #closed = false;
  /** The counter of this start; undefined until it was raised. */
  #boot: number | undefined;
  #starting: Promise<void> | undefined;
  #said: Parameters<GossipShell["say"]> | undefined;
  /** What is known of some nodes has changed; undefined stands for the roster. */
  onChange: (nodes: ReadonlySet<string | undefined>) => void = () => undefined;
  /** A peer has seen a new revision in Git. */
  onHint: (revision: string) => void = () => undefined;

  constructor(options: ShellOptions) {
    this.#options = options;
    this.#boots = new BootCounter(options.stateDir, () => options.clock.nowMs());
    const colon = options.listen.lastIndexOf(":");
    this.#transport = new Transport({
      node: options.node,
      host: options.listen.slice(0, colon).replace(/^\[|\]$/g, ""),
      port: Number(options.listen.slice(colon + 1)),
      identity: options.identity,
      clock: options.clock,
      judgeKey: (key) => judgeKey(this.#roster, key),
      isPeerAddress: (address) => isPeerAddress(this.#roster, address),
      onUp: (link) => this.#tell((gossip, nowMs) => gossip.linkUp(nowMs, link)),
      onDown: (id) => this.#tell((gossip, nowMs) => gossip.linkDown(nowMs, id)),
      onDialFailed: (node, refused) => this.#tell((gossip, nowMs) => gossip.dialFailed(nowMs, node, refused)),
      onMessage: (id, message) => {
        this.#frames.received += 1;
        this.#tell((gossip, nowMs) => gossip.receive(nowMs, id, message));
      },
      onRefused: (kind, reason, address) => this.#refuse(kind, reason, address),
    });
  }

  /** What keeps this node from taking part, in words. */
  get notes(): string[] {
    const troubles = [this.#roster?.trouble, this.#transport.trouble, this.#boots.trouble];
    return troubles.flatMap((trouble) => (trouble === undefined ? [] : [`gossip: ${trouble}`]));
  }

  /** Refused so far, by reason. */
  get refusals(): Refusals {
    return Object.fromEntries([...this.#refused].map(([reason, { count }]) => [reason, count]));
  }

  /** What was counted since the agent's start. */
  get stats(): GossipStats {
    const { links, sentBytes, receivedBytes } = this.#transport.traffic;
    const { counts, refused, strain } = this.#gossip?.stats ?? { counts: beginCounts(), refused: undefined, strain: 1 };
    return {
      ...counts,
      links,
      strain,
      bytesSent: sentBytes,
      bytesReceived: receivedBytes,
      framesSent: this.#frames.sent,
      framesReceived: this.#frames.received,
      refused: Object.fromEntries(
        REFUSAL_KINDS.map((kind) => [kind, this.#refusedBy[kind] + (refused?.[kind] ?? 0)]),
      ) as GossipStats["refused"],
    };
  }

  get realm(): string | undefined {
    return this.#roster?.realm;
  }

  /** What this node said last. */
  get words(): Readonly<Record<string, ServiceStatement>> {
    return this.#said?.[0] ?? {};
  }

  /** Every other node of the realm. */
  view(): PeerView[] {
    return this.#gossip?.view() ?? [];
  }

  /** What a node said last, why that is not its present word, and what is thought of it. */
  look(node: string): PeerLook {
    return this.#gossip?.look(node) ?? describeUnbegun(this.#roster);
  }

  /** Takes who belongs to the realm; the first time, the gossip begins. */
  follow(source: RosterSource): void {
    if (this.#source !== undefined && isSameSource(this.#source, source)) return;
    this.#source = source;
    const { identity, node } = this.#options;
    const roster = buildRoster(source, node, identity.publicKey);
    const isOtherRealm = this.#roster !== undefined && this.#roster.realm !== roster.realm;
    this.#roster = roster;
    if (isOtherRealm) this.#restart();
    this.#starting ??= this.#start();
    this.#applyRoster();
  }

  /** Takes what this node has to say of its services, and of how it came up while that is news. */
  say(
    ...said: [
      services: Readonly<Record<string, ServiceStatement>>,
      revision: string | undefined,
      cold?: ColdStartStatement,
    ]
  ): void {
    this.#said = said;
    this.#tell((gossip, nowMs) => gossip.publish(nowMs, ...said));
  }

  /** This node has seen a new revision. */
  hint(revision: string): void {
    this.#tell((gossip, nowMs) => gossip.hint(nowMs, revision));
  }

  /** Says that this agent ends, and ends. */
  async close(): Promise<void> {
    this.#tell((gossip, nowMs) => gossip.leave(nowMs));
    this.#closed = true;
    this.#cancelTick();
    this.#cancelHint();
    await this.#starting;
    await this.#transport.close();
  }

  async #start(): Promise<void> {
    this.#boot = await this.#boots.raise();
    if (this.#closed) return;
    // A process that is killed closes its files in the order in which it opened them. With the port first, whoever hears the end
    // of a stream and dials is refused, and knows; behind the streams, it would be let in once more and reset.
    await this.#transport.start();
    this.#begin();
    this.#tick();
  }

  /** A new protocol in the realm of the roster. */
  #begin(): void {
    const { node, identity, clock } = this.#options;
    const realm = this.#roster?.realm;
    const boot = this.#boot;
    if (realm === undefined || boot === undefined) return;
    this.#gossip = new Gossip(
      {
        node,
        realm,
        boot,
        publicKey: identity.publicKey,
        signer: createSigner(identity),
        rng: () => randomBytes(4).readUInt32BE() / 2 ** 32,
        newNonce: () => randomBytes(12).toString("base64url"),
      },
      clock.monotonicMs(),
    );
    this.#applyRoster();
    if (this.#said !== undefined) this.say(...this.#said);
  }

  /** Realms do not mix: this node was put into another one, and knows nothing of it yet. */
  #restart(): void {
    this.#tell((gossip, nowMs) => gossip.setRoster(nowMs, new Map(), new Set()));
    this.#gossip = undefined;
    this.#begin();
  }

  #applyRoster(): void {
    const roster = this.#roster;
    if (roster === undefined) return;
    this.#tell((gossip, nowMs) => gossip.setRoster(nowMs, roster.members, roster.interests));
  }

  #tick(): void {
    if (this.#closed) return;
    this.#cancelTick = this.#options.clock.after(TICK_MS, () => this.#tick());
    this.#tell((gossip, nowMs) => gossip.tick(nowMs));
  }

  #tell(act: (gossip: Gossip, nowMs: number) => Effect[]): void {
    if (this.#gossip === undefined || this.#closed) return;
    let changed: Set<string | undefined> | undefined;
    for (const effect of act(this.#gossip, this.#options.clock.monotonicMs())) {
      if (effect.kind === "changed") (changed ??= new Set()).add(effect.node);
      else this.#carryOut(effect);
    }
    if (changed !== undefined) this.onChange(changed);
  }

  #carryOut(effect: Exclude<Effect, { kind: "changed" }>): void {
    switch (effect.kind) {
      case "send":
        this.#frames.sent += 1;
        return this.#transport.send(effect.link, effect.message);
      case "dial":
        return this.#transport.dial(effect.node, effect.address);
      case "close":
        return this.#transport.end(effect.link);
      case "store-boot":
        this.#boot = effect.boot;
        return void this.#boots.store(effect.boot);
      case "wake":
        return void this.#options.clock.after(effect.afterMs, () => this.#tell((gossip, nowMs) => gossip.tick(nowMs)));
      case "hint":
        this.#cancelHint();
        this.#cancelHint = this.#options.clock.after(effect.delayMs, () => this.onHint(effect.revision));
        return undefined;
      case "event":
        return this.#options.onEvent(effect.event);
      default:
        return effect satisfies never;
    }
  }

  /** Counts every refusal; says each reason once a minute. */
  #refuse(kind: RefusalKind, reason: string, address: string): void {
    this.#refusedBy[kind] += 1;
    const nowMs = this.#options.clock.monotonicMs();
    const known = this.#refused.get(reason) ?? { count: 0, saidMs: -Infinity };
    known.count += 1;
    // Reasons are few; should somebody find a way to make them many, memory stays bounded all the same.
    if (this.#refused.size < MOST_REASONS) this.#refused.set(reason, known);
    if (nowMs - known.saidMs < REFUSAL_EVERY_MS) return;
    known.saidMs = nowMs;
    const count = known.count === 1 ? "" : ` (${known.count} times so far)`;
    this.#options.onEvent({ kind: "refused", node: address, reason: `${reason}${count}` });
  }
}

function isSameSource(left: RosterSource, right: RosterSource): boolean {
  return left.fleet === right.fleet && left.interests === right.interests;
}
