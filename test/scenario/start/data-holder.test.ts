// Nobody begins to write to data while somebody is still writing there to whom Git gives it no more, however the commits come.

import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { policySchema } from "../../../shared/policy/policy.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

let node: TestNode;
let root: string;
/** Which of them were seen alive at once, at a start. */
let together: string[];

const NAMES = ["x", "y", "z"];
const alive = (): string[] =>
  NAMES.filter((name) => node.engine.of(name).some(({ status }) => status === "running" || status === "paused"));

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-holder-"));
  chmodSync(root, 0o755);
  mkdirSync(join(root, "data/inner"), { recursive: true });
  node = new TestNode({ settings: { policy: policySchema.parse({ mounts: { allowed_prefixes: [root] } }) } });
  node.engine.latencyMs.stopContainer = 8_000;
  together = [];
  const start = node.engine.writer.startContainer.bind(node.engine.writer);
  node.engine.writer.startContainer = async (id) => {
    await start(id);
    if (alive().length > 1) together.push(alive().join("+"));
  };
});

afterEach(async () => {
  await node.dispose();
  rmSync(root, { recursive: true, force: true });
});

const DATA = '[[volumes]]\nname = "data"\ntarget = "/data"\n[update]\nsettle = "5s"\n';

function database(top = "", tables = DATA): string {
  return buildManifest({ top: `backup = { none = "a test" }\n${top}`, tables });
}

async function begin(manifest = database()): Promise<void> {
  node.source.set({ x: manifest, web: buildManifest() });
  await node.start();
  await node.untilSettled(["x", "web"]);
}

async function expectOnly(name: string): Promise<void> {
  await node.clock.advance(60_000);
  expect([alive(), together]).toEqual([[name], []]);
  expect(node.view(name).state).toBe("healthy");
}

describe("two renames that are read at once", () => {
  test.each(["the agent was away", "the source was away", "one came just after the other"])("%s", async (how) => {
    await begin();
    if (how === "the agent was away") node.kill();
    if (how === "the source was away") node.source.fail("gone");
    node.source.set({ x: undefined, y: database('moved_from = "x"') });
    if (how === "one came just after the other") await node.clock.advance(10);
    node.source.set({ y: undefined, z: database('moved_from = "y"') });
    if (how === "the agent was away") await node.start();
    node.source.fail(undefined);
    await node.clock.advance(2_000);
    expect(node.view("z")).toMatchObject({
      state: "waiting",
      reason: "waiting until x, which is no longer in Git, has ended: it may still write to data",
    });
    await expectOnly("z");
  });
});

test("another name without moved_from: it waits until the old one has ended", async () => {
  await begin();
  node.source.set({ x: undefined, y: database() });
  await expectOnly("y");
});

test.each([0, 10, 4_000, 9_000, 60_000])("a rename that is taken back after %i ms", async (afterMs) => {
  await begin();
  node.engine.latencyMs.startContainer = 4_000;
  node.source.set({ x: undefined, y: database('moved_from = "x"') });
  await node.clock.advance(afterMs);
  node.source.set({ x: database(), y: undefined });
  await expectOnly("x");
});

test("a rename that is taken back while the new one is just being started again: that start is waited for", async () => {
  await begin();
  node.source.set({ x: undefined, y: database() });
  await node.clock.advance(30_000);
  node.engine.latencyMs.startContainer = 4_000;
  node.engine.remove(node.engine.running("y")?.id ?? "");
  await node.clock.advance(500);
  node.source.set({ x: database(), y: undefined });
  await expectOnly("x");
});

test.each(["data", "data/inner"])("a directory of the host: what was %s before has another name", async (inner) => {
  const place = (name: string): string =>
    `[[volumes]]\nsource = "${join(root, name)}"\ntarget = "/data"\n[update]\nsettle = "5s"\n`;
  await begin(database("", place(inner)));
  node.source.set({ x: undefined, y: database("", place("data")) });
  await expectOnly("y");
});

test("who only reads it, and who shares it with another service of Git, does not wait", async () => {
  const reads = '[[volumes]]\nname = "data"\ntarget = "/data"\nread_only = true\n';
  node.source.set({ x: database(), z: database(), web: buildManifest() });
  await node.start();
  await node.untilSettled(["x", "z", "web"]);
  node.source.set({ x: undefined, y: database("", reads) });
  await node.clock.advance(2_000);
  expect(alive()).toEqual(["x", "y", "z"]);
  await node.clock.advance(60_000);
  expect(alive()).toEqual(["y", "z"]);
});

describe("data that goes from one service of Git to another in one commit", () => {
  const bare = (top = ""): string => buildManifest({ top });
  const other = (): string => database("", DATA.replace('"data"', '"other"'));
  /** Who are alive with this volume. */
  const writers = (volume: string): string[] =>
    NAMES.filter((name) =>
      node.engine
        .of(name)
        .some(
          ({ status, request }) =>
            status === "running" && (request?.spec.volumes ?? []).some(({ name: held }) => held === volume),
        ),
    );
  let twice: string[];

  beforeEach(() => {
    twice = [];
    const start = node.engine.writer.startContainer.bind(node.engine.writer);
    node.engine.writer.startContainer = async (id) => {
      await start(id);
      for (const volume of ["data", "other"]) if (writers(volume).length > 1) twice.push(writers(volume).join("+"));
    };
  });

  async function expectWriters(data: string[], others: string[] = []): Promise<void> {
    await node.clock.advance(120_000);
    expect([writers("data"), writers("other"), twice]).toEqual([data, others, []]);
    for (const name of ["x", "y"]) expect(node.view(name).state, node.view(name).reason).toBe("healthy");
  }

  async function settle(x: string, y: string | undefined): Promise<void> {
    node.source.set({ x, y, web: buildManifest() });
    await node.start();
    await node.untilSettled(["x", "web"]);
  }

  test.each(["was there without it", "is new"])(
    "who gets it %s: it waits until the old container has ended",
    async (how) => {
      await settle(database(), how === "is new" ? undefined : bare());
      node.source.set({ x: bare(), y: database() });
      await node.clock.advance(2_000);
      expect(node.view("y").reason).toContain(
        "waiting until the container of x that may still write to data has ended",
      );
      await expectWriters(["y"]);
    },
  );

  test("the giver cannot have its new image: it keeps the data, and the other waits", async () => {
    await settle(database(), bare());
    node.source.set({ x: buildManifest({ image: "nowhere:1" }), y: database() });
    await node.clock.advance(600_000);
    expect([writers("data"), twice]).toEqual([["x"], []]);
  });

  test("the giver's new release is sick: it does not come back to data that the other writes to", async () => {
    node.engine.images.set("sick:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
    await settle(database(), bare());
    node.source.set({
      x: buildManifest({ image: "sick:1", tables: '[update]\nhealthy_within = "1m"\n' }),
      y: database(),
    });
    await node.clock.advance(600_000);
    expect([writers("data"), twice]).toEqual([["y"], []]);
    expect(node.view("x").reason).toContain("the container of y that may still write to data");
  });

  test("two exchange what they have", async () => {
    await settle(database(), other());
    node.source.set({ x: other(), y: database() });
    await expectWriters(["y"], ["x"]);
  });

  test("the giver requires who gets it", async () => {
    await settle(database(), bare());
    node.source.set({ x: bare('requires = ["y"]'), y: database() });
    await expectWriters(["y"]);
  });

  test("given, and taken back before it has been taken", async () => {
    await settle(database(), bare());
    for (const afterMs of [10, 3_000, 9_000, 20_000]) {
      node.source.set({ x: bare(), y: database() });
      await node.clock.advance(afterMs);
      node.source.set({ x: database(), y: bare() });
      await expectWriters(["x"]);
    }
  });

  test("two have shared it, and one gives it up: no restart of the other waits for that", async () => {
    await settle(database(), database());
    await node.untilSettled(["y"]);
    node.source.set({ x: buildManifest({ image: "nowhere:1" }), y: database() });
    await node.clock.advance(10_000);
    node.engine.end(node.engine.running("y") ?? expect.fail("y does not run"), 1);
    await node.clock.advance(30_000);
    expect(writers("data")).toEqual(["x", "y"]);
  });
});
