// The pure parts of the gossip: order of records, framing, who is linked with whom, and how silence is judged.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { Gossip } from "../../../agent/gossip/core/gossip.ts";
import { selectLinked } from "../../../agent/gossip/core/links.ts";
import { encodeMessage, type Message, MessageReader } from "../../../agent/gossip/core/message.ts";
import { judgeReachability } from "../../../agent/gossip/core/reachability.ts";
import {
  compareRecords,
  isSigned,
  readRecord,
  type RecordBody,
  signRecord,
} from "../../../agent/gossip/core/record.ts";
import type { Effect } from "../../../agent/gossip/core/state.ts";
import { tagSigner } from "../../../scripts/lab/gossip/gossip-wire.ts";
import { LARGEST_BODY, LARGEST_FRAME_BYTES, TICK_MS } from "../../../agent/gossip/settings.ts";

const words: RecordBody = {
  v: 1,
  realm: "prod",
  node: "vm-a",
  boot: 3,
  seq: 7,
  services: { db: { ready: true, state: "healthy" } },
};
const signer = tagSigner("key-a");

describe("records", () => {
  test("boot comes before seq, and two of one version are ordered the same everywhere", () => {
    const at = (boot: number, seq: number, why = ""): ReturnType<typeof signRecord> =>
      signRecord({ ...words, boot, seq, services: { db: { ready: true, state: "healthy", why } } }, signer);
    expect(compareRecords(at(2, 900), at(3, 1))).toBeLessThan(0);
    expect(compareRecords(at(3, 2), at(3, 1))).toBeGreaterThan(0);
    const [one, other] = [at(3, 1, "a"), at(3, 1, "b")];
    expect(Math.sign(compareRecords(one, other))).toBe(-Math.sign(compareRecords(other, one)));
    expect(compareRecords(one, other)).not.toBe(0);
  });

  test("a body that says something else than its header, or is changed after it was signed, is not believed", () => {
    const record = signRecord(words, signer);
    expect(isSigned(record, "key-a", signer)).toBe(true);
    expect(isSigned(record, "key-b", signer)).toBe(false);
    expect(isSigned({ ...record, body: record.body.replace("healthy", "unknown") }, "key-a", signer)).toBe(false);
    expect(readRecord({ ...record, seq: 8 })).toBeUndefined();
    expect(readRecord({ ...record, node: "vm-b" })).toBeUndefined();
    expect(readRecord({ ...record, body: "{" })).toBeUndefined();
    expect(readRecord(record)).toEqual(words);
  });

  test("what is too long loses its explanations and no service", () => {
    const services = Object.fromEntries(
      Array.from({ length: 400 }, (_, index) => [
        `service-${index}`,
        { ready: false, state: "waiting", why: "w".repeat(300), start: "abcdef@1" },
      ]),
    );
    const record = signRecord({ ...words, services }, signer);
    expect(record.body.length).toBeLessThan(LARGEST_BODY);
    const read = readRecord(record);
    expect(Object.keys(read?.services ?? {})).toHaveLength(400);
    expect(read?.services["service-0"]).toEqual({ ready: false, state: "waiting", start: "abcdef@1" });
  });
});

test("a change is one message for every peer, so that it is encoded once", () => {
  const options = { node: "vm-a", realm: "prod", publicKey: "key-a", boot: 1, signer, rng: () => 0.5 };
  const gossip = new Gossip({ ...options, newNonce: () => "nonce-1234" }, 0);
  const names = ["vm-a", "vm-b", "vm-c", "vm-d"];
  gossip.setRoster(0, new Map(names.map((node) => [node, { publicKey: `key-${node}`, address: "" }])), new Set());
  for (const [id, node] of names.entries()) if (node !== "vm-a") gossip.linkUp(0, { id, node, dialler: node });
  const sent = gossip
    .publish(1_000, words.services, undefined)
    .flatMap((effect) => (effect.kind === "send" ? [effect.message] : []));
  expect(sent).toHaveLength(3);
  expect(new Set(sent).size).toBe(1);
});

test("a process that ends closes its port after its streams: the next dial is not left to the next tick", () => {
  const options = { node: "vm-a", realm: "prod", publicKey: "key-a", boot: 1, signer, rng: () => 0.5 };
  const gossip = new Gossip({ ...options, newNonce: () => "nonce-1234" }, 0);
  const names = ["vm-a", "vm-b"];
  gossip.setRoster(0, new Map(names.map((node) => [node, { publicKey: `key-${node}`, address: "" }])), new Set());
  gossip.linkUp(0, { id: 1, node: "vm-b", dialler: "vm-a" });
  expect(gossip.linkDown(1_000, 1)).toContainEqual({ kind: "dial", node: "vm-b", address: "" });
  const wakes = gossip.dialFailed(1_001, "vm-b", false).flatMap((one) => (one.kind === "wake" ? [one.afterMs] : []));
  expect(wakes).toHaveLength(1);
  const [afterMs = Infinity] = wakes;
  expect(afterMs).toBeLessThanOrEqual(51);
  // A timer may come early by a part of a millisecond.
  expect(gossip.tick(1_001 + afterMs - 0.9)).toContainEqual({ kind: "dial", node: "vm-b", address: "" });
  gossip.dialFailed(1_002 + afterMs, "vm-b", true);
  expect(gossip.view()[0]).toMatchObject({ state: "dead", why: "its port refuses connections" });
});

describe("frames", () => {
  const messages: Message[] = [
    { t: "beat" },
    { t: "beat", sum: "0011223344556677" },
    { t: "record", record: signRecord(words, signer) },
    { t: "digest", have: [["vm-a", 3, 7]], sum: "0011223344556677", reply: true },
    { t: "ask", target: "vm-b", nonce: "abcdefgh" },
    { t: "hint", revision: "a".repeat(40) },
  ];

  test("come out as they went in, however the stream is cut", () => {
    const bytes = Buffer.concat(messages.map(encodeMessage));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sizes) => {
        const reader = new MessageReader();
        const got: Message[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const size = sizes[turn % sizes.length] ?? 1;
          got.push(...reader.push(bytes.subarray(at, at + size)));
          at += size;
        }
        expect(got).toEqual(messages);
      }),
    );
  });

  test("a frame that is too large is refused by its header alone; nonsense throws and never hangs", () => {
    const header = Buffer.alloc(4);
    header.writeUInt32BE(LARGEST_FRAME_BYTES + 1);
    expect(() => new MessageReader().push(header)).toThrow(/a frame of 65537 bytes/);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (garbage) => {
        const frame = Buffer.alloc(4 + garbage.length);
        frame.writeUInt32BE(garbage.length, 0);
        frame.set(garbage, 4);
        // Eight bytes are a sum; nothing else made by chance is a message.
        if (garbage.length === 8) return;
        expect(() => new MessageReader().push(frame)).toThrow(/frame|JSON|Unexpected|position/);
      }),
    );
  });
});

test("who looked at a peer's words while it was silent is told that they are fresh again, though no tick fell into the silence", () => {
  const options = { node: "vm-a", realm: "prod", publicKey: "key-a", boot: 1, signer, rng: () => 0.5 };
  const gossip = new Gossip({ ...options, newNonce: () => "nonce-1234" }, 0);
  gossip.setRoster(
    0,
    new Map(["vm-a", "vm-b"].map((name) => [name, { publicKey: `key-${name.slice(3)}`, address: name }])),
    new Set(),
  );
  gossip.linkUp(0, { id: 1, node: "vm-b", dialler: "vm-b" });
  gossip.receive(0, 1, { t: "record", record: signRecord({ ...words, node: "vm-b" }, tagSigner("key-b")) });
  for (let nowMs = TICK_MS; nowMs <= 2_700; nowMs += TICK_MS) gossip.tick(nowMs);
  expect(gossip.look("vm-b").stale).toBeUndefined();
  // What this node says itself is no sign of the other.
  gossip.publish(2_850, { db: { ready: true, state: "healthy" } }, undefined);
  expect(gossip.look("vm-b").stale).toBe("what vm-b said last has not arrived yet");
  expect(gossip.receive(2_860, 1, { t: "beat" })).toContainEqual({ kind: "changed", node: "vm-b" });
  expect(gossip.look("vm-b").stale).toBeUndefined();
  // And nobody is told anything of a heartbeat that comes in time.
  expect(gossip.receive(3_500, 1, { t: "beat" }).filter(({ kind }) => kind === "changed")).toEqual([]);
});

describe("links", () => {
  const roster = (count: number): Map<string, unknown> =>
    new Map(Array.from({ length: count }, (_, index) => [`n${String(index).padStart(4, "0")}`, undefined]));

  test("a small fleet is a full mesh", () => {
    expect(selectLinked(roster(64), "n0003", { interests: new Set(), meshLimit: 64 }).linked.size).toBe(63);
  });

  test("beyond, views are compared with those of the ring alone: a link for one owner's word is kept free for it", () => {
    const members = new Map([...roster(70).keys()].map((node) => [node, { publicKey: node, address: node }]));
    const options = { node: "n0000", realm: "prod", publicKey: "n0000", boot: 1, signer: tagSigner("n0000") };
    const gossip = new Gossip({ ...options, rng: () => 0.5, newNonce: () => "nonce-123" }, 0);
    gossip.setRoster(0, members, new Set(["n0050"]));
    const names = ["n0050", ...selectLinked(members, "n0000", { interests: new Set(), meshLimit: 64 }).ring];
    for (const [id, node] of names.entries()) gossip.linkUp(0, { id, node, dialler: "n0000" });
    const compared = new Set<string>();
    const beats = new Set<string>();
    const watch = (effects: readonly Effect[]): void => {
      for (const effect of effects) {
        if (effect.kind !== "send" || effect.message.t !== "beat") continue;
        beats.add(names[effect.link] ?? "");
        if (effect.message.sum !== undefined) compared.add(names[effect.link] ?? "");
      }
    };
    for (let atMs = TICK_MS; atMs < 60_000; atMs += TICK_MS) {
      watch(gossip.tick(atMs));
      for (const id of names.keys()) watch(gossip.receive(atMs, id, { t: "beat" }));
    }
    expect([...beats].toSorted()).toEqual(names.toSorted());
    expect([...compared].toSorted()).toEqual(names.slice(1).toSorted());
  });

  test.each([65, 100, 500, 1_000])("in a fleet of %i both ends choose the same few, and all hang together", (count) => {
    const all = roster(count);
    const none = { interests: new Set<string>(), meshLimit: 64 };
    const linked = new Map([...all.keys()].map((node) => [node, selectLinked(all, node, none).linked]));
    for (const [node, others] of linked) {
      expect(others.size).toBeLessThanOrEqual(20);
      for (const other of others) expect(linked.get(other)?.has(node)).toBe(true);
    }
    const reached = new Set(["n0000"]);
    for (const node of reached) for (const other of linked.get(node) ?? []) reached.add(other);
    expect(reached.size).toBe(count);
  });
});

describe("silence", () => {
  const base = { heard: false, silenceMs: 0, refused: false, noes: 0, candidates: 3, strain: 1 };
  test.each([
    ["heard", { heard: true, silenceMs: 60_000 }, "alive"],
    ["one second", { silenceMs: 1_000 }, "suspect"],
    ["nobody confirms it", { silenceMs: 6_400 }, "suspect"],
    ["for long enough", { silenceMs: 6_600 }, "dead"],
    ["one confirms it", { silenceMs: 4_500, noes: 1 }, "dead"],
    ["three confirm it", { silenceMs: 3_100, noes: 3 }, "dead"],
    ["three confirm it, and this node's own loop lags", { silenceMs: 3_100, noes: 3, strain: 2 }, "suspect"],
    ["a closed port that nobody has confirmed", { refused: true }, "suspect"],
    ["a closed port, confirmed by two", { refused: true, noes: 2 }, "dead"],
    ["a closed port, with nobody to ask", { refused: true, candidates: 0 }, "dead"],
  ] as const)("%s", (_name, evidence, expected) => {
    expect(judgeReachability({ ...base, ...evidence })).toBe(expected);
  });
});
