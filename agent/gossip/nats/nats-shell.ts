// The gossip of a running agent through NATS: what it needs besides what gossip-shell.ts does. Made by open-gossip.ts. Never waits for the
// server.

import { beginCounts, beginRefusals, type GossipStats } from "../../../shared/fleet/gossip-stats.ts";
import { Relay } from "../core/relay.ts";
import type { RelayEffect } from "../core/relay-state.ts";
import type { GossipOptions } from "../core/state.ts";
import { type SharedEffect, GossipShell, type GossipShellOptions } from "../gossip-shell.ts";
import { NatsLink } from "./nats-link.ts";
import type { NatsSettings } from "./nats-settings.ts";

/** What the shell is made from. */
export interface NatsShellOptions extends GossipShellOptions {
  nats: NatsSettings;
}

type ServerEffect = Exclude<RelayEffect, SharedEffect>;

/** One node's gossip through NATS. */
export class NatsShell extends GossipShell<ServerEffect, Relay> {
  readonly #options: NatsShellOptions;
  /** The connection of the roster's realm. */
  #link: NatsLink | undefined;

  constructor(options: NatsShellOptions) {
    super(options);
    this.#options = options;
  }

  /** Refused so far, by kind. */
  override get refusals(): Readonly<Record<string, number>> {
    return Object.fromEntries(Object.entries(this.stats.refused).filter(([, count]) => count > 0));
  }

  override get stats(): GossipStats {
    const { counts, refused } = this.protocol?.stats ?? { counts: beginCounts(), refused: beginRefusals() };
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

  protected override listTroubles(): (string | undefined)[] {
    const isClear = this.#options.nats.servers.some((server) => server.startsWith("nats:"));
    const clear = isClear ? "what nodes say travels in clear (signed): write tls:// into gossip.backend" : undefined;
    return [this.#link?.trouble, clear];
  }

  /** Each realm has a connection of its own. */
  protected override openWay(): Promise<void> {
    return Promise.resolve();
  }

  protected override makeProtocol(options: GossipOptions, nowMs: number): Relay {
    return new Relay(options, nowMs);
  }

  protected override enterRealm(realm: string): void {
    const { node, clock, nats: settings } = this.#options;
    const link = new NatsLink({
      node,
      realm,
      clock,
      settings,
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

  protected override leaveRealm(): void {
    void this.#link?.close();
    this.#link = undefined;
  }

  protected override carry(effect: ServerEffect): void {
    switch (effect.kind) {
      case "put":
        return this.#link?.put(effect.record);
      case "fetch":
        return this.#link?.fetch(effect.node);
      case "say":
        return this.#link?.say(effect.message);
      default:
        return effect satisfies never;
    }
  }

  protected override async closeWay(): Promise<void> {
    await this.#link?.close();
  }

  /** A connection of a realm that was left says nothing any more. */
  #hear(link: NatsLink, act: (relay: Relay, nowMs: number) => RelayEffect[]): void {
    if (link === this.#link) this.tell(act);
  }
}
