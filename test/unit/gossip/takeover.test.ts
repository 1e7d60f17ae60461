// A spare in a lost node's place, by seed: the old node returns before the takeover, in its middle, after it, or never went; cut off from
// some or all, with its wall clock a year off. And the rules that this follows from. ORCA_SLOW=1 runs 1,000 seeds.

import { describe, expect, test } from "vitest";

import { buildBody, readRecord, signRecord } from "../../../agent/gossip/core/record.ts";
import { hearTakeovers, outranks, signTakeover } from "../../../agent/gossip/core/takeovers.ts";
import { DIAL_MOST_MS, DIAL_MS, STALLED_MS, TENURE_PATIENCE_MS, TICK_MS } from "../../../agent/gossip/settings.ts";
import { SLOW } from "../../../scripts/lab/gossip/gossip-checks.ts";
import { tagSigner } from "../../../scripts/lab/gossip/gossip-wire.ts";
import { judgeTenure, leadFleet, type SignedTakeover, type Takeover } from "../../../shared/fleet/takeover.ts";
import { RETURNS, TakeoverSim } from "../../builders/gossip/takeover-sim.ts";

/** A link that stalled is dialled beside, or a dial waits its longest; then the stream comes up, and both ends have a turn. */
const ROUND_MS = STALLED_MS + DIAL_MOST_MS + DIAL_MS + 2 * TICK_MS;
const SEEDS = Array.from({ length: SLOW ? 1_000 : 90 }, (_, index) => index + 1);

const VM1: Takeover = { realm: "prod", node: "vm1", spare: "vm9", term: 1, key: "ed25519:new", address: "10.0.0.9" };
const RECOVERY = tagSigner("recovery");
const sign = (change: Partial<Takeover> = {}): SignedTakeover => signTakeover({ ...VM1, ...change }, RECOVERY);

describe.each(RETURNS)("the old node returns: %s", (how) => {
  const seeds = SEEDS.filter((seed) => seed % RETURNS.length === RETURNS.indexOf(how));

  test("no two proxies for longer than a gossip round, and none missing without a word", () => {
    for (const seed of seeds) {
      const run = new TakeoverSim(seed).play(how);
      const at = `seed ${seed}`;
      expect(run.bothMs, at).toBeLessThanOrEqual(ROUND_MS);
      expect(run.noneMs, at).toBeLessThanOrEqual(TENURE_PATIENCE_MS + ROUND_MS);
      expect({ running: run.running, told: run.isTold, tenures: run.tenures }, at).toEqual({
        running: ["n0004"],
        told: true,
        tenures: { n0001: "replaced", n0004: "held" },
      });
    }
  });
});

test("a machine that is cut off from all goes on alone after 30 s: only this keeps two proxies apart for longer", () => {
  const apart = SEEDS.filter((seed) => seed % 6 === 4).map(
    (seed) => new TakeoverSim(seed).play("cut off from all").apartMs,
  );
  expect(Math.max(...apart)).toBeGreaterThan(0);
});

describe("who is believed", () => {
  const state = (
    key: string | undefined = "recovery",
  ): Parameters<typeof hearTakeovers>[0] & { effects: unknown[] } => ({
    options: { realm: "prod", signer: tagSigner("vm2"), recoveryKey: () => key },
    takeovers: new Map<string, SignedTakeover>(),
    effects: [],
  });

  test("the recovery key alone, in its realm, word for word", () => {
    const own = state();
    const forged = signTakeover(VM1, tagSigner("vm1"));
    const lies = [forged, { ...sign(), term: 2 }, { ...sign(), address: "10.6.6.6" }, { ...sign(), key: "ed25519:x" }];
    let said = 0;
    hearTakeovers(own, [...lies, sign({ realm: "stage" })], () => (said += 1));
    expect([own.takeovers.size, said]).toEqual([0, 0]);
    hearTakeovers(own, [sign()], () => (said += 1));
    expect([own.takeovers.get("vm1")?.term, said, own.effects.length]).toEqual([1, 1, 1]);
  });

  test("nobody where the host pins no recovery key", () => {
    const own = { ...state(), options: { realm: "prod", signer: tagSigner("vm2"), recoveryKey: () => undefined } };
    hearTakeovers(own, [sign()], () => undefined);
    expect(own.takeovers.size).toBe(0);
  });

  test("the highest term, whenever it comes; of one term the same everywhere", () => {
    const own = state();
    hearTakeovers(own, [sign({ term: 2 }), sign({ term: 1 }), sign({ term: 3, spare: "vm8" })], () => undefined);
    expect(own.takeovers.get("vm1")).toMatchObject({ term: 3, spare: "vm8" });
    const [left, right] = [sign({ spare: "vm7" }), sign({ spare: "vm8" })];
    expect([outranks(left, right), outranks(right, left), outranks(left, left)]).toEqual([false, true, false]);
  });
});

test("names are led to the spare, the old key is known as replaced, and the spare is no node of its own", () => {
  const member = (node: string, key: string, realm = "prod"): Parameters<typeof leadFleet>[0][number] => ({
    node,
    realm,
    address: `at-${node}`,
    publicKey: key,
  });
  const fleet = [member("vm1", "old"), member("vm2", "k2"), member("vm9", "ed25519:new"), member("vm1", "s1", "stage")];
  const led = leadFleet(fleet, [sign()]);
  expect(led.members.map(({ node, address, publicKey }) => [node, address, publicKey])).toEqual([
    ["vm1", "10.0.0.9", "ed25519:new"],
    ["vm2", "at-vm2", "k2"],
    ["vm1", "at-vm1", "s1"],
  ]);
  expect([...led.replaced]).toEqual([["old", "vm1"]]);
  // Once Git names the spare's key, the takeover changes nothing more.
  expect(leadFleet(led.members, [sign()])).toEqual({ members: led.members, replaced: new Map() });
});

test("a record says takeovers beside everything else, and one that is no takeover is passed over with no harm", () => {
  const life = { realm: "prod", node: "vm2", boot: 1, seq: 1 };
  const said = { services: {}, revision: undefined, left: false };
  const record = signRecord(buildBody(life, { ...said, takeovers: [sign()] }), tagSigner("vm2"));
  expect(readRecord(record)?.takeovers).toEqual([sign()]);
  expect(buildBody(life, said)).not.toHaveProperty("takeovers");
  const strange = {
    ...record,
    body: JSON.stringify({ ...life, v: 1, services: {}, takeovers: ["of a later version"] }),
  };
  expect(readRecord(strange)).toMatchObject({ node: "vm2", services: {} });
});

test.each([
  ["held", { hasStandby: false }],
  ["awaiting", {}],
  ["held", { hasHeard: true }],
  ["alone", { sinceStartMs: 30_000 }],
  ["replaced", { takeover: sign(), hasHeard: true, sinceStartMs: 90_000 }],
  ["replaced", { takeover: sign(), hasStandby: false }],
  ["held", { takeover: sign({ key: "ed25519:own" }), hasHeard: true }],
])("tenure is %s with %j", (kind, change) => {
  const facts = { publicKey: "ed25519:own", takeover: undefined, hasStandby: true, hasHeard: false, sinceStartMs: 0 };
  expect(judgeTenure({ ...facts, patienceMs: TENURE_PATIENCE_MS, ...change }).kind).toBe(kind);
});
