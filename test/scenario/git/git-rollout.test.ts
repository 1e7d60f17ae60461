// A node that waits for another one's rollout (`rollout.after`), on a real Git server and a forge that answers as Gitea does:
// what the other node says of the commit decides, and nothing is asked while nothing waits.

import { afterEach, beforeEach, expect, test } from "vitest";

import { createStatusReader } from "../../../agent/sources/forge/status-reader.ts";
import { buildPlatform, fetchHere, openGitSource } from "../../builders/git/git-node.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode, troubleOf } from "../../builders/node/node.ts";
import { FakeGitea } from "../../fakes/fake-gitea.ts";

let server: GitServer;
let forge: FakeGitea;
let node: TestNode;

beforeEach(async () => {
  server = await new GitServer().start();
  forge = await new FakeGitea().start();
  const location = { url: forge.url, branch: "main", tokenFile: server.writeToken("reader"), caFile: undefined };
  const readStatus = createStatusReader({ location, apiUrl: undefined });
  node = new TestNode({
    openSource: (clock) =>
      openGitSource(server, clock, { fetch: fetchHere, readStatus, requestMs: 60_000, fetchMs: 60_000 }),
  });
});

afterEach(async () => {
  await node.dispose();
  await server.dispose();
  await forge.stop();
});

/** Both nodes run the same image, but for what a test says. */
function commit(image: string, { other = image, message = "change", words = "" } = {}): string {
  const platform = buildPlatform(
    { a: buildManifest({ image }) },
    { "orca/manifests/vm2/a.toml": buildManifest({ image: other }), "README.md": words },
  );
  const fleet = (platform["orca/fleet.toml"] ?? "").replace(
    'env = "prod"',
    'env = "prod"\nrollout = { after = "vm2" }',
  );
  return server.repository.commit({ files: { ...platform, "orca/fleet.toml": fleet }, message });
}

function say(sha: string, state: string, context = "orca/vm2"): void {
  forge.rows.push({ id: forge.rows.length + 1, sha, state, context, description: "", target_url: "" });
}

async function begin(): Promise<void> {
  commit("app:1");
  await node.start();
  await node.untilSettled(["a"]);
  forge.seen.length = 0;
}

async function untilSaid(says: RegExp): Promise<void> {
  await node.clock.advance(1_000);
  await node.clock.advanceUntil(() => says.test(troubleOf(node)), 400_000, String(says));
}

async function untilImage(image: string): Promise<void> {
  await node.clock.advanceUntil(() => node.engine.running("a")?.image === image, 400_000, image);
}

test("a first installation asks nobody; a change waits until the other node has settled on it", async () => {
  await begin();
  const id = commit("app:2");
  await untilSaid(/waits for vm2 \(rollout\.after\): it has not settled there yet; waiting since .* UTC/);
  say(id, "pending");
  say(id, "success", "orca/another");
  forge.seen.length = 0;
  await node.clock.advance(60_000);
  expect(node.engine.running("a")?.image).toBe("app:1");
  expect(forge.seen.length).toBeGreaterThan(2);
  expect(forge.seen.length).toBeLessThan(12);
  say(id, "success");
  await untilImage("app:2");
  expect(node.turn.source.holds).toEqual([]);
  await node.untilSettled(["a"]);
  forge.seen.length = 0;
  await node.clock.advance(120_000);
  expect(forge.seen).toEqual([]);
});

test("a rollout that failed there is not followed here, and one that is corrected is; over a restart too", async () => {
  await begin();
  const bad = commit("app:2");
  say(bad, "failure");
  await untilSaid(/its rollout there ended with failure; correct it/);
  await node.stop();
  await node.start();
  await untilSaid(/its rollout there ended with failure/);
  expect(node.engine.running("a")?.image).toBe("app:1");
  const good = commit("app:2", { other: "app:3" });
  await untilSaid(/it has not settled there yet/);
  say(good, "success");
  await untilImage("app:2");
});

test("a commit that is nothing new for the other node does not wait; later commits look at the one that brought its part", async () => {
  await begin();
  commit("app:2", { other: "app:1" });
  await untilImage("app:2");
  await node.untilSettled(["a"]);
  expect(forge.seen).toEqual([]);
  const change = commit("app:1", { other: "app:2" });
  say(change, "success");
  commit("app:1", { other: "app:2", words: "more" });
  await untilImage("app:1");
});

test("a forge that does not answer holds the change and says when it is asked again; an emergency does not wait", async () => {
  await begin();
  forge.fault = { kind: "status", status: 503 };
  commit("app:2");
  await untilSaid(/how it went there is not known: .*503.*; next try at .* UTC/);
  forge.seen.length = 0;
  await node.clock.advance(600_000);
  expect(forge.seen.length).toBeLessThan(10);
  expect(node.engine.running("a")?.image).toBe("app:1");
  commit("app:2", { message: "fix login\n\nOrca-Emergency: nobody can log in\n", words: "x" });
  await untilImage("app:2");
});

test("a change that drops its rollout.after waits by the one in force", async () => {
  await begin();
  const files = buildPlatform({ a: buildManifest({ image: "app:2" }) });
  const id = server.repository.commit({ files });
  await untilSaid(/waits for vm2/);
  say(id, "success");
  await untilImage("app:2");
});

test("a commit that another one overtook there is no verdict: neither good nor bad, whichever of many is asked", async () => {
  await begin();
  const overtaken = commit("app:2");
  say(overtaken, "error");
  await untilSaid(/it has not settled there yet/);
  // What settles there is one of many commits that are the same to that node, and not at either end of them.
  const many = Array.from({ length: 30 }, (_none, index) => commit("app:2", { words: String(index) }));
  await node.clock.advance(60_000);
  expect(node.engine.running("a")?.image).toBe("app:1");
  say(many[14] ?? "", "success");
  await untilImage("app:2");
});
