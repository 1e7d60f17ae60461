// What a node's gossip does whichever way it travels: hands the protocol what happens with the time it happened, and carries out what
// it answers. The ways are mesh/ and nats/. Never waits for anybody, and never throws: without gossip a node goes on alone.

import { randomBytes } from "node:crypto";

import type { GossipEvent } from "../../shared/fleet/gossip-event.ts";
import type { GossipStats } from "../../shared/fleet/gossip-stats.ts";
import { judgeTenure, type SignedTakeover, type Tenure } from "../../shared/fleet/takeover.ts";
import type { AgentWord } from "../../shared/fleet/agent-version.ts";
import type { LostNode } from "../../shared/slo/availability.ts";
import type { ColdStartStatement } from "../../shared/state/cold-start.ts";
import type { CancelTimer, Clock } from "../host/os/clock.ts";
import { BootCounter } from "./boot-counter.ts";
import type { PeerLook, PeerView } from "./core/gossip.ts";
import type { ServiceStatement } from "./core/record.ts";
import type { Effect, GossipOptions, Member } from "./core/state.ts";
import { createSigner, type Identity } from "./node-identity.ts";
import { buildRoster, describeUnbegun, type Roster, type RosterSource } from "./roster.ts";
import { TENURE_PATIENCE_MS, TICK_MS } from "./settings.ts";
import { readRecovery } from "./recovery-mark.ts";
import { TakeoverFile } from "./takeover-file.ts";

/** What a shell is made from, whichever way it goes. */
export interface GossipShellOptions {
  node: string;
  identity: Identity;
  stateDir: string;
  clock: Clock;
  /** What this node says of its agent. */
  agentWord?: (() => AgentWord | undefined) | undefined;
  /** The recovery key that this host's policy pins. */
  recoveryKey?: (() => string | undefined) | undefined;
  /** When other nodes were dead for this one. */
  lostWord?: (() => readonly LostNode[]) | undefined;
  /** Something happened that people may want to know. */
  onEvent(event: GossipEvent): void;
}

/** What a node says: its services, the revision it has seen, and how it came up while that is news. */
type Said = [
  services: Readonly<Record<string, ServiceStatement>>,
  revision: string | undefined,
  cold?: ColdStartStatement,
];

/** What both protocols ask of their shell. */
export type SharedEffect = Extract<Effect, { kind: "store-boot" | "hint" | "event" | "changed" | "takeover" }>;

/** What both protocols are told and asked; `E` is what one of them asks of its own way. */
interface Protocol<E> {
  setRoster(nowMs: number, roster: ReadonlyMap<string, Member>, interests: ReadonlySet<string>): (E | SharedEffect)[];
  publish(nowMs: number, ...said: Said): (E | SharedEffect)[];
  hint(nowMs: number, revision: string): (E | SharedEffect)[];
  tick(nowMs: number): (E | SharedEffect)[];
  leave(nowMs: number): (E | SharedEffect)[];
  view(): PeerView[];
  look(node: string): PeerLook;
}

/** One node's gossip: `P` is the protocol, `E` what it asks of its way besides what both ask. */
export abstract class GossipShell<E extends { kind: string }, P extends Protocol<E>> {
  readonly #options: GossipShellOptions;
  readonly #boots: BootCounter;
  readonly #takeoverFile: TakeoverFile;
  readonly #takeovers: Map<string, SignedTakeover>;
  readonly #startedMs: number;
  /** A peer's present word was heard since the start. */
  #hasHeard = false;
  #protocol: P | undefined;
  #roster: Roster | undefined;
  #source: RosterSource | undefined;
  /** The counter of this start; undefined until it was raised. */
  #boot: number | undefined;
  #starting: Promise<void> | undefined;
  #said: Said | undefined;
  #cancelTick: CancelTimer = () => undefined;
  #cancelHint: CancelTimer = () => undefined;
  #closed = false;
  /** What is known of some nodes has changed; undefined stands for the roster. */
  onChange: (nodes: ReadonlySet<string | undefined>) => void = () => undefined;
  /** A peer has seen a new revision in Git. */
  onHint: (revision: string) => void = () => undefined;

  constructor(options: GossipShellOptions) {
    this.#options = options;
    this.#boots = new BootCounter(options.stateDir, () => options.clock.nowMs());
    this.#takeoverFile = new TakeoverFile(options.stateDir);
    this.#takeovers = new Map(this.#takeoverFile.read().map((takeover) => [takeover.node, takeover]));
    this.#startedMs = options.clock.monotonicMs();
  }

  /** Refused so far, by reason. */
  abstract get refusals(): Readonly<Record<string, number>>;
  /** What was counted since the agent's start. */
  abstract get stats(): GossipStats;

  /** What keeps this way from carrying anything, in words. */
  protected abstract listTroubles(): (string | undefined)[];
  /** Opens what stands as long as the agent does. */
  protected abstract openWay(): Promise<void>;
  /** Makes the protocol of a realm. */
  protected abstract makeProtocol(options: GossipOptions, nowMs: number): P;
  /** The protocol of this realm has begun: what carries it in this realm alone begins too. */
  protected abstract enterRealm(realm: string): void;
  /** The realm is another one: what carried the one before ends. */
  protected abstract leaveRealm(): void;
  /** Carries out what the protocol asks of this way. */
  protected abstract carry(effect: E): void;
  protected abstract closeWay(): Promise<void>;

  /** Peers that hold what this start of the agent has said; undefined where its way does not tell. */
  get hearers(): readonly string[] | undefined {
    return undefined;
  }

  /** What keeps this node from taking part, in words. */
  get notes(): string[] {
    const troubles = [this.#roster?.trouble, ...this.listTroubles(), this.#boots.trouble, this.#takeoverFile.trouble];
    return troubles.flatMap((trouble) => (trouble === undefined ? [] : [`gossip: ${trouble}`]));
  }

  get realm(): string | undefined {
    return this.#roster?.realm;
  }

  /** Which spares stand in whose place. */
  get takeovers(): SignedTakeover[] {
    return [...this.#takeovers.values()];
  }

  /** Whether this node may run its services. */
  get tenure(): Tenure {
    const { node, identity, clock, recoveryKey, stateDir } = this.#options;
    const fleet = this.#source?.fleet ?? [];
    this.#hasHeard ||= this.view().some(({ stale, words }) => stale === undefined && words !== undefined);
    return judgeTenure({
      publicKey: identity.publicKey,
      takeover: this.#takeovers.get(node),
      hasStandby: recoveryKey?.() !== undefined && fleet.some(({ standbyFor }) => standbyFor === node),
      hasHeard: this.#hasHeard,
      restoring: readRecovery(stateDir),
      sinceStartMs: clock.monotonicMs() - this.#startedMs,
      patienceMs: TENURE_PATIENCE_MS,
    });
  }

  /** What this node said last. */
  get words(): Readonly<Record<string, ServiceStatement>> {
    return this.#said?.[0] ?? {};
  }

  /** Every other node of the realm. */
  view(): PeerView[] {
    return this.#protocol?.view() ?? [];
  }

  /** What a node said last, why that is not its present word, and what is thought of it. */
  look(node: string): PeerLook {
    return this.#protocol?.look(node) ?? describeUnbegun(this.#roster);
  }

  /** Takes who belongs to the realm; the first time, the gossip begins. */
  follow(source: RosterSource): void {
    if (this.#source?.fleet === source.fleet && this.#source.interests === source.interests) return;
    this.#source = source;
    const before = this.#roster;
    this.#roster = this.#readRoster(source);
    if (before !== undefined && before.realm !== this.#roster.realm) this.#restart();
    this.#starting ??= this.#start();
    this.#applyRoster();
  }

  /** Takes what this node has to say of its services, and of how it came up while that is news. */
  say(...said: Said): void {
    this.#said = said;
    this.tell((protocol, nowMs) => protocol.publish(nowMs, ...said));
  }

  /** This node has seen a new revision. */
  hint(revision: string): void {
    this.tell((protocol, nowMs) => protocol.hint(nowMs, revision));
  }

  /** Says that this agent ends, and ends. */
  async close(): Promise<void> {
    this.tell((protocol, nowMs) => protocol.leave(nowMs));
    this.#closed = true;
    this.#cancelTick();
    this.#cancelHint();
    await this.#starting;
    await this.#takeoverFile.written;
    await this.closeWay();
  }

  protected get roster(): Roster | undefined {
    return this.#roster;
  }

  protected get protocol(): P | undefined {
    return this.#protocol;
  }

  /** Tells the protocol what happened, and carries out what it answers. */
  protected tell(act: (protocol: P, nowMs: number) => (E | SharedEffect)[]): void {
    if (this.#protocol === undefined || this.#closed) return;
    const changed = new Set<string | undefined>();
    for (const effect of act(this.#protocol, this.#options.clock.monotonicMs())) {
      if (isShared(effect)) this.#carryOut(effect, changed);
      else this.carry(effect);
    }
    if (changed.size > 0) this.onChange(changed);
  }

  async #start(): Promise<void> {
    this.#boot = await this.#boots.raise();
    if (this.#closed) return;
    await this.openWay();
    this.#begin();
    this.#tick();
  }

  /** A new protocol in the realm of the roster. */
  #begin(): void {
    const { node, identity, clock, agentWord, lostWord, recoveryKey } = this.#options;
    const realm = this.#roster?.realm;
    const boot = this.#boot;
    if (realm === undefined || boot === undefined) return;
    const options = {
      node,
      realm,
      boot,
      publicKey: identity.publicKey,
      signer: createSigner(identity),
      agentWord,
      recoveryKey,
      takeovers: this.takeovers,
      lostWord,
      rng: () => randomBytes(4).readUInt32BE() / 2 ** 32,
      newNonce: () => randomBytes(12).toString("base64url"),
    };
    this.#protocol = this.makeProtocol(options, clock.monotonicMs());
    this.#applyRoster();
    if (this.#said !== undefined) this.say(...this.#said);
    this.enterRealm(realm);
  }

  /** Realms do not mix: this node was put into another one, and knows nothing of it yet. */
  #restart(): void {
    this.tell((protocol, nowMs) => protocol.setRoster(nowMs, new Map(), new Set()));
    this.leaveRealm();
    this.#protocol = undefined;
    this.#begin();
    this.onChange(new Set([undefined]));
  }

  #readRoster(source: RosterSource): Roster {
    const { identity, node } = this.#options;
    return buildRoster(source, { node, ownKey: identity.publicKey, takeovers: this.takeovers });
  }

  /** From now on names are led to the spare, and the old key is refused. */
  #takeOver(takeover: SignedTakeover): void {
    this.#takeovers.set(takeover.node, takeover);
    this.#takeoverFile.store(this.takeovers);
    const { node, spare, term } = takeover;
    this.#options.onEvent({ kind: "takeover", node, spare, term });
    if (this.#source === undefined) return;
    this.#roster = this.#readRoster(this.#source);
    this.#applyRoster();
  }

  #applyRoster(): void {
    const roster = this.#roster;
    if (roster === undefined) return;
    this.tell((protocol, nowMs) => protocol.setRoster(nowMs, roster.members, roster.interests));
  }

  #tick(): void {
    if (this.#closed) return;
    this.#cancelTick = this.#options.clock.after(TICK_MS, () => this.#tick());
    this.tell((protocol, nowMs) => protocol.tick(nowMs));
  }

  #carryOut(effect: SharedEffect, changed: Set<string | undefined>): void {
    switch (effect.kind) {
      case "changed":
        return void changed.add(effect.node);
      case "store-boot":
        this.#boot = effect.boot;
        return void this.#boots.store(effect.boot);
      case "hint":
        this.#cancelHint();
        this.#cancelHint = this.#options.clock.after(effect.delayMs, () => this.onHint(effect.revision));
        return undefined;
      case "event":
        return this.#options.onEvent(effect.event);
      case "takeover":
        return this.#takeOver(effect.takeover);
      default:
        return effect satisfies never;
    }
  }
}

const SHARED: ReadonlySet<string> = new Set<SharedEffect["kind"]>([
  "store-boot",
  "hint",
  "event",
  "changed",
  "takeover",
]);

function isShared<E extends { kind: string }>(effect: E | SharedEffect): effect is SharedEffect {
  return SHARED.has(effect.kind);
}
