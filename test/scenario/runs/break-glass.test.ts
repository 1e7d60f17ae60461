// What a person may override at night: stop, start, roll back. It holds over restarts of the agent, is shown, and ends with
// the next change of the service's manifest or with resume.

import { afterEach, beforeEach, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

let node: TestNode;
const ACTOR = { uid: 1000, user: "ada" };

function app(from: string, top = ""): string {
  return buildManifest({ image: from, top, tables: '[update]\nsettle = "5s"\n' });
}

function image(service = "app"): string | undefined {
  return node.engine.running(service)?.image;
}

beforeEach(async () => {
  node = new TestNode();
  node.source.set({ app: app("app:1"), db: buildManifest() });
  await node.start();
  await node.untilSettled(["app", "db"]);
});

afterEach(() => node.dispose());

async function release(next: string): Promise<void> {
  node.source.set({ app: app(next) });
  await node.clock.advanceUntil(() => image() === next, 60_000, next);
  await node.untilSettled(["app"]);
}

function findRelease(revision?: string): { fingerprint: string; revision: string } {
  const releases = node.agent.store.listReleases("app", 10);
  const found = releases.find((entry, index) => (revision === undefined ? index > 0 : entry.revision === revision));
  if (found === undefined) throw new Error("there is no such release");
  return found;
}

test("stop holds: no healing, no restart of the agent and no reboot starts it; start does", async () => {
  node.agent.request({ kind: "stop", service: "app", actor: ACTOR });
  await node.until("stopped", ["app"]);
  expect(node.view("app").reason).toContain("stopped by uid 1000");
  await node.stop();
  node.engine.goDown();
  node.engine.comeBack();
  node.bootId = "boot-2";
  await node.start();
  await node.untilSettled(["db"]);
  await node.clock.advance(600_000);
  expect([image(), node.view("app").state]).toEqual([undefined, "stopped"]);
  node.agent.request({ kind: "start", service: "app", ignoreRequires: false, actor: ACTOR });
  await node.untilSettled(["app"]);
  expect(image()).toBe("app:1");
});

test("a stop ends with the next change of its manifest, not with a change of another's, and with resume", async () => {
  node.agent.request({ kind: "stop", service: "app", actor: ACTOR });
  await node.until("stopped", ["app"]);
  node.source.set({ db: buildManifest({ image: "app:2" }) });
  await node.clock.advanceUntil(() => image("db") === "app:2", 60_000, "db");
  await node.clock.advance(60_000);
  expect(node.view("app").state).toBe("stopped");
  await release("app:2");
  node.agent.request({ kind: "stop", service: "app", actor: ACTOR });
  await node.until("stopped", ["app"]);
  node.agent.request({ kind: "resume", service: undefined, actor: ACTOR });
  await node.untilSettled(["app"]);
});

test("start skips a long backoff, and the gate only where it is told to", async () => {
  node.source.set({ web: buildManifest({ top: 'requires = ["absent"]' }) });
  await node.until("waiting", ["web"]);
  node.agent.request({ kind: "start", service: "web", ignoreRequires: false, actor: ACTOR });
  await node.clock.advance(30_000);
  expect(node.view("web").state).toBe("waiting");
  node.agent.request({ kind: "start", service: "web", ignoreRequires: true, actor: ACTOR });
  await node.until("healthy", ["web"]);
  expect(node.view("web").notes).toContain("started by a person without what it requires");

  for (let crash = 0; crash < 8; crash += 1) {
    const running = node.engine.running("app");
    if (running !== undefined) node.engine.end(running, 1);
    await node.clock.advance(crash < 7 ? 200_000 : 1_000);
  }
  expect(node.view("app").state).toBe("backoff");
  node.agent.request({ kind: "start", service: "app", ignoreRequires: false, actor: ACTOR });
  await node.clock.advance(1_000);
  expect(image()).toBe("app:1");
});

test("rollback goes back to the last good release, holds over a restart, and ends with resume", async () => {
  await release("app:2");
  node.agent.request({ kind: "rollback", service: "app", release: findRelease(), actor: ACTOR });
  await node.until("rolled-back", ["app"]);
  await node.clock.advance(60_000);
  expect(image()).toBe("app:1");
  expect(node.view("app").reason).toMatch(/^rolled back to dir:\w+ by uid 1000: it was asked for/);
  await node.stop();
  await node.start();
  await node.until("rolled-back", ["app"]);
  await node.clock.advance(600_000);
  expect(image()).toBe("app:1");
  node.agent.request({ kind: "resume", service: "app", actor: ACTOR });
  await node.clock.advanceUntil(() => image() === "app:2", 60_000, "app:2");
  await node.untilSettled(["app"]);
});

test("rollback to a revision further back, and a new manifest ends it", async () => {
  const first = findRelease(node.agent.store.listReleases("app", 1)[0]?.revision).revision;
  await release("app:2");
  node.engine.images.set("app:3", {});
  await release("app:3");
  node.agent.request({ kind: "rollback", service: "app", release: findRelease(first), actor: ACTOR });
  await node.until("rolled-back", ["app"]);
  await node.clock.advanceUntil(() => image() === "app:1", 60_000, "app:1");
  await release("app:2");
  expect(node.view("app").state).toBe("healthy");
});

test("resume does not bring back a release that failed by itself", async () => {
  node.engine.images.set("bad:1", { endsAfterMs: 10, exitCode: 3 });
  node.source.set({ app: app("bad:1") });
  await node.until("rolled-back", ["app"], 300_000);
  node.agent.request({ kind: "resume", service: undefined, actor: ACTOR });
  await node.clock.advance(300_000);
  expect([image(), node.view("app").state]).toEqual(["app:1", "rolled-back"]);
});
