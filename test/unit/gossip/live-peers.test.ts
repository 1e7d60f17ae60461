// What the loop is told of other nodes: the same as by looking at all of them each time, at the price of the one that changed.

import * as fc from "fast-check";
import { expect, test } from "vitest";

import type { ServiceStatement } from "../../../agent/gossip/core/record.ts";
import { LivePeers } from "../../../agent/gossip/live-peers.ts";
import type { PeerCold } from "../../../agent/gossip/peer-port.ts";
import type { ColdStartStatement } from "../../../shared/state/cold-start.ts";
import { canonicalJson } from "../../../shared/state/identity.ts";
import type { DesiredState } from "../../../shared/state/desired-state.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { buildDesired, buildTurn } from "../../builders/node/turns.ts";
import { FakeGossip } from "../../fakes/fake-gossip.ts";

const healthy: ServiceStatement = { ready: true, state: "healthy", start: "run-1" };
const backoff = (seconds: number): ServiceStatement => ({
  ready: false,
  state: "backoff",
  why: `next start in ${seconds}s`,
});
const coming = (run: string): ColdStartStatement => ({ run, ageMs: 5, seen: {}, services: {} });

/** A node whose web needs db of node-7 and of node-9. */
function buildWanting(): DesiredState {
  const requires = ["node-7", "node-9"].map((node) => ({
    target: { kind: "service" as const, node, service: "db" },
    expiresMs: undefined,
    then: "fail" as const,
  }));
  const { desired } = buildTurn({ views: [], desired: [buildDesired("web", { requires })] });
  if (desired === undefined) throw new Error("a turn has a desired state here");
  return desired;
}

/** Counts how often the shell is asked. */
class CountingGossip extends FakeGossip {
  looks = 0;
  views = 0;

  override look(node: string): ReturnType<FakeGossip["look"]> {
    this.looks += 1;
    return super.look(node);
  }

  override view(): ReturnType<FakeGossip["view"]> {
    const before = this.looks;
    const view = super.view();
    this.views += 1;
    this.looks = before;
    return view;
  }
}

function openFleet(size: number) {
  const gossip = new CountingGossip();
  const desired = buildWanting();
  const peers = new LivePeers(gossip);
  const told = { changes: 0, words: [] as PeerCold[] };
  peers.watch(
    () => void (told.changes += 1),
    () => undefined,
    (changed) => void told.words.push(...changed),
  );
  for (let index = 0; index < size; index += 1) gossip.peerSays(`node-${index}`, { db: healthy });
  peers.read(desired);
  Object.assign(told, { changes: 0, words: [] });
  gossip.looks = 0;
  gossip.views = 0;
  return { gossip, desired, peers, told };
}

test.each([10, 500])("in a realm of %i nodes a record costs one look at its node", (size) => {
  const { gossip, told } = openFleet(size);
  for (let round = 0; round < 20; round += 1) gossip.peerSays("node-3", { db: backoff(round) });
  expect({ looks: gossip.looks, views: gossip.views, ...told }).toEqual({ looks: 20, views: 0, changes: 0, words: [] });
  gossip.peerSays("node-7", { db: backoff(1) });
  expect({ looks: gossip.looks, views: gossip.views, ...told }).toEqual({ looks: 21, views: 0, changes: 1, words: [] });
});

test("what changes back before the loop has read it is no change any more", () => {
  const { gossip, told } = openFleet(10);
  gossip.peerIsLost("node-7", "node-7 is dead: its port refuses connections");
  gossip.peerSays("node-1", { db: healthy });
  expect(told.changes).toBe(2);
  gossip.peerSays("node-7", { db: healthy });
  gossip.peerSays("node-1", { db: healthy });
  expect(told.changes).toBe(2);
});

test("a node that is waited for and belongs to no realm is known as such, and counts once it comes", () => {
  const { gossip, desired, peers, told } = openFleet(5);
  const before = peers.read(desired);
  expect(before).toMatchObject({
    services: { "node-7/db": { healthy: false, message: "node-7 was not reached yet" } },
  });
  gossip.peerSays("node-7", { db: healthy });
  expect(told).toMatchObject({ changes: 1, words: [{ node: "node-7", why: undefined }] });
  expect(peers.read(desired)).toMatchObject({ services: { "node-7/db": { healthy: true } } });
});

const node = fc.integer({ min: 0, max: 9 }).map((index) => `node-${index}`);
const word = fc.oneof(
  fc.constant(healthy),
  fc.integer({ min: 1, max: 9 }).map(backoff),
  fc.constant<ServiceStatement>({ ready: false, state: "waiting", waiting: ["node-7/db"] }),
  fc.constant<ServiceStatement>({ ready: false, state: "stopped" }),
);
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("says" as const), node, word, isBare: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("cold" as const), node, run: fc.constantFrom("r1", "r2") }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("lost" as const), node, why: fc.constantFrom("dead", "left") }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("leaves" as const), node }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("read" as const) }) },
);

/** What the property found: it comes again with the words that it had, in another place of the list. */
const COMES_AGAIN: (typeof step extends fc.Arbitrary<infer Step> ? Step : never)[] = [
  { kind: "says", node: "node-9", word: healthy, isBare: false },
  { kind: "says", node: "node-7", word: healthy, isBare: false },
  { kind: "read" },
  { kind: "leaves", node: "node-9" },
  { kind: "says", node: "node-9", word: healthy, isBare: false },
];

test("any sequence: it tells of a change exactly where a whole new look would answer differently", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { gossip, desired, peers, told } = openFleet(6);
      /** A whole new look by somebody who remembers nothing. */
      const answer = (): string => {
        const fresh = new LivePeers(gossip);
        const known = fresh.read(desired);
        const cold = fresh.coldStartStatements().map((peer) => peer.word && [peer.node, peer.word.run, peer.word.done]);
        // A node that left and came again stands elsewhere in the list: that is no other answer.
        const words = cold
          .flatMap((entry) => (entry === undefined ? [] : [JSON.stringify(entry)]))
          .toSorted(compareText);
        return canonicalJson({ known, words });
      };
      let read = answer();
      for (const one of steps) {
        const changes = told.changes;
        if (one.kind === "says") gossip.peerSays(one.node, one.isBare ? {} : { db: one.word });
        if (one.kind === "cold") gossip.peerSays(one.node, { db: healthy }, coming(one.run));
        if (one.kind === "lost") gossip.peerIsLost(one.node, one.why);
        if (one.kind === "leaves") gossip.peerLeaves(one.node);
        if (one.kind === "read") {
          peers.read(desired);
          read = answer();
        }
        expect(told.changes - changes).toBe(one.kind !== "read" && answer() !== read ? 1 : 0);
        expect(peers.coldStartStatements()).toEqual(new LivePeers(gossip).coldStartStatements());
      }
    }),
    { examples: [[COMES_AGAIN]] },
  );
});
