// The gossip of a running agent over links between nodes: what it needs besides what gossip-shell.ts does. Made by open-gossip.ts.

import {
  beginCounts,
  beginRefusals,
  type GossipStats,
  REFUSAL_KINDS,
  type RefusalKind,
} from "../../../shared/fleet/gossip-stats.ts";
import { Gossip } from "../core/gossip.ts";
import type { Effect, GossipOptions } from "../core/state.ts";
import { isPeerAddress, judgeKey } from "../roster.ts";
import { type SharedEffect, GossipShell, type GossipShellOptions } from "../gossip-shell.ts";
import { Transport } from "./transport.ts";
import { MOST_REASONS, REFUSAL_EVERY_MS } from "../settings.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** What the shell is made from. */
export interface MeshShellOptions extends GossipShellOptions {
  /** `host:port`. */
  listen: string;
}

type LinkEffect = Exclude<Effect, SharedEffect>;

/** How many refusals of each kind there were. */
type Refusals = Readonly<Record<string, number>>;

/** One node's gossip. */
export class MeshShell extends GossipShell<LinkEffect, Gossip> {
  readonly #options: MeshShellOptions;
  readonly #transport: Transport;
  readonly #refused = new Map<string, { count: number; saidMs: number }>();
  readonly #refusedBy = beginRefusals();
  readonly #frames = { sent: 0, received: 0 };

  constructor(options: MeshShellOptions) {
    super(options);
    this.#options = options;
    const colon = options.listen.lastIndexOf(":");
    this.#transport = new Transport({
      node: options.node,
      host: options.listen.slice(0, colon).replace(/^\[|\]$/g, ""),
      port: Number(options.listen.slice(colon + 1)),
      identity: options.identity,
      clock: options.clock,
      judgeKey: (key) => judgeKey(this.roster, key),
      isPeerAddress: (address) => isPeerAddress(this.roster, address),
      onUp: (link) => this.tell((gossip, nowMs) => gossip.linkUp(nowMs, link)),
      onDown: (id) => this.tell((gossip, nowMs) => gossip.linkDown(nowMs, id)),
      onDialFailed: (node, refused) => this.tell((gossip, nowMs) => gossip.dialFailed(nowMs, node, refused)),
      onMessage: (id, message) => {
        this.#frames.received += 1;
        this.tell((gossip, nowMs) => gossip.receive(nowMs, id, message));
      },
      onRefused: (kind, reason, address) => this.#refuse(kind, reason, address),
    });
  }

  /** Refused so far, by reason. */
  override get refusals(): Refusals {
    return Object.fromEntries([...this.#refused].map(([reason, { count }]) => [reason, count]));
  }

  /** What was counted since the agent's start. */
  override get stats(): GossipStats {
    const { links, sentBytes, receivedBytes } = this.#transport.traffic;
    const { counts, refused, strain } = this.protocol?.stats ?? {
      counts: beginCounts(),
      refused: undefined,
      strain: 1,
    };
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

  protected override listTroubles(): (string | undefined)[] {
    return [this.#transport.trouble];
  }

  /**
   * A process that is killed closes its files in the order in which it opened them. With the port first, whoever hears the end of a
   * stream and dials is refused, and knows; behind the streams, it would be let in once more and reset.
   */
  protected override openWay(): Promise<void> {
    return this.#transport.start();
  }

  protected override makeProtocol(options: GossipOptions, nowMs: number): Gossip {
    return new Gossip(options, nowMs);
  }

  /** The port is open in every realm. */
  protected override enterRealm(): void {}

  override get hearers(): readonly string[] {
    return this.protocol?.hearers ?? [];
  }

  /** The protocol has ended the links to those who are no longer in its roster. */
  protected override leaveRealm(): void {}

  protected override carry(effect: LinkEffect): void {
    switch (effect.kind) {
      case "send":
        this.#frames.sent += 1;
        return this.#transport.send(effect.link, effect.message);
      case "dial":
        return this.#transport.dial(effect.node, effect.address);
      case "close":
        return this.#transport.end(effect.link);
      case "wake":
        return void this.#options.clock.after(effect.afterMs, () => this.tell((gossip, nowMs) => gossip.tick(nowMs)));
      default:
        return effect satisfies never;
    }
  }

  protected override closeWay(): Promise<void> {
    return this.#transport.close();
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
    const count = known.count === 1 ? "" : ` (${describeCount(known.count, "time")} so far)`;
    this.#options.onEvent({ kind: "refused", node: address, reason: `${reason}${count}` });
  }
}
