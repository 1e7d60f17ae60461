// The gossip through a server that nobody trusts: what it may repeat, hold back, slow down, forget or make up, no dead node looks
// alive for it, nothing forged is believed, and who is cut off from it knows nothing of others.

import { describe, expect, test } from "vitest";

import { signRecord } from "../../../agent/gossip/core/record.ts";
import { type RelayMessage, signRelayed } from "../../../agent/gossip/core/relay-message.ts";
import { buildSigner, RelayFleet } from "../../builders/gossip/relay-fleet.ts";

const READY = { ready: true, state: "healthy" };

function db(fleet: RelayFleet, by: string, of = "vm1"): string | undefined {
  return fleet.relay(by).look(of).words?.services["db"]?.start;
}

function stale(fleet: RelayFleet, by: string, of = "vm1"): string | undefined {
  return fleet.relay(by).look(of).stale;
}

function beats(fleet: RelayFleet, of: string): Extract<RelayMessage, { t: "beat" }>[] {
  return fleet.log.flatMap((message) => (message.t === "beat" && message.node === of ? [message] : []));
}

describe("three nodes and a server", () => {
  test("know each other at once, and a change the moment it is put", () => {
    const fleet = new RelayFleet(3);
    fleet.advance(2_000);
    for (const by of ["vm2", "vm3"]) expect([fleet.state("vm1", by), stale(fleet, by)]).toEqual(["alive", undefined]);
    fleet.publish("vm1", { db: { ...READY, start: "one" } });
    expect([db(fleet, "vm2"), stale(fleet, "vm2")]).toEqual(["one", undefined]);
    fleet.advance(3_600_000);
    expect([db(fleet, "vm2"), stale(fleet, "vm2")]).toEqual(["one", undefined]);
    for (const { events } of fleet.hosts.values())
      expect(events.filter((event) => event.kind !== "peer" || event.state !== "alive")).toEqual([]);
  });

  test("an end that was told is known at once; a crash by three missed heartbeats, reported once by the lowest name", () => {
    const fleet = new RelayFleet(4);
    fleet.advance(2_000);
    fleet.leave("vm4");
    expect([fleet.state("vm4", "vm1"), stale(fleet, "vm1", "vm4")]).toEqual([
      "left",
      "the agent of vm4 was told to end",
    ]);
    fleet.kill("vm3");
    fleet.advance(12_000);
    expect(fleet.state("vm3", "vm1")).toBe("alive");
    fleet.advance(8_000);
    expect(stale(fleet, "vm1", "vm3")).toMatch(/^vm3 is suspect: it is not heard through the server/);
    fleet.advance(120_000);
    expect(fleet.state("vm3", "vm1")).toBe("dead");
    const reports = [...fleet.hosts.values()].map(({ node, events }) => [
      node,
      events.filter(({ kind }) => kind === "unreachable").length,
    ]);
    expect(reports).toEqual([
      ["vm1", 1],
      ["vm2", 0],
      ["vm3", 0],
      ["vm4", 0],
    ]);
  });

  test("a restart is known by a proof of the new life, and its record is believed from then on", () => {
    const fleet = new RelayFleet(2);
    fleet.advance(2_000);
    fleet.publish("vm1", { db: { ...READY, start: "one" } });
    fleet.kill("vm1");
    fleet.advance(3_000);
    fleet.start("vm1");
    fleet.publish("vm1", { db: { ...READY, start: "two" } });
    fleet.advance(2_000);
    expect([db(fleet, "vm2"), stale(fleet, "vm2")]).toEqual(["two", undefined]);
  });

  test("a watch that died without a word: what a heartbeat tells of and has not come is asked for, now and then, until it is here", () => {
    const fleet = new RelayFleet(3);
    fleet.advance(20_000);
    expect([...fleet.hosts.values()].flatMap(({ fetched }) => fetched)).toEqual([]);
    fleet.meddleValue = (record, to) => (to === "vm2" && record.node === "vm1" ? [] : [record]);
    fleet.meddleFetch = () => undefined;
    fleet.publish("vm1", { db: { ...READY, start: "one" } });
    expect(stale(fleet, "vm2")).toBeUndefined();
    fleet.advance(20_000);
    expect(stale(fleet, "vm2")).toBe("what vm1 said last has not arrived yet");
    const asked = fleet.of("vm2").fetched.length;
    expect(asked).toBeGreaterThanOrEqual(4);
    expect(asked).toBeLessThanOrEqual(7);
    expect([fleet.of("vm1").fetched, fleet.of("vm3").fetched]).toEqual([[], []]);
    fleet.meddleFetch = (record) => record;
    fleet.advance(4_000);
    expect([db(fleet, "vm2"), stale(fleet, "vm2")]).toEqual(["one", undefined]);
    const settled = fleet.of("vm2").fetched.length;
    fleet.advance(60_000);
    expect(fleet.of("vm2").fetched).toHaveLength(settled);
  });

  test("a hint of a new revision reaches all, once", () => {
    const fleet = new RelayFleet(3);
    fleet.hint("vm1", "b".repeat(40));
    fleet.hint("vm1", "b".repeat(40));
    expect([fleet.of("vm2").hints, fleet.of("vm3").hints]).toEqual([["b".repeat(40)], ["b".repeat(40)]]);
    expect(fleet.relay("vm2").stats.counts.hintsReceived).toBe(1);
  });
});

describe("a server that does not answer", () => {
  test("makes everybody unknown at once, with the reason; nobody is called dead; all is well when it is back", () => {
    const fleet = new RelayFleet(3);
    fleet.advance(2_000);
    fleet.publish("vm1", { db: { ...READY, start: "one" } });
    for (const node of fleet.hosts.keys()) fleet.disconnect(node, "nats://10.0.0.5 cannot be used: ECONNREFUSED");
    expect(fleet.state("vm1", "vm2")).toBe("unknown");
    expect(stale(fleet, "vm2")).toBe("vm1 was not reached yet: nats://10.0.0.5 cannot be used: ECONNREFUSED");
    fleet.publish("vm1", { db: { ...READY, start: "two" } });
    fleet.advance(600_000);
    for (const node of fleet.hosts.keys()) fleet.connect(node);
    fleet.advance(2_000);
    expect([db(fleet, "vm2"), stale(fleet, "vm2"), fleet.state("vm1", "vm3")]).toEqual(["two", undefined, "alive"]);
    const kinds = [...fleet.hosts.values()].flatMap(({ events }) =>
      events.flatMap((event) => (event.kind === "peer" ? [event.state] : [event.kind])),
    );
    expect(new Set(kinds)).toEqual(new Set(["alive", "unknown"]));
  });

  test("one that lost its bucket gets it back from the owners, and one that is overwritten as well", () => {
    const fleet = new RelayFleet(2);
    fleet.advance(2_000);
    fleet.publish("vm1", { db: { ...READY, start: "one" } });
    fleet.put("vm1", undefined);
    fleet.advance(3_000);
    expect(fleet.bucket.get("vm1")?.body).toContain('"one"');
  });

  test("a process that was stopped for a while calls nobody dead when it goes on", () => {
    const fleet = new RelayFleet(2);
    fleet.advance(2_000);
    const { relay } = fleet.of("vm2");
    fleet.of("vm2").relay = undefined;
    fleet.advance(300_000);
    fleet.of("vm2").relay = relay;
    fleet.advance(6_000);
    expect(fleet.state("vm1", "vm2")).toBe("alive");
    expect(fleet.of("vm2").events.flatMap((event) => (event.kind === "peer" ? [event.state] : []))).not.toContain(
      "dead",
    );
  });
});

describe("a server that lies", () => {
  test("repeating heartbeats of a dead node: it does not look alive, and the repetition is counted", () => {
    const fleet = new RelayFleet(2);
    fleet.advance(60_000);
    fleet.kill("vm1");
    const said = beats(fleet, "vm1");
    for (let round = 0; round < 40; round += 1) {
      for (const beat of said.slice(-3)) fleet.inject(beat);
      fleet.advance(1_000);
    }
    expect(stale(fleet, "vm2")).toMatch(/^vm1 is (suspect|dead)/);
    expect(fleet.relay("vm2").stats.refused["replayed-record"]).toBeGreaterThan(20);
  });

  test("to a node that has just started, with all that was ever said, one after the other: it asks, and nobody answers", () => {
    const fleet = new RelayFleet(2);
    fleet.publish("vm1", { db: { ...READY, start: "one" } });
    fleet.advance(600_000);
    fleet.kill("vm1");
    fleet.start("vm2");
    for (const beat of beats(fleet, "vm1")) {
      fleet.inject(beat);
      fleet.advance(2_000);
      expect(stale(fleet, "vm2")).toMatch(/^vm1 was not reached yet/);
    }
    // Nor do answers to the questions of another life help.
    for (const message of fleet.log.filter(({ t }) => t === "proof")) fleet.inject(message);
    expect(db(fleet, "vm2")).toBe("one");
    expect(stale(fleet, "vm2")).toMatch(/^vm1 was not reached yet/);
  });

  test("holding heartbeats back and giving them out slowly: what they say of their owner's clock tells how old they are", () => {
    const fleet = new RelayFleet(2);
    const kept: RelayMessage[] = [];
    fleet.advance(10_000);
    fleet.meddle = (message, to) => {
      if (message.t !== "beat" || message.node !== "vm1" || to !== "vm2") return [message];
      kept.push(message);
      return [];
    };
    fleet.advance(10_000);
    // Each later than it was due, as if the node lived for twice as long as it did: half of the time it says was its own.
    for (let round = 0; round < 8; round += 1) {
      const next = kept.shift();
      if (next !== undefined) fleet.inject(next);
      fleet.advance(10_000);
      if (round === 4) fleet.kill("vm1");
    }
    expect(kept.length).toBeGreaterThan(3);
    expect(stale(fleet, "vm2")).toMatch(/^vm1 is (suspect|dead)/);
    for (const message of kept.splice(0)) {
      fleet.inject(message);
      expect(stale(fleet, "vm2")).toMatch(/^vm1 is (suspect|dead)/);
      fleet.advance(1_000);
    }
  });

  test("keeping the newest record back: its owner's heartbeat says that there is one", () => {
    const fleet = new RelayFleet(2);
    fleet.publish("vm1", { db: { ...READY, start: "one" } });
    fleet.advance(6_000);
    fleet.meddleValue = (record, to) => (to === "vm2" && record.node === "vm1" ? [] : [record]);
    fleet.meddleFetch = () => undefined;
    fleet.publish("vm1", { db: { ready: false, state: "unhealthy", start: "one" } });
    fleet.advance(6_000);
    expect(fleet.relay("vm2").look("vm1").words?.services["db"]?.ready).toBe(true);
    expect(stale(fleet, "vm2")).toBe("what vm1 said last has not arrived yet");
  });

  test("putting an older record in place of the newest, or another node's, or one of another realm: refused, and put right", () => {
    const fleet = new RelayFleet(3);
    fleet.publish("vm1", { db: { ...READY, start: "one" } });
    const old = fleet.bucket.get("vm1");
    fleet.advance(2_000);
    fleet.publish("vm1", { db: { ...READY, start: "two" } });
    fleet.put("vm1", old);
    expect(db(fleet, "vm2")).toBe("two");
    fleet.put("vm1", fleet.bucket.get("vm3"));
    const stage = { v: 1 as const, realm: "stage", node: "vm1", boot: 9, seq: 9, services: {} };
    fleet.put("vm1", signRecord(stage, buildSigner("vm1")));
    expect(db(fleet, "vm2")).toBe("two");
    const { refused } = fleet.relay("vm2").stats;
    expect([refused["replayed-record"], refused["bad-frame"], refused["forged-record"]]).toEqual([1, 1, 1]);
    fleet.advance(3_000);
    expect(fleet.bucket.get("vm1")?.body).toContain('"two"');
    fleet.start("vm3");
    fleet.advance(3_000);
    expect([db(fleet, "vm3"), stale(fleet, "vm3")]).toEqual(["two", undefined]);
  });
});

describe("another client of the server", () => {
  test("that signs with its own key speaks for nobody else, in no kind of message", () => {
    const fleet = new RelayFleet(2);
    fleet.advance(2_000);
    const mallory = buildSigner("mallory");
    const words = {
      v: 1 as const,
      realm: "prod",
      node: "vm1",
      boot: 99,
      seq: 1,
      services: { db: { ...READY, start: "evil" } },
    };
    fleet.put("vm1", signRecord(words, mallory));
    const standing = { node: "vm1", boot: 99, seq: 1, beat: 999, upMs: 1 };
    fleet.inject(signRelayed("prod", { t: "beat", ...standing }, mallory));
    fleet.inject(signRelayed("prod", { t: "hint", node: "vm1", revision: "c".repeat(40) }, mallory));
    expect([db(fleet, "vm2"), fleet.of("vm2").hints]).toEqual([undefined, []]);
    expect(fleet.relay("vm2").stats.refused["forged-record"]).toBe(3);
    // A word for another realm, of the right key.
    fleet.inject(signRelayed("stage", { t: "beat", ...standing }, buildSigner("vm1")));
    expect(fleet.relay("vm2").stats.refused["forged-record"]).toBe(4);
    expect(stale(fleet, "vm2")).toBeUndefined();
  });

  test("that floods: what is looked at is bounded, and memory too", () => {
    const fleet = new RelayFleet(2);
    fleet.advance(2_000);
    const mallory = buildSigner("mallory");
    for (let count = 0; count < 20_000; count += 1) {
      fleet.inject(signRelayed("prod", { t: "beat", node: "vm1", boot: 1, seq: 1, beat: count, upMs: 1 }, mallory));
      fleet.inject({ t: "ask", asker: "vm2", target: "vm1", nonce: `flood-${count}` });
    }
    const { refused } = fleet.relay("vm2").stats;
    expect(refused["forged-record"]).toBeLessThan(100);
    expect(refused["too-many-frames"]).toBeGreaterThan(19_000);
    expect(fleet.log.filter(({ t }) => t === "proof").length).toBeLessThan(1_100);
    expect(fleet.of("vm2").events.length).toBeLessThan(10);
  });

  test("a clone of a node: it is noticed, and the disk's counter goes up; a disk that was restored is not a clone", () => {
    const fleet = new RelayFleet(2);
    fleet.start("vm1", 7);
    fleet.publish("vm1", { db: { ...READY, start: "seven" } });
    fleet.kill("vm1");
    fleet.start("vm1", 2);
    fleet.advance(2_000);
    expect(fleet.of("vm1").boot).toBe(8);
    expect(fleet.relay("vm2").look("vm1")).toMatchObject({ words: { boot: 8 } });
    expect(fleet.of("vm1").events.map(({ kind }) => kind)).not.toContain("cloned");
    for (let round = 0; round < 3; round += 1) {
      fleet.advance(6_000);
      const boot = fleet.of("vm1").boot + 5;
      fleet.put(
        "vm1",
        signRecord({ v: 1, realm: "prod", node: "vm1", boot, seq: 1, services: {} }, buildSigner("vm1")),
      );
    }
    expect(fleet.of("vm1").events.map(({ kind }) => kind)).toContain("cloned");
  });
});

test("60 nodes: all are known within a moment, and those that are waited for come first", () => {
  const fleet = new RelayFleet(60, ["vm57"]);
  fleet.advance(1_000);
  expect(fleet.state("vm57", "vm5")).toBe("alive");
  fleet.advance(6_000);
  expect(
    fleet
      .relay("vm5")
      .view()
      .filter(({ state }) => state !== "alive"),
  ).toEqual([]);
  const before = fleet.log.length;
  fleet.advance(60_000);
  // Twelve heartbeats of each in a minute.
  expect(fleet.log.length - before).toBeLessThan(60 * 14);
});
