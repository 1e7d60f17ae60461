// The gossip of a running agent where it travels through NATS: hands the protocol what happens with the time it happened, and carries
// out what it answers. Stands where GossipShell stands; made by open-gossip.ts. Never waits for the server, and never throws.

import { randomBytes } from "node:crypto";

import type { ColdStartStatement } from "../../../shared/state/cold-start.ts";
import { beginCounts, beginRefusals, type GossipStats } from "../../../shared/fleet/gossip-stats.ts";
import type { CancelTimer } from "../../host/os/clock.ts";
import { BootCounter } from "../boot-counter.ts";
import { type PeerLook, type PeerView } from "../core/gossip.ts";
import type { ServiceStatement } from "../core/record.ts";
import { Relay } from "../core/relay.ts";
import type { RelayEffect } from "../core/relay-state.ts";
import { createSigner } from "../node-identity.ts";
import { buildRoster, describeUnbegun, type Roster, type RosterSource } from "../roster.ts";
import type { ShellOptions } from "../mesh/mesh-shell.ts";
import { NatsLink } from "./nats-link.ts";
import type { NatsSettings } from "./nats-settings.ts";
import { TICK_MS } from "../settings.ts";

/** What the shell is made from. */
export type NatsShellOptions = Omit<ShellOptions, "listen"> & { nats: NatsSettings };

type Said = [
  services: Readonly<Record<string, ServiceStatement>>,
  revision: string | undefined,
  cold?: ColdStartStatement,
];

/** One node's gossip through NATS. */
export class NatsShell {
  readonly #options: NatsShellOptions;
  readonly #boots: BootCounter;
  #relay: Relay | undefined;
  #link: NatsLink | undefined;
  #roster: Roster | undefined;
  #source: RosterSource | undefined;
  #boot: number | undefined;
  #starting: Promise<void> | undefined;
  #said: Said | undefined;
  #cancelTick: CancelTimer = () => undefined;
  #cancelHint: CancelTimer = () => undefined;
  #closed = false;
  onChange: (nodes: ReadonlySet<string | undefined>) => void = () => undefined;
  onHint: (revision: string) => void = () => undefined;

  constructor(options: NatsShellOptions) {
    this.#options = options;
    this.#boots = new BootCounter(options.stateDir, () => options.clock.nowMs());
  }

  /** What keeps this node from taking part, in words. */
  get notes(): string[] {
    const isClear = this.#options.nats.servers.some((server) => server.startsWith("nats:"));
    const clear = isClear ? "what nodes say travels in clear (signed): write tls:// into gossip.backend" : undefined;
    const troubles = [this.#roster?.trouble, this.#link?.trouble, this.#boots.trouble, clear];
    return troubles.flatMap((trouble) => (trouble === undefined ? [] : [`gossip: ${trouble}`]));
  }

  /** Refused so far, by kind. */
  get refusals(): Readonly<Record<string, number>> {
    return Object.fromEntries(Object.entries(this.stats.refused).filter(([, count]) => count > 0));
  }

  get stats(): GossipStats {
    const { counts, refused } = this.#relay?.stats ?? { counts: beginCounts(), refused: beginRefusals() };
    const traffic = this.#link?.traffic;
    return {
      ...counts,
      refused,
      strain: 1,
      links: this.#link?.isUp === true ? 1 : 0,
      framesSent: traffic?.framesSent ?? 0,
      framesReceived: traffic?.framesReceived ?? 0,
      bytesSent: traffic?.sent ?? 0,
      bytesReceived: traffic?.received ?? 0,
    };
  }

  get realm(): string | undefined {
    return this.#roster?.realm;
  }

  /** What this node said last. */
  get words(): Readonly<Record<string, ServiceStatement>> {
    return this.#said?.[0] ?? {};
  }

  view(): PeerView[] {
    return this.#relay?.view() ?? [];
  }

  look(node: string): PeerLook {
    return this.#relay?.look(node) ?? describeUnbegun(this.#roster);
  }

  /** Takes who belongs to the realm; the first time, the gossip begins. */
  follow(source: RosterSource): void {
    if (this.#source?.fleet === source.fleet && this.#source.interests === source.interests) return;
    this.#source = source;
    const { identity, node } = this.#options;
    const before = this.#roster?.realm;
    this.#roster = buildRoster(source, node, identity.publicKey);
    this.#starting ??= this.#start();
    if (this.#relay !== undefined && before !== this.#roster.realm) this.#restart();
    this.#applyRoster();
  }

  say(...said: Said): void {
    this.#said = said;
    this.#tell((relay, nowMs) => relay.publish(nowMs, ...said));
  }

  hint(revision: string): void {
    this.#tell((relay, nowMs) => relay.hint(nowMs, revision));
  }

  /** Says that this agent ends, and ends. */
  async close(): Promise<void> {
    this.#tell((relay, nowMs) => relay.leave(nowMs));
    this.#closed = true;
    this.#cancelTick();
    this.#cancelHint();
    await this.#starting;
    await this.#link?.close();
  }

  async #start(): Promise<void> {
    this.#boot = await this.#boots.raise();
    if (this.#closed) return;
    this.#begin();
    this.#tick();
  }

  /** The protocol and the connection of the roster's realm. */
  #begin(): void {
    const { node, identity, clock, nats } = this.#options;
    const realm = this.#roster?.realm;
    const boot = this.#boot;
    if (realm === undefined || boot === undefined) return;
    this.#relay = new Relay(
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
    const link = new NatsLink({
      node,
      realm,
      clock,
      settings: nats,
      onUp: () => this.#hear(link, (relay, nowMs) => relay.connected(nowMs)),
      onDown: (why) => this.#hear(link, (relay, nowMs) => relay.disconnected(nowMs, why)),
      onValue: (key, record) => this.#hear(link, (relay, nowMs) => relay.takeValue(nowMs, key, record)),
      onMessage: (message) => this.#hear(link, (relay, nowMs) => relay.receive(nowMs, message)),
      onNoise: () => this.#hear(link, (relay, nowMs) => relay.refuseNoise(nowMs)),
      onPutFailed: () => this.#hear(link, (relay, nowMs) => relay.putFailed(nowMs)),
    });
    this.#link = link;
    link.start();
  }

  /** Realms do not mix: this node was put into another one, and knows nothing of it yet. */
  #restart(): void {
    void this.#link?.close();
    this.#link = undefined;
    this.#relay = undefined;
    this.#begin();
    this.onChange(new Set([undefined]));
  }

  #applyRoster(): void {
    const roster = this.#roster;
    if (roster === undefined) return;
    this.#tell((relay, nowMs) => relay.setRoster(nowMs, roster.members, roster.interests));
  }

  #tick(): void {
    if (this.#closed) return;
    this.#cancelTick = this.#options.clock.after(TICK_MS, () => this.#tick());
    this.#tell((relay, nowMs) => relay.tick(nowMs));
  }

  /** A connection of a realm that was left says nothing any more. */
  #hear(link: NatsLink, act: (relay: Relay, nowMs: number) => RelayEffect[]): void {
    if (link === this.#link) this.#tell(act);
  }

  #tell(act: (relay: Relay, nowMs: number) => RelayEffect[]): void {
    if (this.#relay === undefined || this.#closed) return;
    let changed: Set<string | undefined> | undefined;
    for (const effect of act(this.#relay, this.#options.clock.monotonicMs())) {
      if (effect.kind === "changed") (changed ??= new Set()).add(effect.node);
      else this.#carryOut(effect);
    }
    if (changed !== undefined) this.onChange(changed);
  }

  #carryOut(effect: Exclude<RelayEffect, { kind: "changed" }>): void {
    switch (effect.kind) {
      case "put":
        return this.#link?.put(effect.record);
      case "fetch":
        return this.#link?.fetch(effect.node);
      case "say":
        return this.#link?.say(effect.message);
      case "store-boot":
        this.#boot = effect.boot;
        return void this.#boots.store(effect.boot);
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
}
