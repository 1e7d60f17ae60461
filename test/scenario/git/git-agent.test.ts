// The whole agent on a real Git server: what a commit changes and what it leaves alone, the deletion brake, and a restart
// with Git gone.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { LABEL } from "../../../shared/state/identity.ts";
import { buildPlatform, openGitSource } from "../../builders/git/git-node.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode, troubleOf } from "../../builders/node/node.ts";

let server: GitServer;
let node: TestNode;

beforeEach(async () => {
  server = await new GitServer().start();
  node = new TestNode({ openSource: (clock) => openGitSource(server, clock) });
});

afterEach(async () => {
  await node.dispose();
  await server.dispose();
});

async function bringUp(files: Record<string, string>, names: readonly string[]): Promise<string> {
  const tip = server.repository.commit({ files });
  await node.start();
  await node.untilSettled(names);
  node.engine.calls.length = 0;
  return tip;
}

/** Delivered files of this node, by where they are delivered. */
function readDelivered(): Record<string, string> {
  const root = join(node.stateDir, "files");
  const paths = readdirSync(root, { recursive: true, encoding: "utf8" });
  const files = paths.filter((path) => statSync(join(root, path)).isFile() && !path.endsWith("hosts"));
  return Object.fromEntries(files.map((path) => [path, readFileSync(join(root, path), "utf8")]));
}

const SYNC = { kind: "sync", retry: undefined, allowRemoval: undefined, actor: { uid: 0, user: "root" } } as const;

const PROXY = buildManifest({
  tables: [
    '[[files]]\nsource = "files/proxy.tmpl"\ntarget = "/etc/proxy.conf"\ntemplate = true',
    '[[files]]\nsource = "files/plain"\ntarget = "/etc/plain"',
  ].join("\n"),
});
const ROUTED = buildManifest({ tables: '[[routes]]\nhost = "shop.example"\nport = 80' });
const TOPOLOGY = {
  ...buildPlatform({ proxy: PROXY, a: buildManifest() }, { "orca/manifests/vm2/shop.toml": ROUTED }),
  "orca/manifests/vm1/files/proxy.tmpl": "{% for route in routes %}{{ route.host }} {{ route.upstream }}\n{% endfor %}",
  "orca/manifests/vm1/files/plain": "as it is",
};

test("a commit that leaves this node's inputs as they are touches nothing, and status shows the new tip", async () => {
  const first = await bringUp(TOPOLOGY, ["proxy", "a"]);
  for (const [path, text] of [
    ["README.md", "# words"],
    ["orca/manifests/vm2/new.toml", buildManifest()],
    ["orca/manifests/vm2/broken.toml", "image = 5"],
  ] as const) {
    const tip = server.repository.commit({ files: { ...TOPOLOGY, [path]: text } });
    await node.clock.advance(60_000);
    expect([node.turn.source.revision, node.turn.desired?.revision]).toEqual([tip, tip]);
  }
  expect(node.engine.calls).toEqual([]);
  expect(node.view("a").revision).toBe(first);
  await node.stop();
  await node.start();
  await node.untilSettled(["proxy", "a"]);
  expect(node.engine.calls).toEqual([]);
  expect(node.engine.running("a")?.labels[LABEL.revision]).toBe(first);
});

test("a restart with Git gone goes on from what was in force, files and other nodes' routes included", async () => {
  await bringUp(TOPOLOGY, ["proxy", "a"]);
  const delivered = readDelivered();
  expect(Object.values(delivered)).toEqual(
    expect.arrayContaining(["as it is", expect.stringMatching(/^shop\.example 10\.0\.0\.2:80/)]),
  );
  await node.stop();
  await server.stop();
  await node.start();
  await node.untilSettled(["proxy", "a"]);
  await node.clock.advance(300_000);
  expect(troubleOf(node)).toMatch(/nothing listens/);
  expect(node.engine.calls).toEqual([]);
  expect(readDelivered()).toEqual(delivered);
  // What is in force is healed like ever.
  const proxy = node.engine.running("proxy");
  if (proxy !== undefined) node.engine.end(proxy, 1);
  await node.clock.advance(5_000);
  expect(node.engine.running("proxy")).toBeDefined();
  expect(readDelivered()).toEqual(delivered);
});

test("the deletion brake holds a commit, also over a restart, until the tip's trailer lets it pass", async () => {
  const names = ["a", "b", "c", "d", "e"];
  const all = Object.fromEntries(names.map((name) => [name, buildManifest()]));
  await bringUp(buildPlatform(all), names);
  const fewer = buildPlatform({ a: buildManifest() });
  server.repository.commit({ files: fewer, message: "clean up" });
  const held = (): boolean => troubleOf(node).includes("would remove 4 of 5 services");
  await node.clock.advanceUntil(held, 60_000, "the brake");
  expect(troubleOf(node)).toMatch(/write the trailer Orca-Allow-Removal: 4 into the commit/);
  await node.stop();
  await node.start();
  await node.clock.advance(1_000);
  await node.clock.advanceUntil(held, 60_000, "the brake after a restart");
  for (const trailer of [
    "Orca-Allow-Removal: 3",
    "Orca-Allow-Removal: all",
    "Orca-Allow-Removal: 4\n\nno trailer any more",
  ]) {
    server.repository.commit({ files: fewer, message: `clean up\n\n${trailer}\n` });
    await node.clock.advance(30_000);
    expect(held()).toBe(true);
  }
  expect(node.engine.calls).toEqual([]);
  server.repository.commit({
    files: fewer,
    message: "clean up\n\nthey are gone\n\norca-allow-removal: 4\nSigned-off-by: Jane\n",
  });
  await node.clock.advanceUntil(() => node.engine.running("b") === undefined, 60_000, "the removal");
  expect(node.turn.source.trouble).toBe(undefined);
  expect(node.engine.running("a")).toBeDefined();
  // What one commit was allowed, the next is not.
  server.repository.commit({ files: buildPlatform(all), message: "bring them back" });
  await node.untilSettled(names);
  server.repository.commit({ files: fewer, message: "clean up again" });
  await node.clock.advanceUntil(held, 60_000, "the brake again");
});

test("a removal that is allowed together with its commit passes, and the allowance is not kept for another", async () => {
  const names = ["a", "b", "c", "d", "e"];
  const all = Object.fromEntries(names.map((name) => [name, buildManifest()]));
  const fewer = buildPlatform({ a: buildManifest() });
  await bringUp(buildPlatform(all), names);
  // Allowed while nothing is removed: it is used up by what that sync finds.
  node.agent.request({ ...SYNC, allowRemoval: 4 });
  await node.clock.advance(30_000);
  server.repository.commit({ files: fewer });
  await node.clock.advance(30_000);
  expect(troubleOf(node)).toMatch(/would remove 4 of 5/);
  server.repository.commit({ files: buildPlatform(all) });
  await node.clock.advance(30_000);
  expect(node.engine.calls).toEqual([]);
  // Pushed and allowed at once, before the agent has seen the commit.
  server.repository.commit({ files: fewer });
  node.agent.request({ ...SYNC, allowRemoval: 4 });
  await node.clock.advanceUntil(() => node.engine.running("b") === undefined, 60_000, "the removal");
  expect(node.turn.source.trouble).toBe(undefined);
});

test("orca sync polls at once; a burst of them makes at most two reconciles that fetch", async () => {
  await bringUp(buildPlatform({ a: buildManifest() }), ["a"]);
  await node.clock.advance(8_000);
  const packs = server.count("pack");
  server.repository.commit({ files: buildPlatform({ a: buildManifest({ image: "app:2" }) }) });
  node.agent.request(SYNC);
  await node.clock.advanceUntil(() => server.count("pack") > packs, 2_000, "a fetch");
  for (let push = 0; push < 49; push += 1) {
    server.repository.commit({ files: buildPlatform({ a: buildManifest({ image: "app:2" }) }), message: String(push) });
    node.agent.request(SYNC);
    await node.clock.advance(100);
  }
  await node.clock.advance(8_000);
  expect(server.count("pack") - packs).toBe(2);
  expect(node.turn.source.revision).toBe(server.repository.tip());
  await node.untilSettled(["a"]);
  expect(node.engine.running("a")?.image).toBe("app:2");
});

test("a new node without Git touches nothing and says so; it comes up when Git does", async () => {
  server.repository.commit({ files: buildPlatform({ a: buildManifest() }) });
  await server.stop();
  await node.start();
  await node.clock.advance(60_000);
  expect(node.engine.calls).toEqual([]);
  expect(node.turn).toMatchObject({ desired: undefined, source: { readMs: undefined } });
  expect(troubleOf(node)).toMatch(/nothing listens/);
  await server.start();
  await node.untilSettled(["a"]);
});

test("an agent that is killed while a child fetches goes on from what was in force", async () => {
  await bringUp(buildPlatform({ a: buildManifest() }), ["a"]);
  server.fault = { kind: "pack-half" };
  server.repository.commit({ files: buildPlatform({ a: buildManifest({ image: "app:2" }) }) });
  await node.clock.advance(30_000);
  node.kill();
  server.fault = undefined;
  await node.start();
  await node.clock.advanceUntil(() => node.engine.running("a")?.image === "app:2", 60_000, "the change");
});

test("files that change forth and back stay readable: differences between packs never lean on each other in a circle", async () => {
  const files = (text: string): Record<string, string> => ({ ...TOPOLOGY, "orca/manifests/vm1/files/plain": text });
  await bringUp(TOPOLOGY, ["proxy", "a"]);
  for (const word of ["one", "two", "one", "two", "three", "one", "two", "one"]) {
    const text = word + "the same words in each of them\n".repeat(200);
    const tip = server.repository.commit({ files: files(text) });
    await node.clock.advanceUntil(() => node.turn.source.revision === tip, 60_000, word);
    await node.clock.advance(5_000);
    expect(Object.values(readDelivered())).toContain(text);
  }
});
