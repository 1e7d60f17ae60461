// The gossip as the loop sees it, in a test's hand: what other nodes say, and whether that is their present word.

import type { Shell } from "../../agent/gossip/live-peers.ts";
import type { RecordBody, ServiceStatement } from "../../agent/gossip/core/record.ts";
import type { PeerLook, PeerView } from "../../agent/gossip/core/gossip.ts";
import type { ColdStartStatement } from "../../shared/state/cold-start.ts";
import type { RosterSource } from "../../agent/gossip/roster.ts";

/** Stands where the shell stands. */
export class FakeGossip implements Shell {
  onChange: Shell["onChange"] = () => undefined;
  onHint: (revision: string) => void = () => undefined;
  /** What the agent said last, and how often it said something new. */
  said: Readonly<Record<string, ServiceStatement>> = {};
  sayings = 0;
  readonly hinted: string[] = [];
  tenure: Shell["tenure"] = { kind: "held" };
  roster: RosterSource | undefined;
  closed = false;
  /** What the agent said last of its cold start. */
  cold: ColdStartStatement | undefined;
  readonly #peers = new Map<string, { words: RecordBody | undefined; stale: string | undefined }>();
  #seq = 0;

  /** Another node says something of its services, and of its cold start. */
  peerSays(node: string, services: Readonly<Record<string, ServiceStatement>>, cold?: ColdStartStatement): void {
    this.#seq += 1;
    const isNew = !this.#peers.has(node);
    const words = { v: 1 as const, realm: "prod", node, boot: 1, seq: this.#seq, services, cold };
    this.#peers.set(node, { words, stale: undefined });
    this.onChange(new Set([isNew ? undefined : node]));
  }

  /** What a node said last is not its present word any more. */
  peerIsLost(node: string, why: string): void {
    const isNew = !this.#peers.has(node);
    this.#peers.set(node, { words: this.#peers.get(node)?.words, stale: why });
    this.onChange(new Set([isNew ? undefined : node]));
  }

  /** A node is taken out of fleet.toml. */
  peerLeaves(node: string): void {
    this.#peers.delete(node);
    this.onChange(new Set([undefined]));
  }

  /** Whether the node may run its services is another matter now. */
  judge(tenure: Shell["tenure"]): void {
    this.tenure = tenure;
    this.onChange(new Set());
  }

  follow(source: RosterSource): void {
    this.roster = source;
  }

  say(
    services: Readonly<Record<string, ServiceStatement>>,
    _revision: string | undefined,
    cold?: ColdStartStatement,
  ): void {
    this.cold = cold;
    if (JSON.stringify(services) !== JSON.stringify(this.said)) this.sayings += 1;
    this.said = services;
  }

  hint(revision: string): void {
    this.hinted.push(revision);
  }

  look(node: string): PeerLook {
    const { words, stale } = this.#peers.get(node) ?? { words: undefined, stale: `${node} was not reached yet` };
    return { words, stale, why: "", state: stale === undefined ? "alive" : "dead" };
  }

  view(): PeerView[] {
    return [...this.#peers.keys()].map((node) => ({ node, forMs: 0, silenceMs: 0, ...this.look(node) }));
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}
