// A service that ran with a bind source which is refused now, since users of the host can change a directory above it: what ran goes
// on, nothing new is made with it, and all of that is told at once and not first when it crashes.

import { chmodSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { policySchema } from "../../../shared/policy/policy.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import { crash } from "../../builders/node/secret-node.ts";

let node: TestNode;
let root: string;
let data: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-sources-"));
  chmodSync(root, 0o755);
  data = join(root, "data");
  mkdirSync(data);
  node = new TestNode({ settings: { policy: policySchema.parse({ mounts: { allowed_prefixes: [root] } }) } });
});

afterEach(async () => {
  await node.dispose();
  rmSync(root, { recursive: true, force: true });
});

function mounting(source: string, image = "app:1"): string {
  const volume = `[[volumes]]\nsource = "${source}"\ntarget = "/data"`;
  return buildManifest({
    image,
    top: 'backup = { none = "a test" }\nports = ["127.0.0.1:8080:80"]',
    tables: `[update]\nsettle = "1s"\nhealthy_within = "20s"\n${volume}`,
  });
}

/** The service has settled, and then its directory's parent is anybody's: as an earlier version took it, this one does not. */
async function bringUp(): Promise<string> {
  node.source.set({ app: mounting(data) });
  await node.start();
  await node.untilSettled(["app"]);
  const before = node.engine.running("app")?.id ?? "";
  chmodSync(root, 0o777);
  await node.stop();
  node.engine.calls.length = 0;
  await node.start();
  await node.until("refused", ["app"], 35_000);
  return before;
}

const calls = (): string[] => node.engine.calls.map(({ call }) => call);

describe("a source that users of the host can change", () => {
  test("is told as refused from the first turn on, with how the service does; a crash restarts the same container", async () => {
    const before = await bringUp();
    expect(node.view("app").reason).toMatch(
      /^volumes\[0\]\.source: every user can change .*parents are root's alone; its release dir:.* is healthy: /,
    );
    expect(node.engine.calls).toEqual([]);
    crash(node, "app");
    await node.clock.advance(10_000);
    expect(node.engine.running("app")?.id).toBe(before);
    expect(calls()).toEqual(["startContainer"]);
    // It is put right, and is what Git wants again.
    chmodSync(root, 0o755);
    await node.untilSettled(["app"], 60_000);
    await node.clock.advance(35_000);
    expect(node.view("app").state).toBe("healthy");
    expect(calls()).toEqual(["startContainer"]);
  });

  test("gets no new container: not for another image, and not where the old one is gone", async () => {
    const before = await bringUp();
    node.source.set({ app: mounting(data, "app:2") });
    await node.clock.advance(60_000);
    expect(node.engine.calls).toEqual([]);
    expect(node.view("app")).toMatchObject({ state: "refused", image: "app:1", container: before });
    node.engine.containers.delete(before);
    await node.clock.advance(60_000);
    expect(node.engine.of("app")).toEqual([]);
    expect(node.view("app").reason).toMatch(/is refused: no container of it is made: its container was removed$/);
  });

  test("is compared at each start: a link in its place is not mounted, also when it has gone again", async () => {
    await bringUp();
    renameSync(data, join(root, "was"));
    symlinkSync("/etc", data);
    crash(node, "app");
    await node.clock.advance(120_000);
    expect(node.engine.running("app")).toBeUndefined();
    expect(calls()).toEqual([]);
    expect(node.view("app").state).toBe("refused");
    rmSync(data);
    renameSync(join(root, "was"), data);
    await node.clock.advance(120_000);
    expect(calls()).toEqual([]);
  });

  test("that is written by way of a link is refused as a whole, and what runs on is said to be started no more", async () => {
    symlinkSync(data, join(root, "way"));
    node.source.set({ app: mounting(join(root, "way")) });
    await node.start();
    await node.untilSettled(["app"]);
    chmodSync(root, 0o777);
    await node.until("refused", ["app"], 60_000);
    expect(node.view("app")).toMatchObject({
      reason: expect.stringMatching(/; its container runs on, and is not started again once it has ended$/),
      image: "app:1",
    });
    crash(node, "app");
    await node.clock.advance(120_000);
    expect(node.engine.running("app")).toBeUndefined();
  });
});

test("a service that is refused and runs on holds its ports: nobody is stopped for them", async () => {
  await bringUp();
  const other = (port: number): string => buildManifest({ top: `ports = ["127.0.0.1:${port}:80"]` });
  node.source.set({ app: mounting(data), other: other(9_090) });
  await node.untilSettled(["other"]);
  node.engine.calls.length = 0;
  // What Git wants of the one is another port, and it is refused all the same: it runs on with the one that it has.
  const moved = mounting(data).replace("8080", "7070");
  node.source.set({ app: moved, other: other(8_080) });
  await node.clock.advance(60_000);
  expect(node.engine.running("other")?.run).toBe(1);
  expect(calls()).not.toContain("stopContainer");
  expect(node.view("other").reason).toMatch(
    /host port 127\.0\.0\.1:8080\/tcp is held by the service app of this node.*: publish another port/,
  );
});

test("a source that is exchanged for a link after it was judged is not mounted by the start that was planned before", async () => {
  node.source.set({ app: mounting(data) });
  await node.start();
  await node.untilSettled(["app"]);
  const judged = node.events.flatMap((event) =>
    event.kind === "step-done" && (event.step.kind === "create-container" || event.step.kind === "start-container")
      ? [event.step.binds]
      : [],
  );
  const bind = { source: data, target: "/data", real: realpathSync(data) };
  expect(judged).toEqual([[bind], [bind]]);
  crash(node, "app");
  await node.clock.advance(100);
  renameSync(data, join(root, "was"));
  symlinkSync("/etc", data);
  node.engine.calls.length = 0;
  await node.clock.advance(20_000);
  expect(calls()).not.toContain("startContainer");
  expect(node.engine.running("app")).toBeUndefined();
});
