// A file that Git LFS keeps is a pointer in the repository: no source delivers that, the service is refused by name, and what
// ran goes on with the file that it has.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { expect, test } from "vitest";

import { DirectorySource } from "../../../agent/sources/directory/directory-source.ts";
import { buildPlatform, openGitSource } from "../../builders/git/git-node.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${"4d7a2146".repeat(8)}\nsize 12345\n`;
const MANIFESTS = {
  a: buildManifest({ tables: '[[files]]\nsource = "files/logo.png"\ntarget = "/srv/logo.png"' }),
  b: buildManifest(),
};

function platform(content: string, image = "app:1"): Record<string, string> {
  const manifests = { ...MANIFESTS, b: buildManifest({ image }) };
  return buildPlatform(manifests, { "orca/manifests/vm1/files/logo.png": content });
}

async function expectRefused(node: TestNode, put: (files: Record<string, string>) => void): Promise<void> {
  put(platform("the file itself"));
  await node.start();
  await node.untilSettled(["a", "b"]);
  const before = node.engine.running("a")?.id;
  put(platform(POINTER, "app:2"));
  await node.clock.advance(1_000);
  await node.clock.advanceUntil(() => node.engine.running("b")?.image === "app:2", 90_000, "the change of the other");
  await node.untilSettled(["b"]);
  expect(node.view("a")).toMatchObject({
    state: "invalid",
    reason: expect.stringMatching(/files\/logo\.png is a Git LFS pointer and not the file itself.*git lfs untrack/),
  });
  expect(node.engine.running("a")?.id).toBe(before);
  put(platform("the file itself, and newer", "app:2"));
  await node.clock.advanceUntil(() => node.view("a").state === "healthy", 90_000, "the file");
}

test("in Git", async () => {
  const server = await new GitServer().start();
  const node = new TestNode({ openSource: (clock) => openGitSource(server, clock, { requestMs: 60_000 }) });
  await expectRefused(node, (files) => void server.repository.commit({ files }));
  await node.dispose();
  await server.dispose();
});

test("in a directory", async () => {
  const directory = mkdtempSync(join(tmpdir(), "orca-lfs-"));
  const node = new TestNode({
    // A directory is read within the turn that asks: it is never at work beside one.
    openSource: (clock) => Object.assign(new DirectorySource({ directory, node: "vm1", clock }), { isBusy: false }),
  });
  await expectRefused(node, (files) => {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, path), text);
    }
  });
  await node.dispose();
  rmSync(directory, { recursive: true, force: true });
});
