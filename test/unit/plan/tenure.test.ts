// fleet.toml is read through takeovers: addresses are led to the spare, the lost node's disk is not asked for, keys stay as Git has them.

import { expect, test } from "vitest";

import { leadNodes, listMembers } from "../../../agent/desired/repository/fleet-members.ts";
import { fleetSchema } from "../../../shared/fleet/fleet.ts";
import { policySchema } from "../../../shared/policy/policy.ts";

const OLD = `ed25519:${"A".repeat(43)}`;
const NEW = `ed25519:${"B".repeat(43)}`;
const node = (address: string, more: object = {}): object => ({ address, env: "prod", memory: "1GiB", ...more });
const FLEET = fleetSchema.parse({
  nodes: {
    vm1: node("10.0.0.1", {
      public_key: OLD,
      data: { mount: "/mnt/data", uuid: "5f0c2a1e-7b7d-4d53-9a41-0d6d3f1b1a01" },
    }),
    vm2: node("10.0.0.2"),
    vm9: node("10.0.0.9", { public_key: NEW, standby_for: "vm1" }),
  },
});
const TAKEOVER = { realm: "prod", node: "vm1", spare: "vm9", term: 1, key: NEW, address: "10.0.0.9", signature: "s" };

test("a replaced node lives at its spare's address, on whatever disk is mounted there", () => {
  const led = leadNodes(FLEET, [TAKEOVER]);
  expect(led?.nodes["vm1"]).toMatchObject({ address: "10.0.0.9", public_key: OLD, data: { mount: "/mnt/data" } });
  expect(led?.nodes["vm1"]?.data).not.toHaveProperty("uuid");
  expect(led?.nodes["vm2"]).toEqual(FLEET.nodes["vm2"]);
  expect(listMembers(FLEET).map(({ node: name, standbyFor }) => [name, standbyFor])).toEqual([
    ["vm1", undefined],
    ["vm2", undefined],
    ["vm9", "vm1"],
  ]);
});

test("of another realm, and of nobody, nothing is led", () => {
  expect(leadNodes(FLEET, [{ ...TAKEOVER, realm: "stage" }])?.nodes).toEqual(FLEET.nodes);
  expect(leadNodes(FLEET)).toBe(FLEET);
  expect(leadNodes(undefined, [TAKEOVER])).toBeUndefined();
});

test("the policy pins a recovery key as orca keygen prints it, and none by itself", () => {
  expect(policySchema.parse({}).pinned.recovery_key).toBeUndefined();
  expect(policySchema.parse({ pinned: { recovery_key: NEW } }).pinned.recovery_key).toBe(NEW);
  expect(policySchema.safeParse({ pinned: { recovery_key: "age1x" } }).success).toBe(false);
});
