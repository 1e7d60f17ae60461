// The gossip as the loop sees it, in a test's hand: what other nodes say, and whether that is their present word.

import type { Shell } from "../../agent/gossip/live-peers.ts";
import type { RecordBody, ServiceWord } from "../../agent/gossip/core/record.ts";
import type { PeerView } from "../../agent/gossip/core/gossip.ts";
import type { RosterSource } from "../../agent/gossip/roster.ts";

/** Stands where the shell stands. */
export class FakeGossip implements Shell {
  onChange: () => void = () => undefined;
  onHint: (revision: string) => void = () => undefined;
  /** What the agent said last, and how often it said something new. */
  said: Readonly<Record<string, ServiceWord>> = {};
  sayings = 0;
  readonly hinted: string[] = [];
  roster: RosterSource | undefined;
  closed = false;
  readonly #peers = new Map<string, { words: RecordBody | undefined; stale: string | undefined }>();

  /** Another node says something; without words it is only reached. */
  peerSays(node: string, services: Readonly<Record<string, ServiceWord>>): void {
    const words = { v: 1 as const, realm: "prod", node, boot: 1, seq: 1, services };
    this.#peers.set(node, { words, stale: undefined });
    this.onChange();
  }

  /** What a node said last is not its present word any more. */
  peerIsLost(node: string, why: string): void {
    this.#peers.set(node, { words: this.#peers.get(node)?.words, stale: why });
    this.onChange();
  }

  follow(source: RosterSource): void {
    this.roster = source;
  }

  say(services: Readonly<Record<string, ServiceWord>>): void {
    if (JSON.stringify(services) !== JSON.stringify(this.said)) this.sayings += 1;
    this.said = services;
  }

  hint(revision: string): void {
    this.hinted.push(revision);
  }

  look(node: string): { words: RecordBody | undefined; stale: string | undefined } {
    return this.#peers.get(node) ?? { words: undefined, stale: `${node} was not reached yet` };
  }

  view(): PeerView[] {
    return [...this.#peers].map(([node, { words, stale }]) => ({
      ...{ node, forMs: 0, silenceMs: 0, why: "", words, stale },
      state: stale === undefined ? ("alive" as const) : ("dead" as const),
    }));
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}
