// A release that was good once is judged by the host's policy as it is now before it takes the place of what Git wants: what is forbidden
// meanwhile is not started, and the reason is told.

import { afterEach, beforeEach, expect, test } from "vitest";

import { buildStrictPolicy, type Policy, policySchema } from "../../../shared/policy/policy.ts";
import type { DesiredSettings } from "../../../agent/desired/build/desired-settings.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { NODE, TestNode } from "../../builders/node/node.ts";

const STRICT = buildStrictPolicy();
const ALLOWS = policySchema.parse({ security: { cap_add: ["NET_ADMIN"] } });
const REFUSED = "the capability NET_ADMIN is not allowed; rule security.cap_add";

let node: TestNode;

beforeEach(async () => {
  node = new TestNode({ settings: { policy: ALLOWS } });
  node.engine.images.set("bad:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
  node.source.set({ app: release("app:1", true), db: buildManifest() });
  await node.start();
  await node.untilSettled(["app", "db"]);
});

afterEach(() => node.dispose());

function release(from: string, hasPower = false): string {
  return buildManifest({
    image: from,
    top: hasPower ? 'cap_add = ["NET_ADMIN"]' : "",
    tables: '[update]\nhealthy_within = "1m"\nsettle = "10s"',
  });
}

function use(policy: Policy): void {
  const settings: DesiredSettings = {
    node: NODE,
    policy,
    standIns: undefined,
    address: undefined,
    ports: "as-written",
    budget: "warn",
    hostNotes: [],
    assumeDataMounted: false,
    frontImage: undefined,
    agentPorts: [],
    templates: undefined,
  };
  node.agent.reload(settings);
}

function image(): string | undefined {
  return node.engine.running("app")?.image;
}

test("a release that stands in the place of a bad one: it runs on, is not started again, and goes on when it may", async () => {
  node.source.set({ app: release("bad:1"), db: buildManifest() });
  await node.until("rolled-back", ["app"]);
  use(STRICT);
  await node.until("refused", ["app"]);
  expect(node.view("app").reason).toContain(REFUSED);
  const good = node.engine.running("app");
  if (good === undefined) throw new Error("the good release does not run");
  expect(good.image).toBe("app:1");
  node.engine.end(good, 1);
  await node.clock.advance(600_000);
  expect(node.engine.running("app")).toBeUndefined();
  // Nor by another agent.
  await node.stop();
  await node.start();
  use(STRICT);
  await node.clock.advance(1_000);
  use(ALLOWS);
  await node.clock.advanceUntil(() => image() === "app:1", 60_000, "the release");
  expect(node.view("db").state).toBe("healthy");
});

test("nothing that the policy forbids now is gone back to: the bad release goes on being tried, and its note says why", async () => {
  use(STRICT);
  node.source.set({ app: release("bad:1"), db: buildManifest() });
  await node.clock.advanceUntil(() => image() === "bad:1", 60_000, "the bad release");
  node.engine.calls.length = 0;
  await node.clock.advance(900_000);
  expect(node.view("app").state).not.toBe("rolled-back");
  expect(node.view("app").notes.join()).toContain(REFUSED);
  const started = node.engine.calls.filter(({ call }) => call === "createContainer");
  expect(started).toEqual([]);
  expect(node.engine.of("app").filter((entry) => entry.status === "running" && entry.image === "app:1")).toEqual([]);
  node.source.set({ app: release("app:2"), db: buildManifest() });
  await node.untilSettled(["app"]);
  await node.clock.advance(1_000);
  expect(node.view("app").notes).toEqual([]);
});

test("a manifest that cannot be read any more: what ran before is started again only where that may run", async () => {
  node.source.set({ app: "image =", db: buildManifest() });
  await node.clock.advance(5_000);
  const state = node.view("app").state;
  use(STRICT);
  await node.clock.advance(5_000);
  expect([state, image()]).toEqual(["invalid", "app:1"]);
  node.engine.end(node.engine.running("app") ?? expect.fail("it does not run"), 1);
  await node.clock.advance(600_000);
  expect(node.engine.running("app")).toBeUndefined();
  expect(node.view("app").reason).toContain(REFUSED);
});

test("a person who wants to go back to it is told the rule", async () => {
  node.source.set({ app: release("app:2"), db: buildManifest() });
  await node.untilSettled(["app"]);
  await node.clock.advance(1_000);
  const before = node.agent.store.listReleases("app", 5).find((entry) => entry.image === "app:1");
  const ask = (): Promise<string | undefined> => node.agent.judgeRelease("app", before?.fingerprint ?? "");
  expect(await ask()).toBeUndefined();
  use(STRICT);
  expect(await ask()).toContain(REFUSED);
});
