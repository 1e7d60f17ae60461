// The whole agent on a real Git server tells a forge what became of a commit, and keeps its head when the forge does not.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { createLogger } from "../../../agent/report/log/logger.ts";
import { CommitStatus } from "../../../agent/report/notify/commit-status.ts";
import type { TrustedKey } from "../../../shared/config/trusted-key.ts";
import { buildPlatform, fetchHere, openGitSource } from "../../builders/git/git-node.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { commitSigned, makeKey, trust } from "../../builders/git/git-signing.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import { FakeGitea, type FakeStatus } from "../../fakes/fake-gitea.ts";

let server: GitServer;
let forge: FakeGitea;
let node: TestNode;
let log: string;
let pollMs: number;
let keys: readonly TrustedKey[] | undefined;

beforeEach(async () => {
  server = await new GitServer().start();
  forge = await new FakeGitea().start();
  log = "";
  pollMs = 15_000;
  keys = undefined;
  const logger = createLogger("debug", { write: (line) => void (log += line) });
  const tokenFile = join(server.root, "status-token");
  writeFileSync(tokenFile, "writer\n", { mode: 0o600 });
  node = new TestNode({
    // The child that verifies is a real process.
    openSource: (clock) =>
      openGitSource(server, clock, { fetch: fetchHere, pollMs, requestMs: 60_000, readKeys: async () => keys }),
    openSink: (clock, stateDir) => {
      const sink = new CommitStatus({ node: "vm1", stateDir, clock, logger, deadlineMs: 400 });
      const targetUrl = "https://status.example/{node}/{sha}";
      sink.configure({ url: forge.url, apiUrl: undefined, tokenFile, caFile: undefined, targetUrl });
      return sink;
    },
  });
});

afterEach(async () => {
  await node.dispose();
  await server.dispose();
  await forge.stop();
});

function commit(manifests: Readonly<Record<string, string>>, others: Record<string, string> = {}): string {
  return server.repository.commit({ files: buildPlatform(manifests, others) });
}

function told(sha: string): string[] {
  return forge.rows.filter((row) => row.sha === sha).map((row) => `${row.state} ${row.description}`);
}

function newest(): FakeStatus | undefined {
  return forge.newest("orca/vm1");
}

async function untilTold(sha: string, state: string, withinMs = 300_000): Promise<void> {
  const shows = (): boolean => newest()?.sha === sha && newest()?.state === state;
  await node.clock.advanceUntil(shows, withinMs, `${state} of ${sha}`);
  await node.clock.settle();
}

const good = { a: buildManifest(), b: buildManifest() };

test("a commit goes from pending to success; one that does not concern the node gets no word", async () => {
  const first = commit(good);
  await node.start();
  await untilTold(first, "success");
  expect(told(first)).toEqual([
    expect.stringMatching(/^pending 0 of 2 settled; a is \w+/),
    "success 2 services are settled",
  ]);
  expect(newest()).toMatchObject({ context: "orca/vm1", target_url: `https://status.example/vm1/${first}` });
  commit(good, { "orca/manifests/vm2/x.toml": buildManifest(), "README.md": "# words" });
  await node.clock.advance(120_000);
  expect(forge.rows).toHaveLength(2);
  const third = commit({ ...good, a: buildManifest({ image: "app:2" }) });
  await untilTold(third, "success");
  expect(told(third).map((text) => text.split(" ")[0])).toEqual(["pending", "success"]);
});

test("a broken image is rolled back and told with the release that serves and why", async () => {
  const first = commit(good);
  await node.start();
  await untilTold(first, "success");
  const bad = commit({ ...good, a: buildManifest({ image: "app:none" }) });
  await untilTold(bad, "failure");
  expect(newest()?.description).toMatch(new RegExp(`^rolled back to ${first.slice(0, 12)}: a: `));
  const back = commit(good);
  await untilTold(back, "success");
});

test("a commit that is not trusted is told so, and the next good one is told in its place", async () => {
  const key = makeKey(join(server.root, "keys"), "ops");
  const first = commit(good);
  await node.start();
  await untilTold(first, "success");
  keys = [trust(key, ["vm1"], true)];
  const bad = commit({ ...good, a: buildManifest({ image: "app:2" }) });
  await untilTold(bad, "failure");
  expect(newest()?.description).toMatch(/^not applied: .*commit [0-9a-f]{12} by .* is not trusted: it is not signed/);
  expect(newest()?.description).toMatch(/sign it with a key .*ts with nodes = \["vm1"\] .*or revert it$/);
  expect(node.engine.running("a")?.image).toBe("app:1");
  // It is taken back, and the next one is signed.
  const back = commitSigned(server.repository, { files: buildPlatform(good), key });
  await node.clock.advanceUntil(() => node.turn.source.newest?.revision === back, 60_000, "it is taken back");
  const files = buildPlatform({ ...good, b: buildManifest({ image: "app:2" }) });
  const signed = commitSigned(server.repository, { files, key });
  await untilTold(signed, "success");
  expect(node.engine.running("b")?.image).toBe("app:2");
});

test("what is held and what is invalid is told as such, on the commit that brought it", async () => {
  const names = ["a", "b", "c", "d"];
  const first = commit(Object.fromEntries(names.map((name) => [name, buildManifest()])));
  await node.start();
  await untilTold(first, "success");
  const fewer = commit({ a: buildManifest() });
  await untilTold(fewer, "pending");
  expect(newest()?.description).toMatch(/^held: the change to \w+ would remove 3 of 4 services/);
  const broken = commit({ ...Object.fromEntries(names.map((name) => [name, buildManifest()])), a: "image = 5" });
  await untilTold(broken, "failure");
  expect(newest()?.description).toMatch(/^invalid: a: orca\/manifests\/vm1\/a\.toml:1:/);
});

test("a commit that another one overtakes is told as superseded, after the newest word", async () => {
  commit(good);
  await node.start();
  await node.untilSettled(["a", "b"]);
  const slow = commit({ ...good, a: buildManifest({ image: "app:2", tables: '[update]\nsettle = "5m"' }) });
  await untilTold(slow, "pending");
  const last = commit({ ...good, a: buildManifest({ image: "app:1", top: 'owner = "jane"' }) });
  await untilTold(last, "pending");
  await node.clock.advance(10_000);
  await untilTold(last, "success");
  expect(told(slow).at(-1)).toBe(`error superseded by ${last.slice(0, 12)} before it had settled here`);
});

test("no commit that was overtaken stays pending: several of them, a forge that is away and a restart", async () => {
  commit(good);
  await node.start();
  await node.untilSettled(["a", "b"]);
  const slow = (turn: number): string =>
    commit({ ...good, a: buildManifest({ tables: `[env]\nTURN = "${turn}"\n[update]\nsettle = "5m"` }) });
  const overtaken: string[] = [];
  for (const turn of [1, 2, 3]) {
    overtaken.push(slow(turn));
    await untilTold(overtaken.at(-1) ?? "", "pending");
    // Its last word and those of the ones before meet a forge that fails, and then an agent that is gone.
    if (turn === 3) forge.fault = { kind: "status", status: 502 };
  }
  const last = commit(good);
  await node.clock.advance(30_000);
  await node.stop();
  forge.fault = undefined;
  await node.start();
  await untilTold(last, "success");
  const pending = (): string[] => overtaken.filter((sha) => told(sha).at(-1)?.startsWith("pending"));
  await node.clock.advanceUntil(() => pending().length === 0, 120_000, "the last words");
  expect(overtaken.map((sha) => told(sha).at(-1)?.split(" ")[0])).toEqual(["error", "error", "error"]);
});

test("a superseded commit that the forge has lost is given up, and keeps no other word waiting for long", async () => {
  commit(good);
  await node.start();
  await node.untilSettled(["a", "b"]);
  const lost = commit({ ...good, a: buildManifest({ image: "app:2", tables: '[update]\nsettle = "5m"' }) });
  await untilTold(lost, "pending");
  const last = commit({ ...good, a: buildManifest({ top: 'owner = "jane"' }) });
  forge.commits = new Set([last]);
  await untilTold(last, "success");
  await node.clock.advance(300_000);
  const before = forge.seen.length;
  await node.clock.advance(1_200_000);
  expect([forge.seen.length, node.sink?.note?.text]).toEqual([before, undefined]);
});

test("a restart repeats nothing, and a commit that came meanwhile is told", async () => {
  const first = commit(good);
  await node.start();
  await untilTold(first, "success");
  await node.stop();
  await node.start();
  await node.clock.advance(120_000);
  expect(forge.rows).toHaveLength(2);
  await node.stop();
  const second = commit({ ...good, a: buildManifest({ image: "app:2" }) });
  await node.start();
  await untilTold(second, "success");
  expect(readFileSync(join(node.stateDir, "commit-status.json"), "utf8")).not.toContain("writer");
});

test("kill -9 between two words: the next agent goes on and says nothing twice", async () => {
  const first = commit(good);
  await node.start();
  await untilTold(first, "pending");
  node.kill();
  await node.start();
  await untilTold(first, "success");
  await node.clock.advance(60_000);
  expect(told(first).map((text) => text.split(" ")[0])).toEqual(["pending", "success"]);
  // What was written is damaged: the same is told again, which runs well by now, and nothing breaks.
  node.kill();
  writeFileSync(join(node.stateDir, "commit-status.json"), "{half");
  await node.start();
  await node.clock.advance(60_000);
  expect(told(first).map((text) => text.split(" ")[0])).toEqual(["pending", "success", "success"]);
});

test("a forge that is away costs the loop nothing; the newest word alone is told when it is back", async () => {
  await forge.stop();
  commit(good);
  await node.start();
  await node.untilSettled(["a", "b"]);
  expect(node.sink?.note?.text).toMatch(
    /^the status of commit \w{12} is not told: nothing listens at .*; next try in /,
  );
  const second = commit({ ...good, a: buildManifest({ image: "app:2" }) });
  await node.clock.advanceUntil(() => node.engine.running("a")?.image === "app:2", 60_000, "the change");
  await node.untilSettled(["a", "b"]);
  await forge.start();
  await untilTold(second, "success", 700_000);
  expect(forge.rows).toHaveLength(1);
  expect(node.sink?.note?.text).toBe(undefined);
  // Said once, although it was tried several times.
  expect(log.match(/could not be told/g)).toHaveLength(1);
});

test("429 is waited for as long as the forge asks", async () => {
  forge.fault = { kind: "status", status: 429, headers: { "retry-after": "120" } };
  commit(good);
  await node.start();
  await node.clock.advance(110_000);
  expect(forge.seen).toHaveLength(1);
  expect(node.sink?.note?.text).toMatch(/limits the rate of requests \(429\); next try in/);
  forge.fault = undefined;
  await node.clock.advance(15_000);
  expect(forge.rows).toHaveLength(1);
});

test.each([
  ["reader", /needs the scope write:repository/],
  ["weak", /may not write the repository/],
  ["stranger", /finds no such repository or commit/],
  ["nonsense", /does not know the token in/],
])("the token %s is said with its cause and the next try, and tried seldom", async (token, words) => {
  const tokenFile = join(server.root, "status-token");
  writeFileSync(tokenFile, token);
  pollMs = 300_000;
  const first = commit(good);
  await node.start();
  await node.untilSettled(["a", "b"]);
  await node.clock.advance(1_500_000);
  expect(node.sink?.note?.text).toMatch(words);
  expect(forge.rows).toEqual([]);
  // From ten seconds to ten minutes.
  expect(forge.seen.length).toBeLessThan(12);
  expect(log.match(/could not be told/g)).toHaveLength(1);
  expect(log).not.toContain(token);
  writeFileSync(tokenFile, "writer");
  await untilTold(first, "success", 700_000);
});

test("a web page, a hang and a commit that is gone hold up nothing and break nothing", async () => {
  pollMs = 60_000;
  for (const fault of [{ kind: "html" }, { kind: "hang" }, { kind: "endless" }] as const) {
    forge.fault = fault;
    const tip = commit({ ...good, a: buildManifest({ tables: `[env]\nFAULT = "${fault.kind}"` }) });
    if (node.sink === undefined) await node.start();
    await node.clock.advance(1_000);
    await node.clock.advanceUntil(() => node.turn.source.revision === tip, 120_000, "the commit");
    await node.untilSettled(["a", "b"]);
  }
  forge.fault = undefined;
  forge.commits = new Set();
  await node.clock.advance(700_000);
  expect(node.sink?.note?.text).toMatch(/the commit may be gone there/);
  forge.commits = undefined;
  await node.clock.advance(700_000);
  expect(newest()).toMatchObject({ sha: server.repository.tip(), state: "success" });
});

test("a renamed repository is followed; words that flap are told seldom", async () => {
  forge.repository = "acme/platform";
  const first = commit(good);
  await node.start();
  await untilTold(first, "success");
  const before = forge.seen.length;
  // A service that breaks after the commit was good says nothing of the commit.
  const a = node.engine.running("a");
  if (a !== undefined) node.engine.end(a, 1);
  await node.clock.advance(60_000);
  expect(forge.seen.length).toBe(before);
  forge.renamed.add("acme/platform");
  forge.repository = "acme/newname";
  const second = commit({ ...good, b: buildManifest({ image: "app:2" }) });
  await untilTold(second, "success");
  expect(existsSync(join(node.stateDir, "commit-status.json"))).toBe(true);
});
