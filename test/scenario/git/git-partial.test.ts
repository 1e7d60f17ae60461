// What a node reads counts, and not what else is in the repository: on a server that leaves files out, as Gitea does, large
// files of others are never sent. Without that capability everything is fetched, and the limit is named.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { describeUnread } from "../../../shared/text/words/source-words.ts";
import type { GitSource } from "../../../agent/sources/git/poll/git-source.ts";
import type { Snapshot } from "../../../shared/state/snapshot.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { buildPlatform, type GitChoices, fetchHere, openGitSource } from "../../builders/git/git-node.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { buildManifest } from "../../builders/node/manifest.ts";

const MIB = 2 ** 20;
const FILES = buildPlatform({ a: buildManifest() }, { "orca/manifests/vm1/files/deep/b.conf": "b" });

let server: GitServer;
let clock: FakeClock;
let source: GitSource;

beforeEach(async () => {
  server = await new GitServer().start();
  clock = new FakeClock();
});

afterEach(async () => {
  await source.close();
  await server.dispose();
});

/** What no pack makes smaller. */
function noise(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

async function open(choices: GitChoices = {}): Promise<void> {
  source = openGitSource(server, clock, {
    fetch: fetchHere,
    limitBytes: MIB,
    requestMs: 60_000,
    fetchMs: 60_000,
    ...choices,
  });
  clock.isBusy = () => source.isBusy;
  await source.watch(() => undefined);
  await clock.advance(1_000);
}

async function read(): Promise<Snapshot> {
  const reading = await source.read();
  if (reading.kind === "failed") throw new Error(describeUnread(reading.why));
  return reading.snapshot;
}

async function reasonOf(): Promise<string> {
  const reading = await source.read();
  return reading.kind === "failed" ? describeUnread(reading.why) : "";
}

function sentBytes(): number {
  return server.seen.reduce((sum, { answeredBytes }) => sum + answeredBytes, 0);
}

describe("a file larger than source.git.max_size, anywhere in the repository", () => {
  const large = { "video.bin": noise(3 * MIB), "orca/manifests/vm2/files/dump.sql": noise(2 * MIB) };

  test("is not sent, and the node follows; so do a restart and the next commits", async () => {
    const first = server.repository.commit({ files: { ...FILES, ...large } });
    await open();
    const { revision, files, fleet } = await read();
    expect([revision, Object.keys(files), fleet]).toEqual([first, ["files/deep/b.conf"], FILES["orca/fleet.toml"]]);
    await source.close();
    server.seen.length = 0;
    await open();
    expect([(await read()).revision, server.count("pack"), server.count("files")]).toEqual([first, 0, 0]);
    const changed = { ...FILES, ...large, "orca/manifests/vm1/files/deep/b.conf": "newer" };
    const next = server.repository.commit({ files: { ...changed, "video.bin": noise(4 * MIB) } });
    await clock.advance(20_000);
    const now = await read();
    expect([now.revision, Buffer.from(now.files["files/deep/b.conf"] ?? []).toString()]).toEqual([next, "newer"]);
    // One request for what the node's directory holds now, and none where that stays as it is.
    expect(server.count("files")).toBe(1);
    server.repository.commit({ files: { ...changed, "video.bin": noise(5 * MIB) } });
    await clock.advance(20_000);
    expect((await read()).revision).toBe(server.repository.tip());
    expect([server.count("files"), sentBytes() < 100_000]).toEqual([1, true]);
  });

  test("keeps a server that leaves nothing out from being followed, and says which setting to raise", async () => {
    server.allowFilter(false);
    server.repository.commit({ files: { ...FILES, ...large } });
    await open();
    expect(await reasonOf()).toMatch(/the pack of main.* is larger than 1 MiB: raise source\.git\.max_size/);
    await source.close();
    await open({ limitBytes: 16 * MIB });
    expect((await read()).revision).toBe(server.repository.tip());
  });

  test("of the node itself is the fault of that one file", async () => {
    server.repository.commit({ files: { ...FILES, "orca/manifests/vm1/files/dump.sql": noise(3 * MIB) } });
    await open();
    const { files, faults, manifests } = await read();
    expect([Object.keys(files), Object.keys(manifests["vm1"] ?? {})]).toEqual([["files/deep/b.conf"], ["a"]]);
    expect(faults?.files).toMatchObject({ "files/dump.sql": { code: "file-size" } });
    expect(sentBytes()).toBeLessThan(100_000);
  });
});

test("a server that leaves files out no more, or again, is followed with a clone that is whole", async () => {
  server.repository.commit({ files: FILES });
  await open();
  for (const [index, allowed] of [false, true, false].entries()) {
    server.allowFilter(allowed);
    const text = `b ${index}`;
    // Another file stays as it is: a server that leaves nothing out believes that it is here.
    server.repository.commit({ files: { ...FILES, "orca/manifests/vm1/files/deep/b.conf": text, "README.md": text } });
    await clock.advance(20_000);
    const { revision, files, manifests } = await read();
    expect([revision, Buffer.from(files["files/deep/b.conf"] ?? []).toString()]).toEqual([
      server.repository.tip(),
      text,
    ]);
    expect(Object.keys(manifests["vm1"] ?? {})).toEqual(["a"]);
  }
});

test("a server that leaves nothing out sends only what is new: one of 400 files is a small pack", async () => {
  server.allowFilter(false);
  const many = Object.fromEntries(
    Array.from({ length: 400 }, (_value, index) => [
      `orca/manifests/vm2/s${index}.toml`,
      buildManifest({ image: `i:${index * 7919}` }),
    ]),
  );
  server.repository.commit({ files: { ...FILES, ...many } });
  await open();
  const whole = server.seen.at(-1)?.answeredBytes ?? 0;
  server.repository.commit({ files: { ...FILES, ...many, "orca/manifests/vm2/s5.toml": buildManifest() } });
  await clock.advance(20_000);
  const pack = server.seen.findLast(({ purpose }) => purpose === "pack")?.answeredBytes ?? 0;
  expect([whole > 10_000, pack < 2_000]).toEqual([true, true]);
  expect((await read()).revision).toBe(server.repository.tip());
});

test("a server of protocol 0 is fetched whole", async () => {
  server.fault = { kind: "protocol-0" };
  server.repository.commit({ files: FILES });
  await open();
  expect([(await read()).revision, server.count("files")]).toEqual([server.repository.tip(), 0]);
});

describe("other nodes' manifests", () => {
  const routed = (name: string): string =>
    buildManifest({ tables: `[[routes]]\nhost = "${name}.example.com"\nport = 80\nproxies = ["vm1/a"]` });
  const template = buildManifest({ tables: '[[files]]\nsource = "files/t"\ntarget = "/t"\ntemplate = true' });

  test("come where they are required or their routes are rendered, all in one request", async () => {
    const others = Object.fromEntries(
      Array.from({ length: 12 }, (_none, index) => [`orca/manifests/n${index}/web.toml`, routed(`n${index}`)]),
    );
    server.repository.commit({
      files: buildPlatform({ a: template }, { "orca/manifests/vm1/files/t": "t", ...others }),
    });
    await open();
    expect(Object.keys((await read()).manifests)).toHaveLength(13);
    expect(server.count("files")).toBe(3);
    const next = { ...others, "orca/manifests/n3/web.toml": routed("other") };
    server.repository.commit({ files: buildPlatform({ a: template }, { "orca/manifests/vm1/files/t": "t", ...next }) });
    await clock.advance(20_000);
    expect((await read()).manifests["n3"]?.["web"]).toContain("other.example.com");
    // The directory that has changed, and no other.
    expect(server.count("files")).toBe(4);
  });

  test("that are too large, one by one or together, keep this node from nothing", async () => {
    const files = {
      ...buildPlatform({ a: template }, { "orca/manifests/vm1/files/t": "t" }),
      // Packed it is small: only the server knows its size before it is too late.
      "orca/manifests/n1/bomb.toml": new Uint8Array(64 * MIB),
      "orca/manifests/n1/web.toml": routed("n1"),
      "orca/manifests/n2/web.toml": routed("n2"),
      ...Object.fromEntries(
        Array.from({ length: 3 }, (_none, index) => [`orca/manifests/n2/files/${index}`, noise(MIB)]),
      ),
      "orca/manifests/n3/web.toml": routed("n3"),
    };
    server.repository.commit({ files });
    await open();
    const { revision, manifests } = await read();
    expect([revision, Object.keys(manifests).toSorted()]).toEqual([server.repository.tip(), ["n1", "n3", "vm1"]]);
    expect(Object.keys(manifests["n1"] ?? {})).toEqual(["web"]);
  });
});
