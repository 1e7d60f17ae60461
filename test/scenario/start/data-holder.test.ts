// Nobody begins to write to data while somebody is still writing there who is no longer in Git, however the commits come.

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
