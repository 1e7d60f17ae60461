// Rollouts: a release that does not settle gives way to the last good one; what is not the release's fault never does that.

import { readFileSync } from "node:fs";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import type { FakeEngine } from "../../fakes/fake-engine.ts";

let node: TestNode;
const ROOT = { uid: 0, user: "root" };

beforeEach(async () => {
  node = new TestNode();
  node.source.set({ app: release("app:1"), db: buildManifest() });
  await node.start();
  await node.untilSettled(["app", "db"]);
});

afterEach(() => node.dispose());

function release(from: string, parts: { top?: string; update?: string; tables?: string } = {}): string {
  const update = `[update]\n${parts.update ?? 'healthy_within = "1m"\nsettle = "20s"'}\n`;
  const health = 'tcp = { port = 80 }\nstart_period = "70s"';
  return buildManifest({ image: from, health, top: parts.top ?? "", tables: `${update}${parts.tables ?? ""}` });
}

function image(): string | undefined {
  return node.engine.running("app")?.image;
}

/** The bad releases, by how they are bad. */
const BAD: Record<string, (engine: FakeEngine) => void> = {
  "its image is not in the registry": () => undefined,
  "it exits at once": (engine) => engine.images.set("bad:1", { endsAfterMs: 10, exitCode: 3 }),
  "it exits after 11 s": (engine) => engine.images.set("bad:1", { endsAfterMs: 11_000, exitCode: 3 }),
  "it never gets healthy": (engine) => engine.images.set("bad:1", { healthyAfterMs: Number.POSITIVE_INFINITY }),
  "its program is not in the image": (engine) =>
    engine.images.set("bad:1", { startFails: 'OCI runtime create failed: exec: "serve": executable file not found' }),
};

describe.each(Object.entries(BAD))("a release that is bad: %s", (_name, prepare) => {
  test("the last good one runs again, status says rolled back and why, until Git wants something else", async () => {
    prepare(node.engine);
    const good = node.engine.running("app")?.id;
    node.source.set({ app: release("bad:1") });
    await node.until("rolled-back", ["app"]);
    expect(image()).toBe("app:1");
    expect(node.engine.running("app")?.id).toBe(good);
    expect(node.view("app").reason).toMatch(/^rolled back to dir:[0-9a-f]{12}: .+; what Git wants is held until/);
    expect(node.view("app").settled).toBe(false);
    expect(node.view("app").desiredRevision).not.toBe(node.view("app").revision);

    // It is held: not tried again by itself, not after a restart of the agent, and a crash of the good one is healed.
    await node.clock.advance(3_600_000);
    await node.stop();
    await node.start();
    await node.until("rolled-back", ["app"]);
    const calls = node.engine.calls.length;
    await node.clock.advance(3_600_000);
    expect(node.engine.calls.length).toBe(calls);
    const running = node.engine.running("app");
    if (running === undefined) throw new Error("the good release does not run");
    node.engine.end(running, 1);
    await node.clock.advance(10_000);
    expect(image()).toBe("app:1");
    expect(node.engine.of("app")).toHaveLength(1);

    // A new commit is tried at once.
    node.source.set({ app: release("app:2") });
    await node.untilSettled(["app"]);
    expect(image()).toBe("app:2");
    expect(node.view("app").state).toBe("healthy");
  });
});

test("healthy and then sick before it has settled: rolled back", async () => {
  node.source.set({ app: release("app:2", { update: 'healthy_within = "1m"\nsettle = "50s"' }) });
  await node.clock.advanceUntil(() => image() === "app:2", 30_000, "app:2");
  await node.clock.advance(20_000);
  expect(node.view("app").state).toBe("healthy");
  node.sick.add(node.engine.running("app")?.id ?? "");
  await node.until("rolled-back", ["app"]);
  expect(image()).toBe("app:1");
});

test("slow but well: healthy just in time, it is given the rest of its settling", async () => {
  node.engine.images.set("slow:1", { healthyAfterMs: 55_000 });
  node.source.set({ app: release("slow:1", { update: 'healthy_within = "1m"\nsettle = "30s"' }) });
  await node.clock.advanceUntil(() => image() === "slow:1", 30_000, "slow:1");
  await node.untilSettled(["app"]);
  expect(image()).toBe("slow:1");
});

test.each([
  ["what a release is given follows that", ""],
  ["even where the manifest gives it less", 'healthy_within = "2m"\n'],
])("a migration that takes nearly the whole start_period is not cut: %s", async (_name, within) => {
  node.engine.images.set("migrating:1", { healthyAfterMs: 570_000 });
  const health = 'tcp = { port = 80 }\nstart_period = "10m"';
  const tables = `[update]\n${within}settle = "20s"\n`;
  node.source.set({ app: buildManifest({ image: "migrating:1", health, tables }) });
  await node.clock.advanceUntil(() => image() === "migrating:1", 30_000, "migrating:1");
  await node.untilSettled(["app"], 620_000);
  expect(image()).toBe("migrating:1");
  expect(node.engine.running("app")?.run).toBe(1);
});

test("new content of a file that makes it sick: the old content is delivered again", async () => {
  const files = '[[files]]\nsource = "files/app.conf"\ntarget = "/etc/app.conf"\non_change = { signal = "SIGHUP" }\n';
  node.source.setFile("files/app.conf", "good");
  node.source.set({ app: release("app:1", { tables: files }) });
  await node.clock.advance(5_000);
  await node.untilSettled(["app"]);
  const container = node.engine.running("app");
  const read = (): string => {
    const specHash = node.turn.desired?.services.get("app")?.specHash ?? "";
    return readFileSync(node.agent.files.path({ service: "app", specHash, target: "/etc/app.conf" }), "utf8");
  };
  expect(read()).toBe("good");
  node.source.setFile("files/app.conf", "bad");
  await node.clock.advanceUntil(() => read() === "bad", 30_000, "the new content");
  node.sick.add(container?.id ?? "");
  await node.clock.advanceUntil(() => node.view("app").reason.startsWith("rolled back"), 200_000, "rolled back");
  node.sick.clear();
  await node.until("rolled-back", ["app"]);
  expect(read()).toBe("good");
});

describe("what is not the release's fault never rolls back", () => {
  test("a registry that fails in the middle: it waits, the old one serves, and it heals", async () => {
    for (const trouble of ["toomanyrequests: 429", "received unexpected HTTP status: 500", "connection reset"]) {
      const next = `app:${trouble.length}`;
      node.engine.registry.set(next, trouble);
      const before = image();
      node.source.set({ app: release(next) });
      await node.until("backoff", ["app"]);
      await node.clock.advance(900_000);
      expect(node.view("app").state).toBe("backoff");
      expect(image()).toBe(before);
      node.engine.registry.set(next, {});
      await node.untilSettled(["app"], 600_000);
      expect(image()).toBe(next);
    }
  });

  test("something that it requires is sick: its time stands still", async () => {
    node.engine.images.set("needs-db:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
    node.source.set({ app: release("needs-db:1", { top: 'requires = ["db"]' }) });
    await node.clock.advanceUntil(() => image() === "needs-db:1", 30_000, "the new one");
    const db = node.engine.running("db");
    node.sick.add(db?.id ?? "");
    node.engine.images.set("app:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
    await node.clock.advance(600_000);
    expect(node.view("app").state).not.toBe("rolled-back");
    node.sick.clear();
    node.engine.images.set("app:1", {});
    await node.until("rolled-back", ["app"], 300_000);
  });

  test("a clock that jumps ahead, and an agent that was away, count for nothing", async () => {
    node.engine.images.set("slow:1", { healthyAfterMs: 50_000 });
    node.source.set({ app: release("slow:1") });
    await node.clock.advanceUntil(() => image() === "slow:1", 30_000, "slow:1");
    node.clock.jump(86_400_000);
    await node.clock.advance(1_000);
    expect(node.view("app").state).not.toBe("rolled-back");
    node.kill();
    node.clock.jump(86_400_000);
    await node.start();
    await node.untilSettled(["app"]);
    expect(image()).toBe("slow:1");
  });

  test("rollback = false, and a first release: there is nothing to go back to", async () => {
    node.engine.images.set("bad:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
    const update = 'healthy_within = "1m"\nsettle = "5s"\nrollback = false';
    node.source.set({ app: release("bad:1", { update }), fresh: release("bad:1") });
    await node.clock.advance(1_200_000);
    expect(node.view("app").state).not.toBe("rolled-back");
    expect(node.view("fresh").state).not.toBe("rolled-back");
    expect(image()).not.toBe("app:1");
  });
});

test("stopped on purpose is no failed release, and nothing is rolled back to run again", async () => {
  node.source.set({ app: release("app:2", { top: 'state = "stopped"' }) });
  await node.until("stopped", ["app"]);
  await node.clock.advance(600_000);
  expect(node.view("app").state).toBe("stopped");
  expect(image()).toBe(undefined);
});

test("a release that the disk did not take at first is kept all the same, and can be gone back to", async () => {
  const { store } = node.agent;
  const save = store.save.bind(store);
  let refused = 0;
  Object.assign(store, {
    save: (saved: Parameters<typeof save>[0]) => {
      if (saved.newReleases.length > 0 && (refused += 1) <= 3) throw new Error("no space left on device");
      save(saved);
    },
  });
  node.source.set({ app: release("app:2") });
  await node.clock.advance(5_000);
  await node.untilSettled(["app"]);
  await node.clock.advance(120_000);
  expect(refused).toBeGreaterThan(3);
  node.engine.images.set("bad:1", { endsAfterMs: 10, exitCode: 3 });
  node.source.set({ app: release("bad:1") });
  await node.until("rolled-back", ["app"]);
  await node.clock.advance(30_000);
  expect(image()).toBe("app:2");
});

test("orca sync --retry tries the held release once more", async () => {
  node.engine.images.set("bad:1", { endsAfterMs: 10, exitCode: 3 });
  node.source.set({ app: release("bad:1") });
  await node.until("rolled-back", ["app"]);
  node.engine.images.set("bad:1", {});
  node.agent.request({ kind: "sync", retry: "app", allowRemoval: undefined, actor: ROOT });
  await node.untilSettled(["app"]);
  expect(image()).toBe("bad:1");
});

test("two bad releases one after the other: the good one is still the one to go back to", async () => {
  node.engine.images.set("bad:1", { endsAfterMs: 10, exitCode: 3 });
  node.engine.images.set("bad:2", { endsAfterMs: 10, exitCode: 4 });
  node.source.set({ app: release("bad:1") });
  await node.until("rolled-back", ["app"]);
  node.source.set({ app: release("bad:2") });
  await node.clock.advanceUntil(() => node.view("app").state !== "rolled-back", 10_000, "the second is tried");
  await node.until("rolled-back", ["app"]);
  expect(image()).toBe("app:1");
  expect(node.view("app").reason).toContain("exit code 4");
});

test("kill -9 before any call of a rollback: the same end", async () => {
  node.engine.images.set("bad:1", { endsAfterMs: 10, exitCode: 3 });
  for (let call = 1; call <= 8; call += 1) {
    node.source.set({ app: release(call % 2 === 0 ? "app:1" : "app:2", { top: `owner = "o${call}"` }) });
    await node.clock.advance(5_000);
    await node.untilSettled(["app"]);
    const good = image();
    node.engine.dieBeforeCall = call;
    node.source.set({ app: release("bad:1") });
    await node.clock.advanceUntil(() => node.engine.dead || node.view("app").state === "rolled-back", 200_000);
    node.kill();
    await node.start();
    await node.until("rolled-back", ["app"], 300_000);
    expect(image()).toBe(good);
    expect(node.engine.of("app").filter((entry) => entry.status === "running")).toHaveLength(1);
  }
});

test.each([
  ["while it never gets healthy", { healthyAfterMs: Number.POSITIVE_INFINITY }],
  ["while it ends at once", { endsAfterMs: 10, exitCode: 3 }],
])(
  "a release that requires an endpoint is judged %s: without the endpoint it is not to blame, with it it is",
  async (_name, bad) => {
    const top = 'requires = ["tcp://10.0.0.9:5432"]';
    node.endpoints.add("tcp://10.0.0.9:5432");
    node.engine.images.set("bad:1", bad);
    node.source.set({ app: release("app:1", { top }) });
    await node.clock.advance(60_000);
    const triedMs = node.clock.nowMs();
    node.source.set({ app: release("bad:1", { top }) });
    await node.clock.advance(10_000);
    node.endpoints.clear();
    await node.clock.advance(600_000);
    expect(node.engine.of("app").map((entry) => entry.image)).toContain("bad:1");
    expect(node.view("app").reason).not.toContain("rolled back");
    node.endpoints.add("tcp://10.0.0.9:5432");
    // The minute that it has, as it was used before and after.
    await node.until("rolled-back", ["app"], 100_000);
    expect(node.view("app").reason).toContain("did not settle within 1m");
    expect(node.clock.nowMs() - triedMs).toBeGreaterThan(620_000);
  },
);

test("a release whose runs the agent ended for being unhealthy is told by its probes, at whatever moment its time is over", async () => {
  for (const within of ["30s", "37s", "44s", "51s", "58s"]) {
    const update = `healthy_within = "${within}"\nsettle = "5s"`;
    const tables = `[update]\n${update}\n[restart]\nbackoff = { initial = "5s", max = "5s" }`;
    const health = 'tcp = { port = 80 }\ninterval = "2s"\nretries = 2';
    node.engine.images.set("sick:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
    node.source.set({ app: buildManifest({ image: "sick:1", health, tables }), db: buildManifest() });
    await node.until("rolled-back", ["app"]);
    expect(node.view("app").reason, within).toMatch(/did not settle within \S+: connection refused; what Git wants/);
    node.source.set({ app: release("app:1"), db: buildManifest() });
    await node.untilSettled(["app"]);
  }
});
