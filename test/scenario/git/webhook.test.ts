// The webhook over real HTTP: what it answers, what it makes the agent do on a real Git server, and what hostile callers
// get.

import { createHmac } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { systemClock } from "../../../agent/host/os/clock.ts";
import { PushReceiver, type PushReceiverOptions } from "../../../agent/sources/forge/push-receiver.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { buildPlatform, openGitSource } from "../../builders/git/git-node.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode, troubleOf } from "../../builders/node/node.ts";
import { buildPush, postPush, type PushReply, type PushRequest, signPush } from "../../../scripts/lab/git/push.ts";

const SECRET = "correct horse battery staple";
const directory = mkdtempSync(join(tmpdir(), "orca-webhook-"));
const secretFile = join(directory, "secret");
const events: AgentEvent[] = [];
let pushes = 0;
let receiver: PushReceiver;

async function open(choices: Partial<PushReceiverOptions> = {}): Promise<PushReceiver> {
  const made = new PushReceiver({
    listen: "127.0.0.1:0",
    secretFile,
    clock: systemClock,
    interest: { url: "https://git.example.com/acme/platform.git", branch: "main", node: "vm1" },
    onPush: () => (pushes += 1),
    emit: (event) => events.push(event),
    ...choices,
  });
  await made.start();
  return made;
}

function post(request: Partial<PushRequest> = {}): Promise<PushReply> {
  return postPush(receiver.address ?? "", { body: buildPush(), ...request });
}

function said(kind: "push" | "webhook"): AgentEvent[] {
  return events.filter((event) => event.kind === kind);
}

beforeEach(async () => {
  writeFileSync(secretFile, `${SECRET}\n`, { mode: 0o600 });
  chmodSync(secretFile, 0o600);
  events.length = 0;
  pushes = 0;
  receiver = await open();
});

afterEach(async () => {
  await receiver.close();
});

describe("answers", () => {
  test("202 with the delivery's id for a signed push to the branch, and the source is asked", async () => {
    const headers = signPush(buildPush(), SECRET);
    const { status, body } = await post({ headers });
    expect([status, body.id, pushes]).toEqual([202, headers["x-gitea-delivery"], 1]);
    expect(said("push")).toMatchObject([{ id: body.id, status: 202, said: expect.stringContaining("a push to main") }]);
    expect((await post({ path: "/", secret: SECRET })).status).toBe(202);
  });

  test("200 for what is signed and nothing for this node; the source is left alone", async () => {
    const body = buildPush({ ref: "refs/heads/other" });
    expect(await post({ body, secret: SECRET })).toMatchObject({
      status: 200,
      body: { message: expect.stringMatching(/^nothing for this node: the push is to "other"/) },
    });
    expect((await post({ headers: signPush(buildPush(), SECRET, "release") })).status).toBe(200);
    expect(pushes).toBe(0);
  });

  const signature = (secret: string): string => createHmac("sha256", secret).update(buildPush()).digest("hex");
  test.each<[string, Record<string, string>]>([
    ["no signature", {}],
    ["a wrong secret", { "x-gitea-signature": signature("wrong") }],
    ["an empty secret", { "x-gitea-signature": signature("") }],
    ["an empty signature", { "x-gitea-signature": "" }],
    ["a short signature", { "x-gitea-signature": signature(SECRET).slice(0, 62) }],
    ["a long signature", { "x-gitea-signature": `${signature(SECRET)}00` }],
    ["no hex", { "x-gitea-signature": "z".repeat(64) }],
    [
      "a wrong signature beside a good one",
      { "x-gitea-signature": signature(SECRET), "x-hub-signature-256": "sha256=00" },
    ],
    ["SHA-1", { "x-hub-signature": `sha1=${createHmac("sha1", SECRET).update(buildPush()).digest("hex")}` }],
  ])("401 for %s", async (_name, headers) => {
    expect(await post({ headers })).toMatchObject({
      status: 401,
      body: { message: "the signature is missing or wrong" },
    });
    expect(pushes).toBe(0);
  });

  test.each([
    { "x-gitea-signature": signature(SECRET) },
    { "x-gitea-signature": signature(SECRET).toUpperCase() },
    { "x-hub-signature-256": `sha256=${signature(SECRET)}` },
  ])("one good signature is enough: %o", async (headers) => {
    expect((await post({ headers })).status).toBe(202);
  });

  test("400 for a signed body that is no push, 415 for a form, 404 and 405 for what is not there", async () => {
    expect((await post({ body: "{not json", secret: SECRET })).status).toBe(400);
    expect((await post({ body: "[1]", secret: SECRET })).status).toBe(400);
    const form = { "content-type": "application/x-www-form-urlencoded" };
    expect((await post({ secret: SECRET, headers: form })).status).toBe(415);
    expect((await post({ path: "/v1/status", secret: SECRET })).status).toBe(404);
    const refused = await post({ method: "PUT", secret: SECRET });
    expect([refused.status, refused.headers["allow"]]).toEqual([405, "POST"]);
    expect((await post({ method: "GET", body: "" })).status).toBe(405);
    expect(pushes).toBe(0);
  });

  test("a signed push that is too large to be read makes the source be asked; 413 over the limit", async () => {
    const large = Buffer.alloc(3 * 1024 ** 2, 0x20);
    expect((await post({ body: large, secret: SECRET })).status).toBe(202);
    expect((await post({ body: large, secret: "wrong" })).status).toBe(401);
    expect((await post({ body: Buffer.alloc(33 * 1024 ** 2), secret: SECRET })).status).toBe(413);
    expect(pushes).toBe(1);
  });
});

describe("the secret's file", () => {
  test("is read anew for each push; one that others read, an empty one and none refuse every push and are said", async () => {
    writeFileSync(secretFile, "another");
    expect((await post({ secret: SECRET })).status).toBe(401);
    expect((await post({ secret: "another" })).status).toBe(202);
    chmodSync(secretFile, 0o644);
    expect((await post({ secret: "another" })).status).toBe(503);
    expect(said("webhook").at(-1)).toMatchObject({
      trouble: expect.stringMatching(/can be read by others: run chmod 600/),
    });
    chmodSync(secretFile, 0o600);
    writeFileSync(secretFile, "\n");
    expect((await post({ secret: "" })).status).toBe(503);
    expect(said("webhook").at(-1)).toMatchObject({ trouble: expect.stringMatching(/is empty: write a secret/) });
    rmSync(secretFile);
    expect((await post({ secret: "" })).status).toBe(503);
    writeFileSync(secretFile, SECRET, { mode: 0o600 });
    expect((await post({ secret: SECRET })).status).toBe(202);
    expect(said("webhook").at(-1)).toMatchObject({ trouble: undefined });
    expect(JSON.stringify(events)).not.toContain(SECRET);
  });

  test("is looked at when the receiver starts, before any push", async () => {
    rmSync(secretFile);
    const other = await open();
    expect(said("webhook").at(-1)).toMatchObject({ trouble: expect.stringMatching(/pushes are refused: .*ENOENT/) });
    await other.close();
  });
});

describe("hostile callers", () => {
  test("a flood of refusals is told once a minute, and counted once a second", async () => {
    let nowMs = 0;
    const other = await open({ clock: { ...systemClock, monotonicMs: () => nowMs } });
    const flood = async (): Promise<void> => {
      for (let index = 0; index < 20; index += 1) await postPush(other.address ?? "", { body: buildPush() });
    };
    const told = (): unknown[] => said("push").map((event) => event.kind === "push" && [event.quiet, event.more]);
    await flood();
    nowMs += 1_500;
    await flood();
    nowMs += 60_000;
    await flood();
    expect(told()).toEqual([
      [false, 0],
      [true, 19],
      [false, 19],
    ]);
    await other.close();
  });

  test("endless headers are cut off; half a request is dropped; others are served meanwhile", async () => {
    const port = Number(receiver.address?.split(":")[1]);
    const half = connect(port, "127.0.0.1");
    half.write("POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    const long = connect(port, "127.0.0.1");
    const answer = new Promise<string>((resolve) => {
      let text = "";
      long.on("data", (piece: Buffer) => (text += piece.toString()));
      long.on("close", () => resolve(text));
      long.on("error", () => undefined);
    });
    long.write(`POST /webhook HTTP/1.1\r\nX: ${"x".repeat(20_000)}\r\n\r\n`);
    expect(await answer).toMatch(/^HTTP\/1\.1 431 /);
    expect((await post({ secret: SECRET })).status).toBe(202);
    half.on("error", () => undefined);
    half.destroy();
    expect((await post({ secret: SECRET })).status).toBe(202);
  });
});

test("an address that is taken is said and tried again; closing ends listening and waiting", async () => {
  const timers: (() => void)[] = [];
  const listen = receiver.address ?? "";
  const after = (_delayMs: number, callback: () => void): (() => void) => {
    timers.push(callback);
    return () => timers.splice(timers.indexOf(callback), 1);
  };
  const second = await open({ listen, clock: { ...systemClock, after } });
  expect(said("webhook").at(-1)).toMatchObject({
    listen,
    trouble: expect.stringMatching(/the port is taken; tried again/),
  });
  await receiver.close();
  // Any process may hold a port of this range for a moment: then the next try is the one.
  const tryAgain = (): string | undefined => {
    timers.splice(0)[0]?.();
    return second.address;
  };
  await expect.poll(tryAgain, { timeout: 40_000 }).toBe(listen);
  expect(said("webhook").at(-1)).toMatchObject({ listen, trouble: undefined });
  expect((await postPush(listen, { body: buildPush(), secret: SECRET })).status).toBe(202);
  await second.close();
  expect(timers).toEqual([]);
  await expect(postPush(listen, { body: buildPush(), secret: SECRET })).rejects.toThrow(/ECONNREFUSED|socket hang up/);
});

describe("on a real Git server", () => {
  let server: GitServer;
  let node: TestNode;

  beforeEach(async () => {
    server = await new GitServer().start();
    node = new TestNode({ openSource: (clock) => openGitSource(server, clock, { pollMs: 3_600_000 }) });
    await receiver.close();
    receiver = await open({
      interest: { url: server.url, branch: "main", node: "vm1" },
      clock: node.clock,
      onPush: () => node.agent.lookAtSource(),
    });
  });

  afterEach(async () => {
    await node.dispose();
    await server.dispose();
  });

  test("50 pushes in 5 s make at most two fetches, and the newest commit is in force", async () => {
    server.repository.commit({ files: buildPlatform({ a: buildManifest() }) });
    await node.start();
    await node.untilSettled(["a"]);
    await node.clock.advance(60_000);
    const before = { packs: server.count("pack"), requests: server.seen.length };
    for (let push = 0; push < 50; push += 1) {
      server.repository.commit({
        files: buildPlatform({ a: buildManifest({ image: "app:2" }) }),
        message: String(push),
      });
      expect((await post({ secret: SECRET })).status).toBe(202);
      await node.clock.advance(100);
    }
    await node.clock.advance(15_000);
    expect(server.count("pack") - before.packs).toBe(2);
    // Few questions too: at most one a second.
    expect(server.seen.length - before.requests - 2 * 3).toBeLessThan(10);
    expect(node.turn.source.revision).toBe(server.repository.tip());
    await node.untilSettled(["a"]);
    expect(node.engine.running("a")?.image).toBe("app:2");
  });

  test("50 pushes in 5 s that change nothing here make at most two turns more than none", async () => {
    const files = buildPlatform({ a: buildManifest() });
    server.repository.commit({ files });
    await node.start();
    await node.untilSettled(["a"]);
    await node.clock.advance(60_000);
    const count = (): number => node.events.filter(({ kind }) => kind === "turn").length;
    const start = count();
    await node.clock.advance(15_000);
    const quiet = count() - start;
    for (let push = 0; push < 50; push += 1) {
      server.repository.commit({ files: { ...files, "README.md": String(push) } });
      expect((await post({ secret: SECRET })).status).toBe(202);
      await node.clock.advance(100);
    }
    await node.clock.advance(10_000);
    expect(count() - start - quiet).toBeLessThanOrEqual(quiet + 2);
    expect(node.turn.source.revision).toBe(server.repository.tip());
  });

  test("a push that is nothing for the node, or is not signed, asks nothing of the server", async () => {
    server.repository.commit({ files: buildPlatform({ a: buildManifest() }) });
    await node.start();
    await node.untilSettled(["a"]);
    await node.clock.advance(60_000);
    const before = server.seen.length;
    await post({ body: buildPush({ ref: "refs/heads/x" }), secret: SECRET });
    await post();
    await node.clock.advance(60_000);
    expect(server.seen.length).toBe(before);
    await post({ secret: SECRET });
    await node.clock.advance(1_000);
    expect(server.seen.length).toBeGreaterThan(before);
  });

  test("a push of the renamed repository is followed by its new name, which is told", async () => {
    server.repository.commit({ files: buildPlatform({ a: buildManifest() }) });
    await node.start();
    await node.untilSettled(["a"]);
    server.fault = { kind: "renamed", to: "/acme/newname" };
    server.repository.commit({ files: buildPlatform({ a: buildManifest({ image: "app:2" }) }) });
    const answer = await post({ body: buildPush({ repository: "acme/newname" }), secret: SECRET });
    expect(answer).toMatchObject({
      status: 202,
      body: { message: expect.stringMatching(/^a push to main of "acme\/newname": /) },
    });
    // The next poll is an hour away.
    await node.clock.advanceUntil(() => node.engine.running("a")?.image === "app:2", 60_000, "the change");
    expect(said("push").at(-1)).toMatchObject({
      doubt: expect.stringMatching(/of "acme\/newname", and source\.git\.url names acme\/platform/),
    });
    expect(node.turn.source.notes?.[0]).toMatch(/the repository was renamed; write its new URL into source\.git\.url/);
  });

  test("a push while Git is down changes nothing; the next try finds the commit", async () => {
    server.repository.commit({ files: buildPlatform({ a: buildManifest() }) });
    await node.start();
    await node.untilSettled(["a"]);
    node.engine.calls.length = 0;
    server.repository.commit({ files: buildPlatform({ a: buildManifest({ image: "app:2" }) }) });
    await server.stop();
    expect((await post({ secret: SECRET })).status).toBe(202);
    await node.clock.advance(20_000);
    expect(troubleOf(node)).toMatch(/nothing listens/);
    expect(node.engine.calls).toEqual([]);
    await server.start();
    await node.clock.advanceUntil(() => node.engine.running("a")?.image === "app:2", 300_000, "the change");
  });
});
