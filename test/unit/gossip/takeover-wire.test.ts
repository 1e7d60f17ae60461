// A takeover on real sockets: the spare with the node's name and its own key, a peer that hears it from the spare, and the old machine,
// which the peer turns away with the word that makes it stop. What was heard is on disk, and counts after a restart.

import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

import { signTakeover } from "../../../agent/gossip/core/takeovers.ts";
import { createSigner, describeKey } from "../../../agent/gossip/node-identity.ts";
import { eventually, GossipNode } from "../../builders/gossip/gossip-node.ts";

const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const RECOVERY_KEY = describeKey(publicKey);
const open: GossipNode[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((node) => node.dispose()));
});

async function make(name: string): Promise<GossipNode> {
  const node = await GossipNode.create(name, RECOVERY_KEY);
  open.push(node);
  return node;
}

test("the old machine is told by a peer, stops taking part, and remembers it", async () => {
  const [old, peer, spare] = [await make("vm1"), await make("vm2"), await make("vm1")];
  const fleet = [old.member, peer.member, { ...spare.member, node: "vm9", standbyFor: "vm1" }];
  const source = { fleet, interests: [] };
  old.shell.follow(source);
  peer.shell.follow(source);
  await eventually(() => old.state("vm2") === "alive" && peer.state("vm1") === "alive", 10_000, "the first link");
  await eventually(() => old.shell.tenure.kind === "held", 10_000, "a word of its peer");
  await eventually(() => peer.shell.tenure.kind === "held", 10_000, "a word of the old machine");
  const address = spare.host;
  const takeover = signTakeover(
    { realm: "prod", node: "vm1", spare: "vm9", term: 1, key: spare.identity.publicKey, address },
    createSigner({ privateKey }),
  );
  writeFileSync(join(spare.stateDir, "takeovers.json"), JSON.stringify({ version: 1, takeovers: [takeover] }));
  await spare.shell.close();
  spare.restart();
  spare.shell.follow(source);
  await eventually(() => old.shell.tenure.kind === "replaced", 10_000, "the old machine hears of it");
  await eventually(() => spare.shell.tenure.kind === "held", 10_000, "the spare hears a peer");
  expect(peer.shell.takeovers).toEqual([takeover]);
  expect(peer.events.filter(({ kind }) => kind === "takeover")).toEqual([
    { kind: "takeover", node: "vm1", spare: "vm9", term: 1 },
  ]);
  await eventually(() => peer.state("vm1") === "alive", 10_000, "the peer knows the spare as vm1");
  expect(old.shell.notes.join("\n")).toContain("vm9 stands in the place of this node (takeover 1)");
  // Its agent starts anew: it knows before it has heard anybody.
  await old.shell.close();
  old.restart();
  old.shell.follow(source);
  expect(old.shell.tenure).toEqual({ kind: "replaced", spare: "vm9", term: 1 });
});
