// The Git source on a real server: what a poll costs, what is read, how hints come together, how the clone is kept.

import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { describeUnread } from "../../../shared/text/words/source-words.ts";
import type { GitSource } from "../../../agent/sources/git/poll/git-source.ts";
import type { Snapshot } from "../../../shared/state/snapshot.ts";
import { buildPlatform, type GitChoices, openGitSource } from "../../builders/git/git-node.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

let server: GitServer;
let clock: FakeClock;
let source: GitSource;
let hints: number;

const FILES = buildPlatform({ a: buildManifest() });

beforeEach(async () => {
  server = await new GitServer().start();
  server.repository.commit({ files: FILES });
});

afterEach(async () => {
  await source.close();
  await server.dispose();
});

async function open(choices: GitChoices = {}): Promise<void> {
  clock = new FakeClock();
  source = openGitSource(server, clock, choices);
  hints = 0;
  clock.isBusy = () => source.isBusy;
  await source.watch(() => (hints += 1));
  await clock.settle();
}

async function reopen(choices: GitChoices = {}): Promise<void> {
  await source.close();
  await open(choices);
}

async function readSnapshot(): Promise<Snapshot> {
  const reading = await source.read();
  if (reading.kind === "failed") throw new Error(describeUnread(reading.why));
  return reading.snapshot;
}

async function readReason(): Promise<string> {
  const reading = await source.read();
  return reading.kind === "failed" ? describeUnread(reading.why) : "";
}

async function readNotes(): Promise<readonly string[]> {
  const reading = await source.read();
  return reading.kind === "read" ? (reading.notes ?? []) : [];
}

describe("a poll", () => {
  test("that finds nothing new is one small request, runs no child and wakes nobody", async () => {
    await open();
    const snapshot = await readSnapshot();
    const before = hints;
    server.seen.length = 0;
    await clock.advance(150_000);
    expect(server.seen.length).toBeGreaterThanOrEqual(9);
    expect(server.seen.length).toBeLessThanOrEqual(11);
    for (const { purpose, sentBytes, answeredBytes } of server.seen)
      expect([purpose, sentBytes + answeredBytes < 400]).toEqual(["list", true]);
    expect(await readSnapshot()).toBe(snapshot);
    expect([hints, server.count("pack")]).toEqual([before, 0]);
    expect(await source.read()).toMatchObject({ readMs: expect.closeTo(clock.nowMs(), -5) });
  });

  test("stays small where a forge has a ref for each of 2,000 pull requests", async () => {
    const tip = server.repository.tip();
    const refs = Array.from({ length: 2_000 }, (_value, index) => `${tip} refs/pull/${index}/head`);
    writeFileSync(
      join(server.repository.path, "packed-refs"),
      `# pack-refs with: peeled \n${refs.toSorted().join("\n")}\n`,
    );
    await open();
    await clock.advance(60_000);
    expect(Math.max(...server.seen.map(({ answeredBytes }) => answeredBytes))).toBeLessThan(2_000);
  });

  test("of a server that knows protocol 0 only is one request too", async () => {
    server.fault = { kind: "protocol-0" };
    await open();
    const packs = server.count("pack");
    server.seen.length = 0;
    await clock.advance(60_000);
    expect(server.seen.map(({ purpose }) => purpose)).toEqual(
      Array.from({ length: server.seen.length }, () => "discover"),
    );
    server.repository.commit({ files: buildPlatform({ b: buildManifest() }) });
    await clock.advance(20_000);
    expect(Object.keys((await readSnapshot()).manifests["vm1"] ?? {})).toEqual(["b"]);
    expect([packs, server.count("pack")]).toEqual([1, 1]);
  });

  test("sends the token to its server alone, as Basic, and to nobody in an error", async () => {
    server.isPrivate = true;
    const tokenFile = server.writeToken();
    await open({ tokenFile });
    await readSnapshot();
    const sent = server.seen.map(({ authorization }) => authorization);
    expect(new Set(sent)).toEqual(
      new Set([`Basic ${Buffer.from(`x-access-token:${server.token}`).toString("base64")}`]),
    );
    server.writeToken(`agent:${server.token}`);
    await clock.advance(17_000);
    expect(server.seen.at(-1)?.authorization).toBe(`Basic ${Buffer.from(`agent:${server.token}`).toString("base64")}`);
    const other = await new GitServer().start();
    server.fault = { kind: "foreign-redirect", to: new URL(other.url).origin };
    await clock.advance(17_000);
    expect(await readReason()).toMatch(/another origin/);
    expect(other.seen).toEqual([]);
    await other.dispose();
  });

  test("with a private CA", async () => {
    const secure = await new GitServer({ tls: true }).start();
    secure.repository.commit({ files: FILES });
    await open({ url: secure.url, caFile: secure.caFile });
    expect((await readSnapshot()).revision).toBe(secure.repository.tip());
    await secure.dispose();
  });

  test("of a renamed repository is followed, and says so until the URL is corrected", async () => {
    await open();
    server.fault = { kind: "renamed", to: "/acme/newname" };
    await clock.advance(20_000);
    expect(await readNotes()).toEqual([
      expect.stringMatching(/redirects to .*\/acme\/newname: the repository was renamed/),
    ]);
    const tip = server.repository.commit({ files: buildPlatform({ b: buildManifest() }) });
    await clock.advance(20_000);
    expect((await readSnapshot()).revision).toBe(tip);
    server.fault = undefined;
    await clock.advance(20_000);
    expect(await readNotes()).toEqual([]);
  });
});

describe("hints", () => {
  test("are followed at once; 50 in 5 s fetch at most twice, and the last of them counts", async () => {
    await open();
    await clock.advance(8_000);
    const packs = server.count("pack");
    let tip = "";
    for (let push = 0; push < 50; push += 1) {
      tip = server.repository.commit({ files: { ...FILES, "orca/manifests/vm1/files/n": String(push) } });
      source.invalidate();
      await clock.advance(push === 0 ? 0 : 100);
      if (push === 0) expect((await readSnapshot()).revision).toBe(tip);
    }
    await clock.advance(6_000);
    expect(server.count("pack") - packs).toBe(2);
    expect((await readSnapshot()).revision).toBe(tip);
  });

  test("that come while a poll is under way make one more", async () => {
    await open();
    const tip = server.repository.commit({ files: buildPlatform({ b: buildManifest() }) });
    await clock.advance(8_000);
    source.invalidate();
    const polled = clock.advance(0);
    for (let hint = 0; hint < 10; hint += 1) source.invalidate();
    await polled;
    const lists = server.count("list");
    await clock.advance(7_000);
    expect((await readSnapshot()).revision).toBe(tip);
    expect(server.count("list") - lists).toBeLessThanOrEqual(2);
  });
});

describe("what is read", () => {
  test("this node's manifests and files, fleet.toml, and who committed what", async () => {
    server.repository.commit({
      files: {
        ...FILES,
        "orca/manifests/vm1/files/deep/er.conf": "a\0b",
        "orca/manifests/vm1/files/not-a-manifest.toml": "x",
        "orca/manifests/vm1/.hidden.toml": "x",
        "orca/manifests/vm2/other.toml": buildManifest(),
        "README.md": "# platform",
      },
      message: "Add files\n\nOrca-Allow-Removal: 4\n",
      author: "Éva <eva@example.com>",
    });
    await open();
    const snapshot = await readSnapshot();
    expect(snapshot.manifests).toEqual({ vm1: { a: buildManifest() } });
    expect(Object.keys(snapshot.files).toSorted()).toEqual(["files/deep/er.conf", "files/not-a-manifest.toml"]);
    expect(Buffer.from(snapshot.files["files/deep/er.conf"] ?? []).toString()).toBe("a\0b");
    expect(snapshot.fleet).toBe(FILES["orca/fleet.toml"]);
    expect(snapshot.commit).toMatchObject({
      author: "Éva <eva@example.com>",
      committer: "Merge Bot <bot@example.com>",
      subject: "Add files",
      trailers: [["Orca-Allow-Removal", "4"]],
    });
    expect([snapshot.fleetFile, snapshot.describeFile("vm1", "a")]).toEqual([
      "orca/fleet.toml",
      "orca/manifests/vm1/a.toml",
    ]);
  });

  test("of other nodes what is required, step by step, and with a template what has routes", async () => {
    const requires = (name: string): string => buildManifest({ top: `requires = ["${name}"]` });
    const others = {
      "orca/manifests/vm2/db.toml": requires("store"),
      "orca/manifests/vm2/store.toml": requires("vm3/disk"),
      "orca/manifests/vm2/unrelated.toml": buildManifest(),
      "orca/manifests/vm3/disk.toml": requires("vm1/a"),
      "orca/manifests/vm3/web.toml": buildManifest({ tables: '[[routes]]\nhost = "a.example"\nport = 80' }),
    };
    server.repository.commit({ files: buildPlatform({ a: requires("vm2/db") }, others) });
    await open();
    const list = ({ manifests }: Snapshot): string[] =>
      Object.entries(manifests).flatMap(([node, texts]) => Object.keys(texts).map((name) => `${node}/${name}`));
    expect(list(await readSnapshot()).toSorted()).toEqual(["vm1/a", "vm2/db", "vm2/store", "vm3/disk"]);
    const template = buildManifest({ tables: '[[files]]\nsource = "files/x"\ntarget = "/x"\ntemplate = true' });
    for (const round of [1, 2]) {
      server.repository.commit({ files: buildPlatform({ a: template }, { ...others, round: String(round) }) });
      await clock.advance(20_000);
      expect(list(await readSnapshot()).toSorted()).toEqual(["vm1/a", "vm3/web"]);
    }
    // What is remembered of other nodes is a cache: a damaged one is not believed.
    const cache = join(server.root, "state", "routed.json");
    writeFileSync(cache, readFileSync(cache, "utf8").replace("a.example", "b.example"));
    await reopen();
    expect((await readSnapshot()).manifests["vm3"]?.["web"]).toContain("a.example");
  });

  test("links and submodules are not followed: a manifest that is one is invalid, not removed", async () => {
    const files = {
      ...FILES,
      "orca/manifests/vm1/link.toml": { link: "/etc/passwd" },
      "orca/manifests/vm1/module.toml": { submodule: "a".repeat(40) },
      "orca/manifests/vm1/files/shadow": { link: "/etc/shadow" },
    };
    server.repository.commit({ files });
    await open();
    const { manifests, files: read, faults } = await readSnapshot();
    expect(Object.keys(manifests["vm1"] ?? {})).not.toContain("link");
    expect(faults?.manifests["vm1"]).toMatchObject({
      link: { code: "file-kind", message: "it is a link, which is not followed, and no plain file" },
      module: { code: "file-kind", message: "it is a submodule, which is not followed, and no plain file" },
    });
    expect(Object.keys(read)).toEqual([]);
  });

  test("from another branch and directory", async () => {
    const files = Object.fromEntries(Object.entries(FILES).map(([path, text]) => [`infra/${path}`, text]));
    server.repository.commit({ files, branch: "release/2", parent: null });
    await open({ branch: "release/2", path: "infra" });
    expect((await readSnapshot()).describeFile("vm1", "a")).toBe("infra/orca/manifests/vm1/a.toml");
  });

  test("a file over 1 MiB is that file's fault, and the commit is taken", async () => {
    const big = "x".repeat(2 ** 20 + 1);
    const files = { "orca/manifests/vm1/files/big": big, "orca/manifests/vm1/large.toml": big };
    server.repository.commit({ files: { ...FILES, ...files, "orca/manifests/vm2/huge.toml": big } });
    await open();
    const { manifests, faults } = await readSnapshot();
    expect(Object.keys(manifests["vm1"] ?? {})).toContain("a");
    // A file of such a size is not even fetched, so nobody knows how large it is.
    const fault = { code: "file-size", message: "it is too large, and the agent reads no file above 1 MiB" };
    expect(faults).toMatchObject({ manifests: { vm1: { large: fault } }, files: { "files/big": fault } });
  });
});

describe("a branch that was rewritten", () => {
  test.each(["amended", "set back", "replaced by another history"])("is followed and reported: %s", async (how) => {
    const first = server.repository.tip() ?? "";
    const second = server.repository.commit({ files: buildPlatform({ b: buildManifest() }) });
    await open();
    if (how === "amended") server.repository.commit({ files: buildPlatform({ c: buildManifest() }), parent: first });
    if (how === "set back") server.repository.git("update-ref", "refs/heads/main", first);
    if (how === "replaced by another history")
      server.repository.commit({ files: buildPlatform({ c: buildManifest() }), parent: null });
    await clock.advance(20_000);
    const { revision } = await readSnapshot();
    expect(revision).toBe(server.repository.tip());
    const said = `the branch was rewritten from ${second.slice(0, 12)} to ${revision.slice(0, 12)}`;
    expect(await readNotes()).toEqual([expect.stringContaining(said)]);
    server.repository.commit({ files: buildPlatform({ d: buildManifest() }) });
    await clock.advance(20_000);
    expect(await readNotes()).toEqual([]);
  });
});

describe("the clone", () => {
  const packs = (): string[] => readdirSync(join(server.root, "state", "store", "objects", "pack"));

  test("is used again after a restart: nothing is fetched that is there", async () => {
    await open();
    await reopen();
    expect((await readSnapshot()).revision).toBe(server.repository.tip());
    expect(server.count("pack")).toBe(1);
  });

  test.each(["pack", "idx", "notes", "half", "leftover"])("is fetched anew when it is damaged: %s", async (what) => {
    await open();
    const before = await readSnapshot();
    const directory = join(server.root, "state", "store");
    const at = (ending: string): string =>
      join(directory, "objects", "pack", packs().find((name) => name.endsWith(ending)) ?? "");
    if (what === "notes") writeFileSync(join(directory, "orca.json"), "{");
    if (what === "half") truncateSync(at(".pack"), 40);
    if (what === "leftover") writeFileSync(join(directory, "objects", "pack", "incoming.idx"), "half of it");
    if (what === "pack" || what === "idx") {
      const bytes = readFileSync(at(`.${what}`));
      for (let index = 20; index < bytes.length; index += 30) bytes.writeUInt8(bytes.readUInt8(index) ^ 0x55, index);
      writeFileSync(at(`.${what}`), bytes);
    }
    await reopen();
    expect((await readSnapshot()).manifests).toEqual(before.manifests);
    expect(server.count("pack")).toBe(what === "leftover" ? 1 : 2);
    expect(readdirSync(join(server.root, "state")).toSorted()).toEqual(["last-read", "store"]);
    expect(packs().filter((name) => name.startsWith("incoming"))).toEqual([]);
  });

  test.each([true, false])("does not grow without bound: it is fetched anew after 64 fetches (%s)", async (filters) => {
    server.allowFilter(filters);
    await open();
    const notes = join(server.root, "state", "store", "orca.json");
    writeFileSync(notes, readFileSync(notes, "utf8").replace('"fetches":1', '"fetches":64'));
    server.repository.commit({ files: buildPlatform({ b: buildManifest() }) });
    await clock.advance(20_000);
    expect((await readSnapshot()).revision).toBe(server.repository.tip());
    // A pack and its index; where files are fetched by themselves, one for fleet.toml and one for the directory too.
    expect(packs().length).toBe(filters ? 6 : 2);
    expect(JSON.parse(readFileSync(notes, "utf8"))).toMatchObject({ fetches: 1, seen: [expect.any(String)] });
  });

  test("of another repository is not taken for this one's", async () => {
    await open();
    server.repository.commit({ files: buildPlatform({ b: buildManifest() }), branch: "other", parent: null });
    await reopen({ branch: "other" });
    expect(Object.keys((await readSnapshot()).manifests["vm1"] ?? {})).toEqual(["b"]);
  });

  test("that cannot be written is told, and what was read stays", async () => {
    await open();
    const snapshot = await readSnapshot();
    await source.close();
    writeFileSync(join(server.root, "blocked"), "");
    await open({ directory: join(server.root, "blocked") });
    expect(await readReason()).toMatch(/fetch: ENOTDIR/);
    await reopen();
    expect((await readSnapshot()).manifests).toEqual(snapshot.manifests);
  });

  test("an agent that ends leaves no child behind, and the next one goes on", async () => {
    await open();
    server.fault = { kind: "pack-hang" };
    server.repository.commit({ files: buildPlatform({ b: buildManifest() }) });
    const advanced = clock.advance(20_000);
    while (server.count("pack") < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    await source.close();
    await advanced;
    server.fault = undefined;
    await open();
    expect((await readSnapshot()).revision).toBe(server.repository.tip());
  });
});

test("the age of what was read is known after a restart", async () => {
  await open();
  await clock.advance(100_000);
  const reading = await source.read();
  await source.close();
  await server.stop();
  await open();
  const after = await source.read();
  expect(after.kind).toBe("failed");
  expect(
    Math.abs((after.kind === "failed" ? (after.readMs ?? 0) : 0) - (reading.kind === "read" ? reading.readMs : 1)),
  ).toBeLessThan(2);
  expect(existsSync(join(server.root, "state", "last-read"))).toBe(true);
  expect(statSync(join(server.root, "state")).mode & 0o777).toBe(0o700);
});
