// Error is not empty: every way in which a Git server fails, each against a real server that fails so. Nothing is changed at
// the engine, status says what it is and what to do, and the change that was missed is made when the server is well again.

import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { GitRemote } from "../../../agent/sources/git/wire/git-remote.ts";
import { beginState } from "../../../agent/report/status/report-state.ts";
import { buildStatus } from "../../../agent/report/status/status-builder.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import { printStatus } from "../../../agent/report/text/status-text.ts";
import { buildPlatform, type GitChoices, openGitSource } from "../../builders/git/git-node.ts";
import type { Fault } from "../../../scripts/lab/git/git-faults.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { describeTrouble } from "../../../shared/text/words/hold-words.ts";
import { TestNode, troubleOf } from "../../builders/node/node.ts";

let server: GitServer;
let node: TestNode;
let choices: GitChoices;

const BEFORE = buildPlatform({ a: buildManifest(), b: buildManifest() });
const AFTER = buildPlatform({ a: buildManifest({ image: "app:2" }), b: buildManifest() });

async function begin(tls = false): Promise<void> {
  server = await new GitServer({ tls }).start();
  server.repository.commit({ files: BEFORE });
  choices = { requestMs: 2_000, fetchMs: 2_000, ...(tls ? { caFile: server.caFile } : {}) };
  node = new TestNode({ openSource: (clock) => openGitSource(server, clock, choices) });
  await node.start();
  await node.untilSettled(["a", "b"]);
  node.engine.calls.length = 0;
}

async function end(): Promise<void> {
  await node.dispose();
  await server.dispose();
}

const AGE_AND_RETRY =
  /the source was last read [\dhms ]+ ago: read https?:.*; what is in force stays in force; next try in \d+/;
const AGE_AND_NEXT_COMMIT =
  /the source was last read [\dhms ]+ ago: read https?:.*; the same commit is not fetched again, unless by orca sync: the next one is; what is in force stays in force\n/;

/** A new agent on what the old one left. */
async function restart(changed: GitChoices = {}): Promise<void> {
  choices = { ...choices, ...changed };
  await node.stop();
  await node.start();
  await node.clock.advanceUntil(() => findTrouble() !== NO_TURN, 10_000, "a turn");
}

const NO_TURN = "no turn was made yet";
const FIRST = "it is read for the first time since the agent was started";

function findTrouble(): string | undefined {
  const turns = node.events.filter((event) => event.kind === "turn");
  const last = node.events.findLastIndex((event) => event.kind === "agent-stopping");
  const turn = turns.at(-1);
  return turn === undefined || node.events.lastIndexOf(turn) < last
    ? NO_TURN
    : turn.turn.source.trouble && describeTrouble(turn.turn.source.trouble);
}

/** The status as a person reads it. */
function readStatus(): string {
  const state = node.events.reduce(reduceStatus, beginState(0));
  const nowMs = node.clock.nowMs();
  const context = { node: "vm1", version: "0", startedMs: 0, socket: undefined, nowMs, notes: [] };
  return printStatus(buildStatus(state, context), { width: 200 });
}

/** Nothing changed at the engine, and status says what is wrong, how old the knowledge is, and when it tries again. */
/** @param lasting what is wrong is the commit, which time does not mend: nothing is promised of it */
function expectLastKnownGood(says: RegExp, { lasting = false } = {}): void {
  expect(node.engine.calls).toEqual([]);
  const text = readStatus();
  expect(text).toMatch(says);
  if (lasting) {
    expect(text).toMatch(AGE_AND_NEXT_COMMIT);
    expect([text.includes("next try"), node.turn.source.retryMs]).toEqual([false, undefined]);
  } else {
    expect(text).toMatch(AGE_AND_RETRY);
    expect(node.turn.source.retryMs).toBeGreaterThan(node.clock.nowMs());
  }
  expect(text).toContain("2 services: 2 healthy");
  expect(text).not.toContain(server.token);
}

async function untilTrouble(): Promise<void> {
  const found = (): boolean => ![undefined, NO_TURN, FIRST].includes(findTrouble());
  await node.clock.advanceUntil(found, 60_000, "trouble");
  await node.clock.advanceUntil(() => node.turn.services.every((view) => view.state === "healthy"), 60_000, "health");
}

async function expectHealed(image = "app:2"): Promise<void> {
  await node.clock.advanceUntil(() => node.engine.running("a")?.image === image, 400_000, "the missed change");
  await node.untilSettled(["a", "b"]);
  expect(node.turn.source.trouble).toBe(undefined);
  expect(node.turn.source.revision).toBe(server.repository.tip());
}

const answers: [name: string, fault: Fault, says: RegExp][] = [
  ["403", { kind: "status", status: 403 }, /forbids it \(403\).*source\.git\.token_file/],
  ["404", { kind: "status", status: 404 }, /finds no such repository \(404\).*right to read it is missing/],
  ["500", { kind: "status", status: 500 }, /failed \(500\)/],
  ["502 with a page", { kind: "status", status: 502, headers: { "content-type": "text/html" } }, /failed \(502\)/],
  ["a web page with 200", { kind: "html" }, /a web page in place of Git's data: a login page/],
  [
    "a redirect to a login page",
    { kind: "login-redirect" },
    /a web page in place of Git's data|redirects a request of Git/,
  ],
  [
    "a redirect to another origin",
    { kind: "foreign-redirect", to: "http://127.0.0.9:1" },
    /redirects to .*another origin/,
  ],
  ["garbage", { kind: "garbage" }, /is not Git's/],
  ["the dumb protocol", { kind: "dumb" }, /does not answer as a Git server does/],
  ["a connection that is reset", { kind: "reset" }, /was cut before the answer was whole/],
  ["a pack that ends half-way with a good length", { kind: "pack-half" }, /the pack breaks off/],
  ["a pack whose connection is cut", { kind: "pack-cut" }, /was cut before the answer was whole/],
  ["a pack with one wrong byte", { kind: "pack-damaged" }, /the pack is damaged/],
  ["no pack at all", { kind: "pack-garbage" }, /is not Git's/],
  ["a 500 for the pack alone", { kind: "pack-status", status: 500 }, /failed \(500\)/],
  ["a refusal in Git's own words", { kind: "pack-refusal" }, /the server says: upload-pack: not our ref/],
];

describe("a server that answers wrongly changes nothing", () => {
  beforeAll(() => begin());
  afterAll(end);

  // One agent through all of them: each row ends with the change that it missed.
  test.each(answers.map((row, index) => [...row, `app:${2 - (index % 2)}`] as const))(
    "%s",
    async (_name, fault, says, image) => {
      node.engine.calls.length = 0;
      server.fault = fault;
      server.repository.commit({ files: buildPlatform({ a: buildManifest({ image }), b: buildManifest() }) });
      await untilTrouble();
      expectLastKnownGood(says);
      await node.clock.advance(12_000);
      expectLastKnownGood(says);
      server.fault = undefined;
      await expectHealed(image);
    },
  );
});

describe("a server that cannot be reached, or does not want us, changes nothing", () => {
  beforeEach(() => begin());
  afterEach(end);

  test("a server that hangs, and one that hangs in the middle of a pack", async () => {
    choices = { ...choices, requestMs: 300, fetchMs: 300 };
    await restart();
    node.engine.calls.length = 0;
    server.repository.commit({ files: AFTER });
    for (const kind of ["hang", "pack-hang"] as const) {
      server.fault = { kind };
      await node.clock.advanceUntil(() => troubleOf(node).includes("gave no whole answer"), 60_000, kind);
      expectLastKnownGood(/gave no whole answer within 0\.3 s/);
      node.agent.request({ kind: "sync", retry: undefined, allowRemoval: undefined, actor: { uid: 0, user: "root" } });
      await node.clock.advance(1_000);
    }
    server.fault = undefined;
    // With a limit again that a busy machine keeps to.
    await restart({ requestMs: 20_000, fetchMs: 20_000 });
    await expectHealed();
  });

  test("a time that earlier questions have used up is told as it was set", async () => {
    server.fault = { kind: "hang" };
    const remote = new GitRemote({ url: server.url, branch: "main", tokenFile: undefined, caFile: undefined });
    await expect(remote.readTip({ deadlineMs: 30, ofMs: 4_000 })).rejects.toThrow(/gave no whole answer within 4 s/);
  });

  test("a server that is gone", async () => {
    await server.stop();
    server.repository.commit({ files: AFTER });
    await untilTrouble();
    expectLastKnownGood(/nothing listens at localhost/);
    await node.clock.advance(600_000);
    expectLastKnownGood(/nothing listens at localhost/);
    await server.start();
    await expectHealed();
  });

  test("a rate limit: the server is left alone for as long as it asks, by hints too", async () => {
    server.fault = { kind: "status", status: 429, headers: { "retry-after": "240" } };
    server.repository.commit({ files: AFTER });
    await untilTrouble();
    expectLastKnownGood(/limits the rate of requests \(429\)/);
    expect(readStatus()).toMatch(/next try in (4m|3m 5\ds)/);
    const asked = server.seen.length;
    for (let hint = 0; hint < 5; hint += 1) {
      node.agent.request({ kind: "sync", retry: undefined, allowRemoval: undefined, actor: { uid: 0, user: "root" } });
      await node.clock.advance(40_000);
    }
    expect(server.seen.length).toBe(asked);
    server.fault = undefined;
    await expectHealed();
  });

  test("a login that is asked for, and a token that is refused", async () => {
    server.isPrivate = true;
    server.repository.commit({ files: AFTER });
    await untilTrouble();
    expectLastKnownGood(/asks for a login \(401\): put a token into a file/);
    choices = { ...choices, tokenFile: server.writeToken("wrong") };
    await restart();
    await untilTrouble();
    expectLastKnownGood(/refuses the token in \/.*\/token \(401\)/);
    // The file is read anew: no restart is needed for a new token.
    server.writeToken();
    await expectHealed();
  });

  test("a token that others can read, or that is not there, is not used", async () => {
    server.isPrivate = true;
    const tokenFile = server.writeToken();
    choices = { ...choices, tokenFile };
    await restart();
    await node.clock.advance(1_000);
    expect(node.turn.source.trouble).toBe(undefined);
    server.repository.git("update-ref", "refs/heads/keep", "main");
    writeFileSync(join(server.root, "token.open"), server.token, { mode: 0o644 });
    for (const [file, says] of [
      ["token.open", /can be read by others: run chmod 600/],
      ["token.none", /cannot be read: ENOENT/],
    ] as const) {
      choices = { ...choices, tokenFile: join(server.root, file) };
      await restart();
      await untilTrouble();
      expectLastKnownGood(says);
    }
    choices = { ...choices, tokenFile };
    await node.stop();
    server.repository.commit({ files: AFTER });
    await node.start();
    await expectHealed();
  });
});

describe("a repository that is not what it was changes nothing", () => {
  beforeEach(() => begin());
  afterEach(end);

  test("the branch is gone, and then every branch", async () => {
    server.repository.git("branch", "-m", "main", "trunk");
    server.repository.git("symbolic-ref", "HEAD", "refs/heads/trunk");
    await untilTrouble();
    expectLastKnownGood(/has no branch main; its default branch is trunk: push it, or correct source\.git\.branch/);
    server.repository.git("update-ref", "-d", "refs/heads/trunk");
    await node.clock.advanceUntil(() => troubleOf(node).includes("is empty"), 60_000, "empty");
    expectLastKnownGood(/the repository is empty/);
    server.repository.commit({ files: AFTER });
    await expectHealed();
  });

  test.each<[string, Record<string, string>, RegExp]>([
    [
      "this node's directory",
      { "orca/fleet.toml": "", "orca/manifests/vm2/x.toml": "" },
      /has no directory orca\/manifests\/vm1; there are vm2/,
    ],
    ["every manifest", { "orca/fleet.toml": "" }, /has no directory orca\/manifests: expected/],
    ["orca/", { "README.md": "moved" }, /has no directory orca: correct source\.git\.path/],
  ])("a commit without %s", async (_name, files, says) => {
    server.repository.commit({ files });
    await untilTrouble();
    expectLastKnownGood(says, { lasting: true });
    // What a commit lacks it lacks for good: it is not fetched again, and the branch is still asked for.
    const [packs, polls] = [server.count("pack"), server.count("list")];
    await node.clock.advance(120_000);
    expectLastKnownGood(says, { lasting: true });
    expect(server.count("pack")).toBe(packs);
    expect(server.count("list")).toBeGreaterThan(polls + 5);
    server.repository.commit({ files: AFTER });
    await expectHealed();
  });

  test("fleet.toml is a link", async () => {
    server.repository.commit({ files: { ...AFTER, "orca/fleet.toml": { link: "/etc/passwd" } } });
    await untilTrouble();
    expectLastKnownGood(/has a link in place of the file orca\/fleet\.toml/, { lasting: true });
    server.repository.commit({ files: AFTER });
    await expectHealed();
  });

  test("a pack over the limit", async () => {
    server.allowFilter(false);
    choices = { ...choices, limitBytes: 4_096 };
    await restart();
    node.engine.calls.length = 0;
    const noise = Array.from({ length: 400 }, (_value, index) => (index * 7919 ** 2).toString(36)).join("");
    server.repository.commit({
      files: { ...AFTER, "video.bin": noise.repeat(1) + noise.split("").toReversed().join("") },
    });
    await untilTrouble();
    expectLastKnownGood(
      /the pack of main.* is larger than 4 KiB: raise source\.git\.max_size, or take out of the repository what is so large/,
      { lasting: true },
    );
    server.repository.commit({ files: AFTER });
    await expectHealed();
  });

  test("a pack that never ends", async () => {
    choices = { ...choices, limitBytes: 1024 ** 2 };
    await restart();
    node.engine.calls.length = 0;
    server.fault = { kind: "pack-endless" };
    server.repository.commit({ files: AFTER });
    await untilTrouble();
    expectLastKnownGood(/the pack of main is larger than 1 MiB: raise source\.git\.max_size/, { lasting: true });
    server.fault = undefined;
    node.agent.request({ kind: "sync", retry: undefined, allowRemoval: undefined, actor: { uid: 0, user: "root" } });
    await expectHealed();
  });
});

describe("a server that cannot be trusted or found changes nothing", () => {
  beforeEach(() => begin(true));
  afterEach(end);

  test("a certificate of another CA, and none that is known", async () => {
    const other = await new GitServer({ tls: true }).start();
    for (const caFile of [other.caFile, undefined]) {
      const { caFile: _known, ...rest } = choices;
      choices = caFile === undefined ? rest : { ...rest, caFile };
      await restart();
      await untilTrouble();
      expectLastKnownGood(/the certificate of localhost:\d+ is not trusted \(\w+\)/);
    }
    await other.dispose();
    server.repository.commit({ files: AFTER });
    choices = { ...choices, caFile: server.caFile };
    await restart();
    await expectHealed();
  });

  test("a port that takes the connection and never says a word", async () => {
    const { url } = server;
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    await restart({ url: `https://127.0.0.1:${port}/acme/platform.git`, requestMs: 300 });
    await untilTrouble();
    expectLastKnownGood(/127\.0\.0\.1:\d+ gave no whole answer within 0\.3 s/);
    silent.close();
    server.repository.commit({ files: AFTER });
    await restart({ url });
    await expectHealed();
  });

  test("DNS that is gone", async () => {
    const { url } = server;
    choices = { ...choices, url: "https://git.invalid/acme/platform.git" };
    await restart();
    await untilTrouble();
    expectLastKnownGood(/the name git\.invalid cannot be looked up \((ENOTFOUND|EAI_AGAIN)\): check DNS/);
    server.repository.commit({ files: AFTER });
    choices = { ...choices, url };
    await restart();
    await expectHealed();
  });
});
