// The gossip on real sockets and real TLS: who is let in, who is refused and how that is told, and what a peer may not do.

import { constants, generateKeyPairSync } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { type Identity, loadIdentity, makeIdentity } from "../../../agent/gossip/node-identity.ts";
import { encodeMessage, type Message, MessageReader } from "../../../agent/gossip/core/message.ts";
import { eventually, GossipNode } from "../../builders/gossip/gossip-node.ts";

let [a, b, c] = [] as unknown as [GossipNode, GossipNode, GossipNode];

beforeEach(async () => {
  [a, b, c] = [await GossipNode.create("vm-a"), await GossipNode.create("vm-b"), await GossipNode.create("vm-c")];
});

afterEach(async () => {
  await Promise.all([a, b, c].map((node) => node.dispose()));
});

const everyone = (): [GossipNode, GossipNode, GossipNode] => [a, b, c];
const fleet = (): ReturnType<typeof list> => list(everyone());
const list = (nodes: readonly GossipNode[]): { fleet: GossipNode["member"][]; interests: string[] } => ({
  fleet: nodes.map(({ member }) => member),
  interests: [],
});

async function meet(): Promise<void> {
  const source = fleet();
  for (const node of everyone()) node.shell.follow(source);
  await eventually(
    () =>
      everyone().every(
        ({ shell }) => shell.view().length === 2 && shell.view().every((peer) => peer.stale === undefined),
      ),
    10_000,
    "the fleet's meeting",
  );
}

const READY = { ready: true, state: "healthy" };

function refusals(node: GossipNode): string[] {
  return Object.keys(node.shell.refusals);
}

describe("three nodes", () => {
  test("meet, tell each other what changes, and notice a crash, a restart and an end", async () => {
    await meet();
    a.shell.say({ db: { ...READY, start: "one" } }, "a".repeat(40));
    const knows = (start: string) => () =>
      [b, c].every(({ shell }) => shell.look("vm-a").words?.services["db"]?.start === start);
    // It is pushed: the repair that comes each second would bring it later. How soon exactly is measured by scripts/bench.
    expect(await eventually(knows("one"), 2_000, "the change")).toBeLessThan(500);
    expect(b.shell.look("vm-a").stale).toBeUndefined();
    a.shell.hint("b".repeat(40));
    await eventually(() => b.hints.length === 1 && c.hints.length === 1, 2_000, "the hint");
    const { stats } = a.shell;
    expect(stats).toMatchObject({ hintsSent: 1, recordsForged: 0, strain: expect.any(Number) });
    expect(stats.links).toBeGreaterThanOrEqual(2);
    expect(stats.framesSent).toBeGreaterThanOrEqual(4);
    expect(stats.bytesSent).toBeGreaterThan(200);
    expect(b.shell.stats.recordsAccepted).toBeGreaterThanOrEqual(3);
    expect(b.shell.stats.hintsReceived).toBe(1);

    await a.shell.close();
    await eventually(() => b.state("vm-a") === "left" && c.state("vm-a") === "left", 2_000, "the end");
    expect(b.shell.look("vm-a").stale).toMatch(/told to end/);
    a.restart();
    a.shell.follow(fleet());
    await eventually(() => [b, c].every((node) => node.shell.look("vm-a").stale === undefined), 5_000, "the way back");
    expect(b.shell.look("vm-a").words).toMatchObject({ boot: 2, services: {} });
    expect(readFileSync(join(a.stateDir, "gossip-boot"), "utf8")).toBe("2\n");
  });

  test("a disk that was restored: peers say how far this node had come, and it goes above that", async () => {
    await meet();
    for (const start of ["one", "two", "three"]) a.shell.say({ db: { ...READY, start } }, undefined);
    await eventually(() => b.shell.look("vm-a").words?.seq === 4, 2_000, "what is said");
    await a.shell.close();
    rmSync(join(a.stateDir, "gossip-boot"));
    a.restart();
    a.shell.follow(fleet());
    a.shell.say({ db: { ...READY, start: "four" } }, undefined);
    await eventually(() => b.shell.look("vm-a").words?.services["db"]?.start === "four", 10_000, "the refutation");
    expect(b.shell.look("vm-a")).toMatchObject({ stale: undefined, words: { boot: 2 } });
  });

  test("who is taken out of fleet.toml is cut off at once, and refused when it comes again", async () => {
    await meet();
    for (const node of [a, b]) node.shell.follow(list([a, b]));
    await eventually(() => refusals(a).length + refusals(b).length > 0, 10_000, "a refusal");
    expect([...refusals(a), ...refusals(b)]).toContain("its key is not in fleet.toml");
    expect(a.shell.view().map(({ node }) => node)).toEqual(["vm-b"]);
    expect(a.state("vm-b")).toBe("alive");
  });

  test("another realm is refused in the handshake, on both sides", async () => {
    const source = fleet();
    const stage = source.fleet.map((member) => (member.node === "vm-c" ? { ...member, realm: "stage" } : member));
    for (const node of everyone()) node.shell.follow({ fleet: stage, interests: [] });
    await eventually(() => a.state("vm-b") === "alive", 10_000, "the meeting");
    expect(a.shell.view().map(({ node }) => node)).toEqual(["vm-b"]);
    expect(c.shell.view()).toEqual([]);
    const socket = await knock(a, { key: c.identity });
    await ended(socket);
    expect(refusals(a)).toContain("vm-c belongs to another realm (stage)");
    expect(a.shell.stats.refused["other-realm"]).toBeGreaterThan(0);
  });

  test("a node that fleet.toml lists later, or puts into another realm, takes part from then on", async () => {
    const source = fleet();
    for (const node of [a, b]) node.shell.follow({ fleet: source.fleet.slice(1), interests: [] });
    expect(a.shell.notes.join()).toContain("fleet.toml does not list this node");
    await eventually(() => b.shell.view().length === 1, 2_000, "vm-b's roster");
    for (const node of [a, b]) node.shell.follow(source);
    await eventually(() => a.state("vm-b") === "alive" && b.state("vm-a") === "alive", 10_000, "the meeting");
    const moved = source.fleet.map((member) => (member.node === "vm-c" ? member : { ...member, realm: "stage" }));
    for (const node of everyone()) node.shell.follow({ fleet: moved, interests: [] });
    await eventually(() => a.shell.look("vm-b").words?.realm === "stage", 10_000, "the meeting in the other realm");
    expect(c.shell.view()).toEqual([]);
  });

  test("a node whose key is not the one in fleet.toml takes no part, and says what to write", async () => {
    const wrong = fleet();
    wrong.fleet = wrong.fleet.map((member) =>
      member.node === "vm-a" ? { ...member, publicKey: c.identity.publicKey } : member,
    );
    a.shell.follow(wrong);
    expect(a.shell.notes.join()).toContain(`write public_key = "${a.identity.publicKey}" into [nodes.vm-a]`);
    expect(a.shell.view()).toEqual([]);
  });
});

/** Opens a stream to a node as somebody would who is not its peer. */
async function knock(
  node: GossipNode,
  { key, session, from }: { key?: Identity; session?: Buffer | undefined; from?: string },
): Promise<TLSSocket> {
  const socket = connect({
    host: node.host,
    port: node.port,
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(key === undefined
      ? {}
      : { key: key.privateKey.export({ type: "pkcs8", format: "pem" }), cert: key.certificate }),
    ...(session === undefined ? {} : { session }),
    ...(from === undefined ? {} : { localAddress: from }),
  });
  socket.on("error", () => undefined);
  await new Promise<void>((resolve) => {
    socket.once("secureConnect", resolve);
    socket.once("close", () => resolve());
  });
  return socket;
}

/** What a node says first to one that it takes for a peer; undefined when it ends the stream. */
function readFirst(socket: TLSSocket): Promise<Message | undefined> {
  return new Promise((resolve) => {
    socket.once("data", (piece: Buffer) => resolve(new MessageReader().push(piece)[0]));
    socket.once("close", () => resolve(undefined));
  });
}

function ended(socket: TLSSocket): Promise<boolean> {
  return socket.closed
    ? Promise.resolve(true)
    : new Promise((resolve) => {
        socket.resume();
        socket.once("close", () => resolve(true));
      });
}

describe("strangers", () => {
  test("no key, an unknown key, and a key of this node itself", async () => {
    await meet();
    const directory = mkdtempSync(join(tmpdir(), "orca-key-"));
    const stranger = await makeIdentity(join(directory, "key"));
    rmSync(directory, { recursive: true });
    await ended(await knock(a, {}));
    await ended(await knock(a, { key: stranger }));
    await ended(await knock(a, { key: a.identity }));
    expect(refusals(a)).toEqual(
      expect.arrayContaining([
        "it showed no Ed25519 key",
        "its key is not in fleet.toml",
        "it shows this node's own key: another machine has a copy of it",
      ]),
    );
    expect(a.shell.view().every(({ state }) => state === "alive")).toBe(true);
  });

  test("a session that was opened with a key is worth nothing without it", async () => {
    await meet();
    let session: Buffer | undefined;
    const first = await knock(a, { key: b.identity });
    first.on("session", (ticket) => {
      session = ticket;
    });
    first.resume();
    await eventually(() => session !== undefined, 5_000, "a session");
    first.destroy();
    const second = await knock(a, { session });
    await ended(second);
    expect(second.isSessionReused()).not.toBe(true);
    expect(refusals(a)).toContain("it showed no Ed25519 key");
  });

  test("older TLS is not spoken", async () => {
    await meet();
    const socket = connect({
      host: a.host,
      port: a.port,
      rejectUnauthorized: false,
      maxVersion: "TLSv1.2" as const,
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
    const error = await new Promise<Error>((resolve) => socket.once("error", resolve));
    expect(error.message).toMatch(/protocol version|alert/);
    await eventually(() => refusals(a).some((reason) => reason.startsWith("the handshake failed")), 2_000, "a count");
  });

  test("many refusals are all counted, and told once a minute", async () => {
    await meet();
    for (let round = 0; round < 20; round += 1) await ended(await knock(a, {}));
    await eventually(() => a.shell.refusals["it showed no Ed25519 key"] === 20, 5_000, "the count");
    const told = a.events.filter((event) => event.kind === "refused" && event.reason.includes("no Ed25519 key"));
    expect(told).toHaveLength(1);
  });

  test("streams that say nothing are few, and end; peers go on meanwhile", { timeout: 30_000 }, async () => {
    await meet();
    const sockets = Array.from({ length: 80 }, () =>
      connectTcp({ host: a.host, port: a.port })
        .on("error", () => undefined)
        .resume(),
    );
    await eventually(() => refusals(a).includes("too many connections that show no key"), 5_000, "the limit");
    // Strangers have taken all their places and none of a peer's.
    const peer = await knock(a, { key: b.identity, from: b.host });
    expect(await readFirst(peer)).toMatchObject({ t: "record", record: { node: "vm-a" } });
    peer.destroy();
    await eventually(() => sockets.every(({ closed }) => closed), 10_000, "the end of all of them");
    expect(a.shell.view().every(({ state }) => state === "alive")).toBe(true);
    const again = await knock(a, { key: b.identity });
    expect(await readFirst(again)).toMatchObject({ t: "record", record: { node: "vm-a" } });
    again.destroy();
  });
});

describe("peers that misbehave", () => {
  test("a frame that is too large, and nonsense, end the stream", async () => {
    await meet();
    const large = await knock(a, { key: b.identity });
    const header = Buffer.alloc(4);
    header.writeUInt32BE(1_000_000);
    large.write(header);
    await ended(large);
    const nonsense = await knock(a, { key: b.identity });
    nonsense.write(Buffer.concat([Buffer.from([0, 0, 0, 9]), Buffer.from("{}{}{}{}{")]));
    await ended(nonsense);
    expect(refusals(a).some((reason) => reason === "vm-b sent a frame of 1000000 bytes")).toBe(true);
    expect(refusals(a).filter((reason) => reason.startsWith("vm-b sent")).length).toBe(2);
    await eventually(() => a.shell.look("vm-b").stale === undefined, 5_000, "vm-b again");
  });

  test("one that reads nothing is cut off before it costs memory", { timeout: 60_000 }, async () => {
    await meet();
    const slow = await knock(a, { key: b.identity });
    slow.pause();
    // Each ask is answered; nobody reads the answers.
    const ask = Buffer.concat(
      Array.from({ length: 100 }, (_, index) =>
        encodeMessage({ t: "ask", target: "vm-x", nonce: `nonce-${index}00000` }),
      ),
    );
    const from = process.memoryUsage().rss;
    await eventually(
      () => {
        if (!slow.destroyed) slow.write(ask);
        return slow.destroyed || refusals(a).length > 0;
      },
      50_000,
      "the cut",
    );
    slow.destroy();
    expect(process.memoryUsage().rss - from).toBeLessThan(64 * 1024 ** 2);
    await eventually(() => a.shell.look("vm-b").stale === undefined, 10_000, "vm-b again");
  });
});

describe("the key", () => {
  test("is made once, for its owner alone, and is never replaced", async () => {
    const directory = mkdtempSync(join(tmpdir(), "orca-key-"));
    const file = join(directory, "deeper", "key");
    expect(await loadIdentity(file)).toBeUndefined();
    const made = await makeIdentity(file);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(made.publicKey).toMatch(/^ed25519:[A-Za-z0-9_-]{43}$/);
    expect((await makeIdentity(file)).publicKey).toBe(made.publicKey);
    rmSync(`${file}.crt`);
    expect(await loadIdentity(file)).toBeUndefined();
    expect((await makeIdentity(file)).publicKey).toBe(made.publicKey);
    expect(existsSync(`${file}.crt`)).toBe(true);
    chmodSync(file, 0o640);
    await expect(loadIdentity(file)).rejects.toThrow(/others can read it: run chmod 600/);
    chmodSync(file, 0o600);
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    writeFileSync(file, privateKey.export({ type: "pkcs8", format: "pem" }));
    await expect(makeIdentity(file)).rejects.toThrow(/holds no Ed25519 key/);
    writeFileSync(file, "secret nonsense");
    await expect(loadIdentity(file)).rejects.toThrow(/^(?!.*secret)/);
    rmSync(directory, { recursive: true });
  });
});
