// Approval on a whole agent, a real server and real tags: what approves a change, what does not, and what is said meanwhile.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import type { TrustedKey } from "../../../shared/config/trusted-key.ts";
import { buildPlatform, fetchHere, openGitSource } from "../../builders/git/git-node.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { commitSigned, makeKey, tag, type TestKey, trust } from "../../builders/git/git-signing.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode, troubleOf } from "../../builders/node/node.ts";

/** Real processes on a machine that may be busy: what is tested here is no deadline. */
const PATIENT = { requestMs: 60_000, fetchMs: 60_000 };
const directory = mkdtempSync(join(tmpdir(), "orca-keys-"));
let own: TestKey;
let other: TestKey;
let server: GitServer;
let node: TestNode;
let keys: TrustedKey[] | undefined;

beforeAll(() => {
  own = makeKey(directory, "own");
  other = makeKey(directory, "other");
});

afterAll(() => rmSync(directory, { recursive: true }));

beforeEach(async () => {
  keys = undefined;
  server = await new GitServer().start();
  node = new TestNode({
    openSource: (clock) => openGitSource(server, clock, { fetch: fetchHere, readKeys: async () => keys, ...PATIENT }),
  });
});

afterEach(async () => {
  await node.dispose();
  await server.dispose();
});

function files(image: string, more: Record<string, string> = {}): Record<string, string> {
  const platform = buildPlatform({ a: buildManifest({ image }) }, more);
  const fleet = platform["orca/fleet.toml"] ?? "";
  return { ...platform, "orca/fleet.toml": fleet.replace('env = "prod"', 'env = "prod"\napproval = "tag"') };
}

function commit(image: string, more: Record<string, string> = {}): string {
  const key = keys === undefined ? undefined : own;
  return commitSigned(server.repository, { files: files(image, more), key });
}

function approve(name: string, id: string, how: TestKey | "annotated" | "light" = "annotated"): void {
  tag(server.repository, `orca/approve/${name}`, id, how);
}

async function untilHeld(id: string): Promise<void> {
  const held = (): boolean =>
    node.turn.source.holds.some(({ why }) => why.code === "not-approved" && why.revision === id);
  await node.clock.advance(1_000);
  await node.clock.advanceUntil(held, 60_000, "the hold");
}

async function untilImage(image: string): Promise<void> {
  await node.clock.advanceUntil(() => node.engine.running("a")?.image === image, 60_000, image);
}

/** What was told of approvals, turn by turn. */
function approvals(): (string | undefined)[] {
  return node.events.flatMap((event) => (event.kind === "turn" ? [event.turn.source.approval] : []));
}

/** The first commit, approved and running. */
async function begin(): Promise<void> {
  approve("vm1/first", commit("app:1"), keys === undefined ? "annotated" : own);
  await node.start();
  await untilImage("app:1");
  await node.untilSettled(["a"]);
}

test("a first installation waits for its tag, and says so", async () => {
  const id = commit("app:1");
  await node.start();
  await untilHeld(id);
  expect(troubleOf(node)).toMatch(
    /^the first installation of vm1 waits for approval: run git tag -a -m approve orca\/approve\/vm1\/[0-9a-f]{12} [0-9a-f]{40} && git push origin orca/,
  );
  expect(troubleOf(node)).toContain("(without source.git.trusted_keys the tag of anybody who may push counts)");
  expect(node.engine.calls).toEqual([]);
  approve("vm1/1", id);
  await untilImage("app:1");
  // The name in it is the pusher's own choice, and with a tag of the forge's API the forge's: it is told as no more.
  expect(approvals()).toContain(
    "orca/approve/vm1/1 by whoever pushed it (it says Jane Doe <jane@example.com>, which nothing proves)",
  );
});

test("a change waits, its plan is visible, an approval outlives a restart, and a poll costs little throughout", async () => {
  await begin();
  server.seen.length = 0;
  const id = commit("app:2");
  await untilHeld(id);
  expect(node.notes).toContainEqual(expect.stringMatching(/would make anew a: see orca plan/));
  expect((await node.agent.preview()).held).toMatchObject({ revision: id, operations: [{ lane: "a" }] });
  await node.stop();
  await node.start();
  await untilHeld(id);
  server.seen.length = 0;
  await node.clock.advance(120_000);
  expect(server.count("pack")).toBe(0);
  for (const { sentBytes, answeredBytes } of server.seen) expect(sentBytes + answeredBytes).toBeLessThan(2_000);
  expect(server.seen.length).toBeLessThanOrEqual(10);
  approve("vm1/2", id);
  await untilImage("app:2");
  expect(node.turn.source).toMatchObject({ holds: [], revision: id });
  await node.untilSettled(["a"]);
  await node.stop();
  server.repository.git("tag", "-d", "orca/approve/vm1/2");
  await node.start();
  await node.clock.advance(60_000);
  expect([node.turn.source.holds, node.engine.running("a")?.image]).toEqual([[], "app:2"]);
});

test("what leaves the node alone needs no approval; an approval counts for the same objects, whatever else was committed", async () => {
  await begin();
  const id = commit("app:1", { "README.md": "words", "orca/manifests/vm2/b.toml": "x" });
  await node.clock.advanceUntil(() => node.turn.source.revision === id, 60_000, "the commit");
  const change = commit("app:2");
  commit("app:2", { "README.md": "more words" });
  approve("vm1/2", change);
  await untilImage("app:2");
});

test("a change cannot drop its own approval", async () => {
  await begin();
  const id = commitSigned(server.repository, { files: buildPlatform({ a: buildManifest({ image: "app:2" }) }) });
  await untilHeld(id);
  await node.clock.advance(60_000);
  expect(node.engine.running("a")?.image).toBe("app:1");
});

describe("a tag", () => {
  test("that is lightweight, another node's or of something else approves nothing, and is named where it looks like one", async () => {
    await begin();
    const older = server.repository.tip() ?? "";
    const id = commit("app:2");
    approve("vm2/2", id);
    approve("vm1/older", older);
    approve("vm1/light", id, "light");
    await node.clock.advanceUntil(() => troubleOf(node).includes("lightweight"), 60_000, "the reason");
    expect(troubleOf(node)).toMatch(
      /the tag orca\/approve\/vm1\/light does not approve it: it is a lightweight tag; make an annotated one \(git tag -a\)$/,
    );
    // The object of another node's tag under this node's name.
    server.repository.git("update-ref", "refs/tags/orca/approve/vm1/copied", "refs/tags/orca/approve/vm2/2");
    await node.clock.advanceUntil(
      () => troubleOf(node).includes("it was made as orca/approve/vm2/2"),
      60_000,
      "the reason",
    );
    approve("vm1/tag-of-tag", "refs/tags/orca/approve/vm2/2");
    await node.clock.advanceUntil(() => troubleOf(node).includes("points at another tag"), 60_000, "the reason");
    expect(node.engine.running("a")?.image).toBe("app:1");
    approve("vm1/right", id);
    await untilImage("app:2");
  });

  test("counts with trusted keys only when it is signed with a key for this node", async () => {
    keys = [trust(own, ["vm1"], true), trust(other, ["vm2"], true)];
    await begin();
    const id = commit("app:2");
    await untilHeld(id);
    expect(troubleOf(node)).toContain("git tag -s");
    approve("vm1/plain", id);
    approve("vm1/other", id, other);
    const says = (): boolean => troubleOf(node).includes("that key is not allowed for vm1");
    await node.clock.advanceUntil(says, 60_000, "the reasons");
    expect(troubleOf(node)).toMatch(/the tag orca\/approve\/vm1\/plain does not approve it: it is not signed/);
    expect(node.engine.running("a")?.image).toBe("app:1");
    approve("vm1/right", id, own);
    await untilImage("app:2");
  });
});

test("a server of protocol 0 shows its tags too", async () => {
  server.fault = { kind: "protocol-0" };
  await begin();
  const id = commit("app:2");
  await untilHeld(id);
  approve("vm1/2", id);
  await untilImage("app:2");
});

test("what is held does not go in once its signature counts no more", async () => {
  keys = [trust(own, ["vm1"], true)];
  await begin();
  const id = commit("app:2");
  await untilHeld(id);
  keys = [trust(other, ["vm1"], true)];
  await node.clock.advanceUntil(() => node.turn.source.holds[0]?.kind === "trust", 60_000, "the refusal");
  expect(troubleOf(node)).toContain(own.fingerprint);
  approve("vm1/2", id, other);
  await node.clock.advance(60_000);
  expect([node.engine.running("a")?.image, node.turn.source.holds.map(({ kind }) => kind)]).toEqual([
    "app:1",
    ["trust"],
  ]);
});
