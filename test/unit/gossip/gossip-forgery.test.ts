// A flood of forged, replayed, truncated and cross-realm messages from a member of the realm, with real Ed25519: none is believed,
// and memory stays flat. ORCA_SLOW=1 makes it a million.

import { generateKeyPairSync } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { expect, test } from "vitest";

import { Gossip } from "../../../agent/gossip/core/gossip.ts";
import { encodeMessage, type Message, MessageReader } from "../../../agent/gossip/core/message.ts";
import { signRecord, type SignedRecord } from "../../../agent/gossip/core/record.ts";
import { createSigner, describeKey } from "../../../agent/gossip/node-identity.ts";
import type { Signer } from "../../../agent/gossip/core/record.ts";
import { seedRng } from "../../../scripts/lab/gossip/event-heap.ts";
import { SLOW } from "../../../scripts/lab/gossip/gossip-checks.ts";

const COUNT = SLOW ? 1_000_000 : 6_000;

function makeKey(): { publicKey: string; signer: Signer } {
  const pair = generateKeyPairSync("ed25519");
  return { publicKey: describeKey(pair.publicKey) ?? "", signer: createSigner(pair) };
}

test(`${COUNT} forged frames: none accepted, memory flat`, { timeout: 600_000 }, () => {
  const keys = { a: makeKey(), b: makeKey(), c: makeKey() };
  const rng = seedRng(5);
  let nonces = 0;
  const gossip = new Gossip(
    {
      node: "a",
      realm: "prod",
      publicKey: keys.a.publicKey,
      boot: 5,
      signer: keys.a.signer,
      rng,
      newNonce: () => `nonce-${(nonces += 1)}000`,
    },
    0,
  );
  const member = (key: { publicKey: string }): { publicKey: string; address: string } => ({
    publicKey: key.publicKey,
    address: "",
  });
  gossip.setRoster(
    0,
    new Map([
      ["a", member(keys.a)],
      ["b", member(keys.b)],
      ["c", member(keys.c)],
    ]),
    new Set(),
  );
  const say = (node: string, boot: number, signer: Signer, realm = "prod"): SignedRecord =>
    signRecord({ v: 1, realm, node, boot, seq: 7, services: { db: { ready: true, state: "healthy" } } }, signer);
  const truth = say("c", 9, keys.c.signer);
  let id = 1;
  gossip.linkUp(0, { id, node: "b", dialler: "b" });
  gossip.receive(0, id, { t: "record", record: truth });
  const forged: ((index: number) => SignedRecord)[] = [
    (index) => say("c", 10 + index, keys.b.signer),
    (index) => ({ ...truth, boot: 10 + index }),
    (index) => ({ ...truth, boot: 10 + index, body: truth.body.replace('"boot":9', `"boot":${10 + index}`) }),
    () => say("c", 8, keys.c.signer),
    (index) => say("c", 10 + index, keys.c.signer, "stage"),
    (index) => say(`x${index % 1_000}`, 1, keys.b.signer),
    (index) => say("a", 10 + index, keys.b.signer),
    () => ({ ...truth, boot: 10, signature: "" }),
  ];
  // Signing is the forger's cost and not what is measured.
  const ready = forged.flatMap((forge) => Array.from({ length: 200 }, (_, index) => forge(index)));
  const frames = ready.map((record) => encodeMessage({ t: "record", record }));
  let nowMs = 0;
  let truncated = 0;
  const before = heapBytes();
  for (let index = 0; index < COUNT; index += 1) {
    nowMs += 0.2;
    const frame = frames[Math.floor(rng() * frames.length)] ?? Buffer.alloc(0);
    for (const message of read(index % 10 === 0 ? frame.subarray(0, frame.length - 9) : frame)) {
      const effects = gossip.receive(nowMs, id, message);
      // Whoever says too much is cut off, and comes again.
      if (effects.some(({ kind }) => kind === "close"))
        gossip.linkUp(nowMs, { id: (id += 1), node: "b", dialler: "b" });
    }
    if (index % 1_000 === 0) gossip.tick(nowMs);
  }
  expect(truncated).toBeGreaterThan(COUNT / 20);
  expect(id).toBeGreaterThan(2);
  expect(gossip.look("c").words).toMatchObject({ boot: 9, seq: 7, realm: "prod" });
  expect(gossip.version).toEqual({ boot: 5, seq: 1 });
  expect(gossip.sizes).toMatchObject({ records: 2, relayed: 0 });
  expect(gossip.view().map(({ node }) => node)).toEqual(["b", "c"]);
  expect(heapBytes() - before).toBeLessThan(16 * 1024 ** 2);

  /** As the transport reads: what is cut off in the middle waits for the rest, and is no message. */
  function read(frame: Buffer): Message[] {
    const messages = new MessageReader().push(frame);
    if (messages.length === 0) truncated += 1;
    return messages;
  }
});

/** What is in use once the garbage is gone. */
function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}
