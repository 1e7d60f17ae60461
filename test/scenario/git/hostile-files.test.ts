// Nobody's file stops somebody else's node: what is wrong in a file is a finding of its service, and what throws while all
// is built leaves in force what was in force. The turns go on, and what crashes is started again.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { NODE, TestNode, troubleOf } from "../../builders/node/node.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import type { FakeContainer } from "../../fakes/fake-container.ts";
import type { DesiredSettings } from "../../../agent/desired/build/desired-settings.ts";
import { buildStrictPolicy } from "../../../shared/policy/policy.ts";

const FLEET = `[nodes.${NODE}]
address = "10.0.0.1"
env = "prod"
memory = "8GiB"
[nodes.vm2]
address = "10.0.0.2"
env = "prod"
memory = "8GiB"
`;
const BOMB = `"\\u0061"${".a".repeat(4_000)} = 1\n`;

let node: TestNode;

beforeEach(() => {
  node = new TestNode();
  node.source.setFleet(FLEET);
});

afterEach(() => node.dispose());

function running(service: string): FakeContainer {
  const container = node.engine.running(service);
  if (container === undefined) throw new Error(`${service} does not run`);
  return container;
}

async function bringUp(): Promise<void> {
  node.source.set({ a: buildManifest(), b: buildManifest() });
  await node.start();
  await node.untilSettled(["a", "b"]);
}

describe("a manifest that would break a parser", () => {
  test("of another node changes nothing here", async () => {
    await bringUp();
    node.engine.calls.length = 0;
    node.source.setOthers({ vm2: { bomb: BOMB, web: buildManifest() } });
    node.source.set({ a: buildManifest({ image: "app:2" }) });
    await node.clock.advanceUntil(() => node.engine.running("a")?.image === "app:2", 60_000, "app:2 of a");
    expect(node.turn.source.fault).toBeUndefined();
  });

  test("holds its own service at its release, and no other", async () => {
    await bringUp();
    node.engine.calls.length = 0;
    node.source.set({ a: BOMB, b: buildManifest({ image: "app:2" }) });
    await node.clock.advanceUntil(() => node.engine.running("b")?.image === "app:2", 60_000, "app:2 of b");
    expect(node.turn.services.find(({ name }) => name === "a")).toMatchObject({ state: "invalid" });
    expect(running("a").image).toBe("app:1");
  });
});

/** Settings that nothing can be built with: as if a rule had a fault of its own. */
function breakSettings(): DesiredSettings {
  const broken = new Proxy<string[]>([], {
    get: () => {
      throw new RangeError("Maximum call stack size exceeded");
    },
  });
  return { ...SETTINGS, hostNotes: broken };
}

const SETTINGS: DesiredSettings = {
  node: NODE,
  policy: buildStrictPolicy(),
  standIns: undefined,
  address: "127.0.0.1",
  ports: "as-written",
  budget: "enforce",
  hostNotes: [],
  assumeDataMounted: false,
  frontImage: undefined,
  agentPorts: [],
  templates: undefined,
};

describe("a building that throws", () => {
  test("leaves in force what was in force: crashes are healed, status says it, and it is tried again", async () => {
    await bringUp();
    node.agent.reload(breakSettings());
    node.source.set({ b: buildManifest({ image: "app:2" }) });
    await node.clock.advance(5_000);
    expect(node.turn.source.fault).toMatch(/^dir:[0-9a-f]{12} cannot be built, and what is in force stays: RangeError/);
    expect(troubleOf(node)).toBe(node.turn.source.fault);
    node.engine.end(running("a"), 1);
    expect(node.engine.running("a")).toBeUndefined();
    await node.clock.advance(5_000);
    expect(running("a").image).toBe("app:1");
    expect(running("b").image).toBe("app:1");
    node.agent.reload(SETTINGS);
    await node.untilSettled(["a", "b"]);
    await node.clock.advanceUntil(() => node.engine.running("b")?.image === "app:2", 60_000, "app:2 of b");
    expect(node.turn.source.fault).toBeUndefined();
  });

  test("does not make the loop spin", async () => {
    await bringUp();
    const turns = (): number => node.events.filter(({ kind }) => kind === "turn").length;
    node.agent.reload(breakSettings());
    await node.clock.advance(1_000);
    const before = turns();
    await node.clock.advance(120_000);
    expect(turns() - before).toBeLessThan(20);
  });
});

describe("a service that cannot be built for a fault of Orca's own", () => {
  test("is invalid by itself and stays what it is, and the others go on", async () => {
    await bringUp();
    const policy = buildStrictPolicy();
    const security = new Proxy(policy.security, {
      get: (target, key) => {
        if (key === "cap_add") throw new TypeError("a rule is broken");
        return Reflect.get(target, key) as unknown;
      },
    });
    node.agent.reload({ ...SETTINGS, policy: { ...policy, security } });
    const [a, b] = [buildManifest({ top: 'cap_add = ["NET_ADMIN"]' }), buildManifest({ image: "app:2" })];
    node.source.set({ a, b });
    await node.clock.advanceUntil(() => node.engine.running("b")?.image === "app:2", 60_000, "app:2 of b");
    expect(node.turn.source.fault).toBeUndefined();
    expect(node.view("a").reason).toContain("TypeError: a rule is broken");
    expect(running("a").image).toBe("app:1");
  });
});
