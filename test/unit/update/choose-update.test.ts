// Which version a node takes, when, and why not: by what fleet.toml pins, by what has become of it here, by the word of the canary.

import { describe, expect, test } from "vitest";

import { selectAgentPin } from "../../../agent/desired/repository/agent-pin.ts";
import { chooseUpdate, type UpdateView } from "../../../agent/update/core/choose-update.ts";
import { parseRecord, printRecord, type UpdateOutcome } from "../../../agent/update/core/update-record.ts";
import { fleetSchema } from "../../../shared/fleet/fleet.ts";

const SHA = "e".repeat(64);
const NODE = { address: "10.0.0.1", env: "prod", memory: "4GiB" };
const PIN = { version: "0.2.0", sha256: { amd64: SHA } };

function fleet(parts: object, nodes: Record<string, object> = {}) {
  const base = {
    "vm-b": NODE,
    "vm-a": { ...NODE, address: "10.0.0.2" },
    stage: { ...NODE, address: "10.0.0.3", env: "stage" },
  };
  const merged = Object.fromEntries(Object.entries(base).map(([name, node]) => [name, { ...node, ...nodes[name] }]));
  return fleetSchema.parse({ nodes: merged, ...parts });
}

describe("the pin", () => {
  test("is the node's own, or else the fleet's, or there is none", () => {
    expect(selectAgentPin(fleet({}), "vm-a")).toBeUndefined();
    expect(selectAgentPin(fleet({ agent: PIN }), "vm-a")?.version).toBe("0.2.0");
    const own = fleet({ agent: PIN }, { "vm-a": { agent: { ...PIN, version: "0.3.0" } } });
    expect(selectAgentPin(own, "vm-a")?.version).toBe("0.3.0");
    expect(selectAgentPin(own, "vm-b")?.version).toBe("0.2.0");
    expect(selectAgentPin(own, "elsewhere")).toBeUndefined();
  });

  test("has a canary in each realm: a named one, or the first by name that is to run the same", () => {
    const canary = (parsed: ReturnType<typeof fleet>, node: string): string | undefined =>
      selectAgentPin(parsed, node)?.canary;
    expect(["vm-a", "vm-b", "stage"].map((node) => canary(fleet({ agent: PIN }), node))).toEqual([
      "vm-a",
      "vm-a",
      "stage",
    ]);
    const named = fleet({ agent: { ...PIN, canaries: ["vm-b"] } });
    expect(["vm-a", "vm-b", "stage"].map((node) => canary(named, node))).toEqual(["vm-b", "vm-b", "stage"]);
    // One that is to run another version says nothing of this one.
    const other = fleet({ agent: { ...PIN, canaries: ["vm-b"] } }, { "vm-b": { agent: { ...PIN, version: "0.3.0" } } });
    expect(canary(other, "vm-a")).toBe("vm-a");
    expect(canary(other, "vm-b")).toBe("vm-b");
  });

  test("needs a checksum, and canaries that are nodes", () => {
    expect(() => fleet({ agent: { version: "0.2.0", sha256: {} } })).toThrow(/no checksum/);
    expect(() => fleet({ agent: { ...PIN, canaries: ["vm-x"] } })).toThrow(/no node \\"vm-x\\"/);
    expect(() => fleet({ agent: { ...PIN, version: "../../etc" } })).toThrow(/1\.4\.2/);
  });
});

const VIEW: UpdateView = {
  node: "vm-b",
  nowMs: 10_000_000,
  pin: { ...PIN, canary: "vm-a" },
  arch: "amd64",
  running: "0.1.0",
  current: "0.1.0",
  onTrial: false,
  outcomes: [],
  hasSource: true,
  hasKey: true,
  canary: { version: "0.2.0", confirmed: true },
  askedMs: undefined,
};
const outcome = (result: UpdateOutcome["result"], atMs = 0): UpdateOutcome => ({
  version: "0.2.0",
  sha256: SHA,
  result,
  reason: "it hangs",
  atMs,
});

test.each<[string, Partial<UpdateView>, object]>([
  ["all is there", {}, { kind: "go", version: "0.2.0", sha256: SHA }],
  ["nothing is pinned", { pin: undefined }, { kind: "none" }],
  ["it runs already", { running: "0.2.0" }, { kind: "none" }],
  ["one is on trial", { onTrial: true }, { kind: "trial" }],
  [
    "the canary says nothing",
    { canary: undefined },
    { kind: "waits", why: expect.stringContaining("vm-a goes first") },
  ],
  ["the canary runs another", { canary: { version: "0.1.0", confirmed: true } }, { kind: "waits" }],
  ["the canary's is on trial", { canary: { version: "0.2.0", confirmed: false } }, { kind: "waits" }],
  ["it is the canary", { pin: { ...PIN, canary: "vm-b" }, canary: undefined }, { kind: "go" }],
  [
    "it was installed by hand",
    { current: undefined },
    { kind: "stuck", why: expect.stringContaining("not installed by its package") },
  ],
  ["the architecture has none", { arch: "riscv64" }, { kind: "stuck", why: "fleet.toml has no sha256 for riscv64" }],
  ["there is no source", { hasSource: false }, { kind: "stuck", why: expect.stringContaining("[update]") }],
  ["there is no key", { hasKey: false }, { kind: "stuck", why: expect.stringContaining("release_key") }],
  [
    "it has failed",
    { outcomes: [outcome("failed")] },
    { kind: "stuck", why: expect.stringContaining("has failed here: it hangs") },
  ],
  [
    "it was refused",
    { outcomes: [outcome("refused")] },
    { kind: "stuck", why: expect.stringContaining("orca update --retry") },
  ],
  ["another package has failed", { outcomes: [{ ...outcome("failed"), sha256: "f".repeat(64) }] }, { kind: "go" }],
  [
    "it could not be had just now",
    { outcomes: [outcome("unreachable", 9_900_000)] },
    { kind: "waits", why: expect.stringContaining("it hangs; tried again in") },
  ],
  ["it could not be had a while ago", { outcomes: [outcome("unreachable", 9_000_000)] }, { kind: "go" }],
  [
    "it was asked for just now",
    { askedMs: 9_990_000 },
    { kind: "waits", why: expect.stringContaining("being fetched") },
  ],
  ["the clock was set back since", { askedMs: 99_990_000 }, { kind: "go" }],
])("where %s", (_name, changes, choice) => {
  expect(chooseUpdate({ ...VIEW, ...changes })).toMatchObject(choice);
});

test("what became of packages is kept, the newest of each, and a file that cannot be read says nothing", () => {
  let text: string | undefined;
  for (let count = 0; count < 30; count += 1)
    text = printRecord(parseRecord(text), { ...outcome("failed", count), sha256: `${count % 25}`.padStart(64, "0") });
  const outcomes = parseRecord(text);
  expect(outcomes).toHaveLength(20);
  expect(new Set(outcomes.map(({ sha256 }) => sha256)).size).toBe(20);
  expect(outcomes[0]?.atMs).toBe(29);
  expect(parseRecord("{")).toEqual([]);
  expect(parseRecord(undefined)).toEqual([]);
});
