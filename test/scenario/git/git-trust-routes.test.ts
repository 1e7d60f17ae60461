// Trusted keys where a node renders other nodes' routes: whoever changes those directories needs a key for them, and a node that
// renders nothing does not care.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { buildPlatform, fetchHere, openGitSource } from "../../builders/git/git-node.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { commitSigned, makeKey, type TestKey, trust } from "../../builders/git/git-signing.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode, troubleOf } from "../../builders/node/node.ts";

const directory = mkdtempSync(join(tmpdir(), "orca-keys-"));
const PROXY = buildManifest({ tables: '[[files]]\nsource = "files/t"\ntarget = "/t"\ntemplate = true' });
const TEMPLATE = "{% for route in routes %}{{ route.host }} {% endfor %}";
let server: GitServer;
let node: TestNode;
let fleet: TestKey;
let own: TestKey;
let other: TestKey;

beforeEach(async () => {
  [fleet, own, other] = [makeKey(directory, "fleet"), makeKey(directory, "own"), makeKey(directory, "other")];
  const keys = [trust(fleet, ["*"], true), trust(own, ["vm1"]), trust(other, ["vm2"])];
  server = await new GitServer().start();
  node = new TestNode({
    openSource: (clock) =>
      openGitSource(server, clock, {
        fetch: fetchHere,
        readKeys: async () => keys,
        requestMs: 60_000,
        fetchMs: 60_000,
      }),
  });
});

afterEach(async () => {
  await node.dispose();
  await server.dispose();
  rmSync(directory, { recursive: true });
});

function commit(key: TestKey | undefined, host: string | undefined, own1 = PROXY): string {
  const route = host === undefined ? "" : `[[routes]]\nhost = "${host}"\nport = 80`;
  const files = {
    ...buildPlatform({ a: own1 }, { "orca/manifests/vm2/shop.toml": buildManifest({ tables: route }) }),
    "orca/manifests/vm1/files/t": TEMPLATE,
  };
  return commitSigned(server.repository, { files, key });
}

async function untilRevision(id: string): Promise<void> {
  await node.clock.advanceUntil(() => node.turn.source.revision === id, 60_000, id);
}

async function untilRefused(id: string): Promise<void> {
  const says = (): boolean => troubleOf(node).includes(`commit ${id} by`);
  await node.clock.advanceUntil(says, 60_000, "the refusal");
  expect(troubleOf(node)).toMatch(/changes manifests\/vm2 and is not trusted: .* lists with nodes = \["vm2"\]/);
  expect(node.turn.source.holds.map(({ kind }) => kind)).toEqual(["trust"]);
}

test("a proxy follows the routes of another node where a key for that node has signed them", async () => {
  commit(fleet, "a.example");
  await node.start();
  await node.untilSettled(["a"]);
  const first = node.turn.source.revision ?? "";
  await untilRefused(commit(undefined, "evil.example"));
  server.repository.git("update-ref", "refs/heads/main", first);
  await untilRevision(first);
  await untilRefused(commit(own, "evil.example"));
  server.repository.git("update-ref", "refs/heads/main", first);
  const good = commitSigned(server.repository, {
    files: {
      ...buildPlatform({ a: PROXY }, { "orca/manifests/vm2/shop.toml": buildManifest() }),
      "orca/manifests/vm1/files/t": TEMPLATE,
    },
    key: other,
    parent: first,
  });
  await untilRevision(good);
  // Nothing is rendered of it any more, and a route that comes again is judged like the one that went.
  await untilRefused(commit(undefined, "back.example"));
});

test("a node that renders nothing follows whatever other nodes do", async () => {
  commit(fleet, "a.example", buildManifest());
  await node.start();
  await node.untilSettled(["a"]);
  await untilRevision(commit(undefined, "b.example", buildManifest()));
});
