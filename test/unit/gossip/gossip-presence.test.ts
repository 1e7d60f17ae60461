// Whose word is present: what a node relays of another is known and never fresh, and only the node itself can prove that it lives.

import { beforeEach, describe, expect, test } from "vitest";

import { Gossip } from "../../../agent/gossip/core/gossip.ts";
import type { Message } from "../../../agent/gossip/core/message.ts";
import { describeProof, signRecord } from "../../../agent/gossip/core/record.ts";
import { beginRelayPeer, askWith, takeAnchor, takeStanding } from "../../../agent/gossip/core/relay-peer.ts";
import type { Effect } from "../../../agent/gossip/core/state.ts";
import { tagSigner } from "../../../scripts/lab/gossip/gossip-wire.ts";

const NAMES = ["vm-a", "vm-b", "vm-c"];
const [B, C] = [1, 2];
let gossip: Gossip;
let nonces = 0;

function record(boot: number, seq: number, start: string): Message {
  const services = { db: { ready: true, state: "healthy", start } };
  const words = { v: 1 as const, realm: "prod", node: "vm-c", boot, seq, services };
  return { t: "record", record: signRecord(words, tagSigner("key-vm-c")) };
}

beforeEach(() => {
  const options = { node: "vm-a", realm: "prod", publicKey: "key-vm-a", boot: 1, signer: tagSigner("key-vm-a") };
  gossip = new Gossip({ ...options, rng: () => 0.5, newNonce: () => `nonce-${(nonces += 1)}` }, 0);
  gossip.setRoster(0, new Map(NAMES.map((node) => [node, { publicKey: `key-${node}`, address: "" }])), new Set());
  for (const [id, node] of NAMES.entries()) if (id > 0) gossip.linkUp(0, { id, node, dialler: "vm-a" });
});

test("a record that another relays is known and not present, though its owner has a live link", () => {
  // The owner's agent has just started anew: what its last life said is what others still hold.
  gossip.receive(10, B, record(1, 9, "before"));
  expect(gossip.look("vm-c")).toMatchObject({ words: { boot: 1 }, stale: "what vm-c said last has not arrived yet" });
  gossip.receive(20, C, record(2, 1, "now"));
  expect(gossip.look("vm-c")).toMatchObject({ words: { boot: 2 }, stale: undefined });
  // Nor does a relayed newer one, until its owner says it as well.
  gossip.receive(30, B, record(2, 2, "next"));
  expect(gossip.look("vm-c").stale).toBe("what vm-c said last has not arrived yet");
  gossip.receive(40, C, record(2, 2, "next"));
  expect(gossip.look("vm-c").stale).toBeUndefined();
});

describe("a node whose link has fallen silent", () => {
  let nowMs = 0;

  /** Time passes in which vm-b alone is heard; answers what vm-b was asked. */
  function pass(forMs: number): Extract<Message, { t: "ask" }>[] {
    const effects: Effect[] = [];
    for (const endMs = nowMs + forMs; nowMs < endMs;) {
      nowMs += 100;
      gossip.receive(nowMs, B, { t: "beat" });
      effects.push(...gossip.tick(nowMs));
    }
    return effects.flatMap((one) =>
      one.kind === "send" && one.link === B && one.message.t === "ask" ? [one.message] : [],
    );
  }

  function proof(ask: Extract<Message, { t: "ask" }>, key: string, nonce = ask.nonce): Message {
    const version = { boot: 2, seq: 1 };
    const text = describeProof({ realm: "prod", node: "vm-c", to: "vm-a", nonce, ...version });
    return {
      t: "proof",
      target: "vm-c",
      asker: "vm-a",
      nonce: ask.nonce,
      ...version,
      signature: tagSigner(key).sign(text),
    };
  }

  const state = (): string | undefined => gossip.view().find(({ node }) => node === "vm-c")?.state;

  beforeEach(() => {
    nowMs = 0;
    gossip.receive(0, C, record(2, 1, "now"));
  });

  test("is alive at first, and its word is present", () => {
    expect([state(), gossip.look("vm-c").stale]).toEqual(["alive", undefined]);
  });

  test("lives by its own proof through another, and its last word is present", () => {
    const ask = pass(3_500).at(-1);
    if (ask === undefined) throw new Error("nobody was asked");
    gossip.receive(nowMs, B, proof(ask, "key-vm-c"));
    expect(gossip.view().find(({ node }) => node === "vm-c")).toMatchObject({
      state: "alive",
      why: "alive by a proof through vm-b",
      stale: undefined,
    });
  });

  test.each<[string, (ask: Extract<Message, { t: "ask" }>) => Message]>([
    ["signed by the one who passes it on", (ask) => proof(ask, "key-vm-b")],
    ["without a signature", (ask) => ({ ...proof(ask, "key-vm-c"), signature: "" }) as Message],
    ["for another question", (ask) => proof(ask, "key-vm-c", "nonce-of-old")],
    [
      "to a question that was never asked",
      (ask) => ({ ...proof(ask, "key-vm-c", "nonce-of-old"), nonce: "nonce-of-old" }) as Message,
    ],
  ])("is not alive by a proof %s", (_how, forge) => {
    let forged = 0;
    for (let second = 0; second < 15; second += 1) {
      const ask = pass(1_000).at(-1);
      if (ask === undefined) continue;
      gossip.receive(nowMs, B, forge(ask));
      forged += 1;
    }
    expect(forged).toBeGreaterThan(3);
    expect(state()).toMatch(/^(suspect|dead)$/);
    expect(gossip.look("vm-c").stale).toMatch(/^vm-c is (suspect|dead)/);
  });
});

describe("through a server", () => {
  const standing = (boot: number, beat: number) => ({ node: "vm-c", boot, seq: 1, beat, upMs: beat * 1_000 });

  test("a life that was followed by another does not come back, by no proof", () => {
    const peer = beginRelayPeer("vm-c", 0);
    askWith(peer, "one", 0);
    expect(takeAnchor(peer, standing(5, 1), "one")).toBe(true);
    askWith(peer, "two", 1_000);
    expect(takeAnchor(peer, standing(4, 90), "two")).toBe(false);
    expect(peer.anchor?.boot).toBe(5);
    expect(takeAnchor(peer, standing(6, 1), "two")).toBe(true);
  });

  test("the newest heartbeat said once more is a repetition, as any older one", () => {
    const peer = beginRelayPeer("vm-c", 0);
    askWith(peer, "one", 0);
    takeAnchor(peer, standing(5, 1), "one");
    expect([2, 2, 1, 3].map((beat) => takeStanding(peer, standing(5, beat), 9_000))).toEqual([
      "taken",
      "replayed",
      "replayed",
      "taken",
    ]);
  });
});
