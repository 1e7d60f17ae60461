// What nodes tell each other of their agents: which version runs and whether it is confirmed; and who has shown that it holds the word of
// this start, which a judge of a new version asks for.

import { expect, test } from "vitest";

import { Gossip } from "../../../agent/gossip/core/gossip.ts";
import type { Message } from "../../../agent/gossip/core/message.ts";
import { readRecord, type RecordBody, signRecord } from "../../../agent/gossip/core/record.ts";
import type { Effect } from "../../../agent/gossip/core/state.ts";
import { TICK_MS } from "../../../agent/gossip/settings.ts";
import { tagSigner } from "../../../scripts/lab/gossip/gossip-wire.ts";
import type { LostNode } from "../../../shared/slo/availability.ts";
import type { AgentWord } from "../../../shared/fleet/agent-version.ts";

const NAMES = ["vm-a", "vm-b"];

/** Two nodes with a link between them, through which everything passes unless it is cut. */
class Pair {
  nowMs = 0;
  cut = false;
  words: Record<string, AgentWord> = {};
  losses: readonly LostNode[] = [];
  readonly nodes: Record<string, Gossip> = {};

  constructor() {
    for (const node of NAMES) this.start(node, 1);
    this.link();
  }

  start(node: string, boot: number): void {
    const gossip = new Gossip(
      {
        node,
        realm: "prod",
        publicKey: `key-${node}`,
        boot,
        signer: tagSigner(`key-${node}`),
        rng: () => 0.5,
        newNonce: () => "nonce-1234",
        agentWord: () => this.words[node],
        lostWord: () => (node === "vm-a" ? this.losses : []),
      },
      this.nowMs,
    );
    gossip.setRoster(
      this.nowMs,
      new Map(NAMES.map((name) => [name, { publicKey: `key-${name}`, address: "" }])),
      new Set(),
    );
    this.nodes[node] = gossip;
  }

  at(node: string): Gossip {
    const gossip = this.nodes[node];
    if (gossip === undefined) throw new Error(`no ${node}`);
    return gossip;
  }

  link(): void {
    for (const node of NAMES) {
      const other = node === "vm-a" ? "vm-b" : "vm-a";
      this.carry(node, this.at(node).linkUp(this.nowMs, { id: 1, node: other, dialler: "vm-a" }));
    }
  }

  carry(from: string, effects: readonly Effect[]): void {
    const messages = effects.flatMap((effect): Message[] => (effect.kind === "send" ? [effect.message] : []));
    const to = from === "vm-a" ? "vm-b" : "vm-a";
    if (!this.cut) for (const message of messages) this.carry(to, this.at(to).receive(this.nowMs, 1, message));
  }

  run(forMs: number): void {
    for (const endMs = this.nowMs + forMs; this.nowMs < endMs; this.nowMs += TICK_MS)
      for (const node of NAMES) this.carry(node, this.at(node).tick(this.nowMs));
  }

  publish(node: string): void {
    this.carry(node, this.at(node).publish(this.nowMs, {}, undefined));
  }
}

test("a node's word of its agent reaches the others, also when only that has changed", () => {
  const pair = new Pair();
  pair.words["vm-a"] = { version: "0.2.0", confirmed: false };
  pair.publish("vm-a");
  pair.run(5_000);
  expect(pair.at("vm-b").look("vm-a").words?.agent).toEqual({ version: "0.2.0", confirmed: false });
  pair.words["vm-a"] = { version: "0.2.0", confirmed: true };
  pair.publish("vm-a");
  pair.run(5_000);
  expect(pair.at("vm-b").look("vm-a").words?.agent).toEqual({ version: "0.2.0", confirmed: true });
  // The same again is no new record.
  const { seq } = pair.at("vm-a").version;
  pair.publish("vm-a");
  pair.run(5_000);
  expect(pair.at("vm-a").version.seq).toBe(seq);
});

test("who holds what this start has said is known; after a new start it has to be shown anew", () => {
  const pair = new Pair();
  pair.publish("vm-a");
  pair.run(10_000);
  expect(pair.at("vm-a").hearers).toEqual(["vm-b"]);
  // A new version starts, and nothing that it says arrives.
  pair.cut = true;
  pair.start("vm-a", 2);
  pair.at("vm-b").linkDown(pair.nowMs, 1);
  pair.link();
  pair.publish("vm-a");
  pair.run(1_000);
  expect(pair.at("vm-a").hearers).toEqual([]);
  pair.cut = false;
  pair.run(10_000);
  expect(pair.at("vm-a").hearers).toEqual(["vm-b"]);
});

test("a word of an agent that this version cannot read is passed over, and the record is believed", () => {
  const words: RecordBody = { v: 1, realm: "prod", node: "vm-a", boot: 1, seq: 1, services: {} };
  const text = JSON.stringify({ ...words, agent: { version: 7 } });
  const record = { ...signRecord(words, tagSigner("key-vm-a")), body: text };
  expect(readRecord(record)).toEqual({ ...words, agent: undefined });
});

test("when a node was lost reaches the others, also when only that has changed; one that nobody can read is passed over", () => {
  const pair = new Pair();
  pair.publish("vm-a");
  pair.run(5_000);
  pair.losses = [{ node: "vm-b", fromMs: 5 }];
  pair.publish("vm-a");
  pair.run(5_000);
  expect(pair.at("vm-b").look("vm-a").words?.lost).toEqual([{ node: "vm-b", fromMs: 5 }]);
  pair.losses = [{ node: "vm-b", fromMs: 5, toMs: 9 }];
  pair.publish("vm-a");
  pair.run(5_000);
  expect(pair.at("vm-b").look("vm-a").words?.lost).toEqual([{ node: "vm-b", fromMs: 5, toMs: 9 }]);
  const { seq } = pair.at("vm-a").version;
  pair.losses = [{ node: "vm-b", fromMs: 5, toMs: 9 }];
  pair.publish("vm-a");
  pair.run(5_000);
  expect(pair.at("vm-a").version.seq).toBe(seq);
  const words: RecordBody = { v: 1, realm: "prod", node: "vm-a", boot: 1, seq: 1, services: {} };
  const record = { ...signRecord(words, tagSigner("key-vm-a")), body: JSON.stringify({ ...words, lost: "vm-b" }) };
  expect(readRecord(record)).toEqual({ ...words, lost: undefined });
});
