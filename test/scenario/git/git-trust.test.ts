// Trusted keys on a real server with real signatures: which commits are followed from what is in force, which are not, and
// what is said of them.

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { describeUnread } from "../../../shared/text/words/source-words.ts";
import type { GitSource } from "../../../agent/sources/git/poll/git-source.ts";
import type { InForce } from "../../../shared/state/in-force.ts";
import type { Snapshot, SourceReading } from "../../../shared/state/snapshot.ts";
import type { TrustedKey } from "../../../shared/config/trusted-key.ts";
import { buildPlatform, fetchHere, openGitSource } from "../../builders/git/git-node.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import {
  commitSigned,
  makeKey,
  type SignedParts,
  tamper,
  type TestKey,
  trust,
} from "../../builders/git/git-signing.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

let server: GitServer;
let clock: FakeClock;
let source: GitSource;
let keys: readonly TrustedKey[];
let inForce: InForce | undefined;
let [own, other, fleet, forge, stranger]: TestKey[] = [];

/** Real processes on a machine that may be busy: what is tested here is no deadline. */
const PATIENT = { requestMs: 60_000, fetchMs: 60_000 };
const directory = mkdtempSync(join(tmpdir(), "orca-keys-"));
const FLEET = buildPlatform({})["orca/fleet.toml"] ?? "";

function files(image: string, more: Record<string, string> = {}): Record<string, string> {
  return { ...buildPlatform({ a: buildManifest({ image }) }), ...more };
}

/** So many changes that leave every node alone. */
function words(count: number): [string, string][] {
  return Array.from({ length: count }, (_value, index) => ["README.md", String(index)]);
}

function commit(parts: SignedParts): string {
  return commitSigned(server.repository, parts);
}

beforeAll(() => {
  [own, other, fleet, forge, stranger] = ["own", "other", "fleet", "forge", "stranger"].map((name) =>
    makeKey(directory, name),
  );
});

afterAll(() => rmSync(directory, { recursive: true }));

beforeEach(async () => {
  server = await new GitServer().start();
  clock = new FakeClock();
  inForce = undefined;
  keys = [
    trust(own as TestKey, ["vm1"]),
    trust(other as TestKey, ["vm2"]),
    trust(fleet as TestKey, ["vm1", "vm2"], true),
    trust(forge as TestKey, ["*"]),
  ];
});

afterEach(async () => {
  await source.close();
  await server.dispose();
});

async function open(readKeys = async (): Promise<readonly TrustedKey[]> => keys): Promise<void> {
  source = openGitSource(server, clock, { fetch: fetchHere, readKeys, ...PATIENT });
  source.follow(inForce);
  clock.isBusy = () => source.isBusy;
  await source.watch(() => undefined);
  await clock.settle();
}

/** Puts what was read in force, as the agent does. */
function accept(snapshot: Snapshot): void {
  const { revision, objects, fleet: text } = snapshot;
  inForce = { revision, acceptedMs: 0, fleet: text, services: {}, ...(objects && { objects }) };
  source.follow(inForce);
}

async function readTrusted(): Promise<Snapshot> {
  const reading = await source.read();
  if (reading.kind === "failed") throw new Error(describeUnread(reading.why));
  return reading.snapshot;
}

async function poll(): Promise<SourceReading> {
  await clock.advance(20_000);
  return source.read();
}

/** A first commit by the key for everything, which is in force. */
async function begin(): Promise<string> {
  const first = commit({ files: files("app:1"), key: fleet });
  await open();
  accept(await readTrusted());
  return first;
}

/** Expects that the newest commit is not followed, and why. */
async function expectRefused(id: string, ...says: (string | RegExp)[]): Promise<void> {
  const reading = await poll();
  expect(reading).toMatchObject({ kind: "failed", distrusted: true });
  const reason = reading.kind === "failed" ? describeUnread(reading.why) : "";
  for (const text of [`commit ${id} by `, "Jane Doe <jane@example.com>", ...says])
    expect(reason).toMatch(text instanceof RegExp ? text : new RegExp(text.replaceAll(/[.*+?()[\]$|^]/g, "\\$&")));
}

async function expectFollowed(id: string): Promise<void> {
  const reading = await poll();
  expect(reading.kind === "failed" ? describeUnread(reading.why) : reading.snapshot.revision).toBe(id);
}

describe("a commit that changes this node's directory", () => {
  test("is followed with a key that is allowed for it, and a poll afterwards starts nothing", async () => {
    await begin();
    const id = commit({ files: files("app:2"), key: own });
    await expectFollowed(id);
    expect((await readTrusted()).commit?.signer).toMatch(/^SHA256:/);
    accept(await readTrusted());
    const packs = server.count("pack");
    await clock.advance(120_000);
    expect([server.count("pack"), (await readTrusted()).revision]).toEqual([packs, id]);
    expect(readdirSync(join(server.root, "state")).filter((name) => name.startsWith("verify-"))).toEqual([]);
  });

  test.each([
    [
      "unsigned",
      (): TestKey | undefined => undefined,
      "it is not signed; sign it with a key that source.git.trusted_keys of vm1 lists with nodes",
    ],
    ["with an unknown key", () => stranger, "which source.git.trusted_keys does not list"],
    ["with another node's key", () => other, "is good, but that key is not allowed for that"],
  ] as const)("is not followed %s", async (_how, choose, says) => {
    await begin();
    const key = choose();
    const id = commit({ files: files("app:2"), key });
    await expectRefused(id, "changes manifests/vm1 and is not trusted", says, key?.fingerprint ?? "");
    const [packs, lists] = [server.count("pack"), server.count("list")];
    // It is asked for again at each poll, and judged again when the branch has moved.
    await clock.advance(60_000);
    expect(server.count("pack")).toBe(packs);
    expect(server.count("list")).toBeGreaterThan(lists);
    // Taken back, there is nothing to trust any more.
    const back = commit({ files: files("app:1") });
    await expectFollowed(back);
    accept(await readTrusted());
    await expectFollowed(commit({ files: files("app:3"), key: own }));
  });

  test.each([
    ["its text", (raw: string): string => raw.replace("change", "changed")],
    [
      "its tree",
      (raw: string) => raw.replace(/^tree .*/, `tree ${server.repository.git("rev-parse", "HEAD~2^{tree}")}`),
    ],
    ["its signature", (raw: string) => raw.replace(/(BEGIN SSH SIGNATURE-----\n (?:.*\n ){3})..../, "$1AAAA")],
  ])("is not followed when %s was changed after it was signed", async (_what, change) => {
    await begin();
    const later = commit({ files: files("app:2"), key: own });
    await expectFollowed(later);
    accept(await readTrusted());
    const id = tamper(server.repository, commit({ files: files("app:3"), key: own }), change);
    await expectRefused(id, /bad: it is not what that key signed|cannot be read/);
  });

  test("is not followed with a signature that is GPG's, twofold or for something else", async () => {
    await begin();
    const signed = commit({ files: files("app:2"), key: own });
    const header = /^gpgsig .*\n(?: .*\n)*/m;
    for (const [change, says] of [
      [(raw: string) => raw.replaceAll("SSH SIGNATURE", "PGP SIGNATURE"), "GPG signature, which is not checked"],
      [(raw: string) => raw.replace(header, (text) => text + text), "more than one signature"],
      [(raw: string) => raw.replace(header, "gpgsig nonsense\n"), "that is not SSH's"],
      [(raw: string) => raw.replace(header, "gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n"), "cannot be read"],
    ] as const)
      await expectRefused(tamper(server.repository, signed, change), says);
  });

  test("is followed as a merge by the forge's key, whoever made what is merged", async () => {
    const first = await begin();
    const branch = commit({ files: files("app:2"), branch: "feature", parent: first });
    const merge = commit({ files: files("app:2"), merges: [branch], key: forge });
    await expectFollowed(merge);
    accept(await readTrusted());
    await expectRefused(commit({ files: files("app:3"), merges: [branch] }), "it is not signed");
  });

  test.each(["ecdsa", "rsa"])("is followed with a key of type %s", async (type) => {
    await begin();
    const key = makeKey(directory, type, type);
    keys = [...keys, trust(key, ["vm1"])];
    await expectFollowed(commit({ files: files("app:2"), key }));
  });
});

describe("the history since the commit in force", () => {
  test("may hold unsigned commits that leave this node alone", async () => {
    await begin();
    for (let round = 0; round < 20; round += 1)
      commit({ files: files("app:1", { "README.md": `${round}`, "orca/manifests/vm2/b.toml": `${round}` }) });
    commit({ files: files("app:2", { "README.md": "19" }), key: own });
    await expectFollowed(commit({ files: files("app:2", { "README.md": "20" }) }));
  });

  test.each([1, 200])("may hold no unsigned commit that touches it, %i commits back", async (back) => {
    await begin();
    const bad = commit({ files: files("app:2") });
    const changes = words(back - 1);
    server.repository.importHistory(new Map(), changes);
    commit({ files: files("app:3", { "README.md": "x" }), key: own });
    await expectRefused(bad, "changes manifests/vm1", "it is not signed");
  });

  test("of more than 1,000 commits counts by what has vouched for each part, and that is said", async () => {
    const first = await begin();
    const changes = words(1_001);
    server.repository.importHistory(new Map(), changes);
    const id = commit({ files: files("app:2", { "README.md": "x" }), key: own });
    await expectFollowed(id);
    const reading = await source.read();
    expect(reading.kind === "read" ? reading.notes : []).toEqual([
      `the commit in force, ${first.slice(0, 12)}, is not among its last 1000 commits: each part that has changed was vouched for by a signature`,
    ]);
    accept(await readTrusted());
    commit({ files: files("app:3", { "README.md": "x" }) });
    server.repository.importHistory(new Map(), changes);
    const after = await poll();
    expect(after.kind === "failed" ? describeUnread(after.why) : after.kind).toMatch(
      /is not trusted: it is not signed/,
    );
  });
});

describe("fleet.toml", () => {
  const change = (from: string, to: string): Record<string, string> =>
    files("app:1", { "orca/fleet.toml": FLEET.replace(from, to) });
  const KEY = 'public_key = "ed25519:AAAAC3NzaC1lZDI1NTE5AAAAIJ1bX1bX1bX1bX1bX1bX"\n';

  /** Begins anew from what is in force for each line: a branch may be set back to that. */
  const line = (first: string, parts: SignedParts): string => commit({ ...parts, parent: first });

  test("is followed where its key may change that", async () => {
    const first = await begin();
    for (const [from, to, key] of [
      ['memory = "8GiB"', 'memory = "9GiB"', own],
      ['memory = "8GiB"', 'memory = "9GiB"', fleet],
      ["10.0.0.2", "10.0.0.9", other],
      ["[nodes.vm1]", "# words\n[nodes.vm1]", undefined],
      ['env = "prod"', 'env = "prod"\napproval = "tag"', fleet],
      ["[nodes.vm2]\n", `[nodes.vm2]\n${KEY}`, fleet],
    ] as const)
      await expectFollowed(line(first, { files: change(from, to), key }));
  });

  test("is not followed where its key may not", async () => {
    const first = await begin();
    for (const [from, to, key, says] of [
      ['memory = "8GiB"', 'memory = "9GiB"', other, "[nodes.vm1] of fleet.toml"],
      ["10.0.0.2", "10.0.0.9", own, "[nodes.vm2] of fleet.toml"],
      ['env = "prod"', 'env = "prod"\napproval = "tag"', own, "what is guarded of fleet.toml"],
      ["[nodes.vm2]\n", `[nodes.vm2]\n${KEY}`, forge, "fleet = true"],
      ["[nodes.vm2]", "[nodes.vm3]", own, "what is guarded of fleet.toml"],
      ["[nodes.vm1]", "[alerts]\n[nodes.vm1]", own, "what is guarded of fleet.toml"],
      ["[nodes.vm1]", "[nodes.vm1", own, "what is guarded of fleet.toml"],
    ] as const)
      await expectRefused(line(first, { files: change(from, to), key }), says, key?.fingerprint ?? "");
  });

  test("and a directory in one commit need one key for both", async () => {
    await begin();
    const both = {
      ...files("app:2"),
      "orca/fleet.toml": FLEET.replace('env = "prod"', 'env = "prod"\napproval = "tag"'),
    };
    await expectRefused(commit({ files: both, key: own }), "fleet = true");
    await expectFollowed(commit({ files: files("app:1") }));
    accept(await readTrusted());
    keys = keys.map((key) => (key.name === "fleet" ? { ...key, nodes: ["vm2"] } : key));
    await expectRefused(commit({ files: both, key: fleet }), 'nodes = ["vm1"]');
  });
});

describe("a branch that was rewritten", () => {
  test("is followed where the new tip passes the same checks, and reported", async () => {
    const first = await begin();
    const second = commit({ files: files("app:2"), key: own });
    await expectFollowed(second);
    accept(await readTrusted());
    const amended = commit({ files: files("app:3"), parent: first, key: own });
    await expectFollowed(amended);
    const reading = await source.read();
    const notes = reading.kind === "read" ? reading.notes : [];
    expect(notes).toEqual([
      expect.stringContaining("the branch was rewritten"),
      expect.stringMatching(/is not in the branch's history: each part that has changed was vouched for/),
    ]);
    accept(await readTrusted());
    // Set back to what was in force once: that was signed.
    server.repository.git("update-ref", "refs/heads/main", first);
    await expectFollowed(first);
  });

  test("is not followed otherwise", async () => {
    const first = await begin();
    await expectFollowed(commit({ files: files("app:2"), key: own }));
    accept(await readTrusted());
    await expectRefused(commit({ files: files("app:3"), parent: first }), "it is not signed");
    await expectRefused(commit({ files: files("app:3"), parent: null, key: other }), "brings manifests/vm1");
    await expectFollowed(commit({ files: files("app:3"), parent: null, key: own }));
  });
});

describe("a first installation", () => {
  test("needs keys for the directory and for fleet.toml, on the tip or where each part came from", async () => {
    commit({ files: files("app:1") });
    await open();
    expect(await source.read()).toMatchObject({ kind: "failed", distrusted: true });
    commit({ files: files("app:2"), key: own });
    await expectRefused(server.repository.git("rev-parse", "HEAD~1"), "brings");
    commit({ files: files("app:2", { "README.md": "I have read it" }), key: fleet });
    const tip = commit({ files: files("app:3", { "README.md": "I have read it" }), key: own });
    await expectFollowed(tip);
  });

  test("of an unsigned repository begins with one signed commit on top", async () => {
    server.repository.importHistory(new Map(Object.entries(files("app:1"))), words(50));
    await open();
    expect(await source.read()).toMatchObject({ kind: "failed", distrusted: true });
    await expectFollowed(commit({ files: files("app:1", { "README.md": "from here on" }), key: fleet }));
  });
});

test("a key that is taken from the list counts no more, also for what was read and is not in force yet", async () => {
  await begin();
  const id = commit({ files: files("app:2"), key: own });
  await expectFollowed(id);
  const all = keys;
  keys = keys.filter(({ name }) => name !== "own");
  await expectRefused(id, (own as TestKey).fingerprint, "does not list");
  keys = all;
  await expectFollowed(id);
  accept(await readTrusted());
  // What is in force stays.
  keys = keys.filter(({ name }) => name !== "own");
  await expectFollowed(id);
  await expectRefused(commit({ files: files("app:3"), key: own }), "does not list");
});

test("keys that cannot be read trust nobody, and what was read is told with its reason", async () => {
  await begin();
  await source.close();
  await open(() => Promise.reject(new Error("agent.toml cannot be read: EACCES")));
  const reading = await source.read();
  expect(reading.kind === "failed" ? describeUnread(reading.why) : reading.kind).toContain(
    "no commit is taken: agent.toml",
  );
});

test("a restart judges from what is in force, and finds the same", async () => {
  await begin();
  const id = commit({ files: files("app:2") });
  await expectRefused(id, "it is not signed");
  await source.close();
  await open();
  await expectRefused(id, "it is not signed");
  const good = commit({ files: files("app:1") });
  await source.close();
  await open();
  await expectFollowed(good);
});

test("a server of protocol 0 gives its history too", async () => {
  server.fault = { kind: "protocol-0" };
  await begin();
  for (let round = 0; round < 5; round += 1) commit({ files: files("app:1", { "README.md": `${round}` }) });
  await expectFollowed(commit({ files: files("app:2"), key: own }));
});

test("trailers speak to the agent only where a key that is allowed for the node has signed them", async () => {
  await begin();
  const message = "words\n\nOrca-Allow-Removal: 9\n";
  for (const [key, count] of [
    [undefined, 0],
    [other, 0],
    [own, 1],
  ] as const) {
    const id = commit({ files: files("app:1", { "README.md": String(Math.random()) }), message, key });
    await expectFollowed(id);
    const reading = await source.read();
    if (reading.kind === "failed") throw new Error(describeUnread(reading.why));
    expect([reading.snapshot.commit?.trailers.length, reading.notes?.length]).toEqual([count, 1 - count]);
    accept(reading.snapshot);
  }
});
