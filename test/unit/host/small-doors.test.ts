// What any user of the machine could do to the agent: hold its lock, read its state, keep others from its listeners.

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { afterEach, expect, test } from "vitest";

import { PushReceiver } from "../../../agent/sources/forge/push-receiver.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import { takeLock } from "../../../agent/host/files/lock.ts";
import { Store } from "../../../agent/host/store/store.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { TestReport } from "../../builders/node/report.ts";
import { buildPush, postPush } from "../../../scripts/lab/git/push.ts";
import { buildView } from "../../builders/node/turns.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "orca-doors-"));
  cleanups.push(() => rmSync(directory, { recursive: true }));
  return directory;
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

/** As on a machine whose users may read what others write. */
function withLooseUmask<T>(act: () => T): T {
  const before = process.umask(0o000);
  try {
    return act();
  } finally {
    process.umask(before);
  }
}

test.each([["made anew"], ["left by an earlier version"]])("a lock file is nobody else's to hold: %s", (how) => {
  const directory = makeDirectory();
  const path = join(directory, "vm1.lock");
  if (how !== "made anew") {
    writeFileSync(path, "");
    chmodSync(path, 0o644);
  }
  const holder = { pid: process.pid, command: "test", since: "now" };
  const release = withLooseUmask(() => takeLock({ directory, name: "vm1", what: "vm1", holder }));
  cleanups.push(release);
  expect(modeOf(path)).toBe("600");
});

test.each([["made anew"], ["left by an earlier version"]])("the state is root's alone: %s", (how) => {
  const directory = join(makeDirectory(), "state");
  const path = join(directory, "orca.db");
  mkdirSync(directory, { mode: 0o755 });
  if (how !== "made anew") {
    // A store that was killed: its log is still there.
    const before = withLooseUmask(() => new DatabaseSync(path));
    before.exec("PRAGMA journal_mode = WAL; CREATE TABLE x (y); INSERT INTO x VALUES (1)");
    for (const file of readdirSync(directory)) chmodSync(join(directory, file), 0o644);
    cleanups.push(() => before.close());
  }
  const store = withLooseUmask(() => Store.open(directory, 0));
  cleanups.push(() => store.close());
  expect(existsSync(`${path}-wal`)).toBe(true);
  for (const file of readdirSync(directory)) expect(`${file} ${modeOf(join(directory, file))}`).toBe(`${file} 600`);
});

/** Connections that are held open, each after it has sent something. */
async function hold(port: number, count: number, text: string): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let index = 0; index < count; index += 1) {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("error", () => undefined);
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.write(text);
    sockets.push(socket);
  }
  cleanups.push(() => sockets.forEach((socket) => socket.destroy()));
  return sockets;
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}

test.each([
  ["that say nothing", ""],
  ["kept after an answer", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"],
  ["with half a request", "GET / HTTP/1.1\r\nhost: localhost\r\nx: "],
  ["with a body that never comes", "GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n"],
])("200 connections %s keep nobody from the status", async (_how, text) => {
  const report = await new TestReport().start();
  cleanups.push(() => report.dispose());
  report.turn({ views: [buildView("web")] });
  await hold(portOf(report.serving.addresses[0] ?? ""), 200, text);
  for (let index = 0; index < 3; index += 1) expect((await report.get("/")).status).toBe(200);
});

test("whoever listens to changes stays while others come and go", async () => {
  const report = await new TestReport().start();
  cleanups.push(() => report.dispose());
  report.turn({ views: [buildView("web")] });
  const port = portOf(report.serving.addresses[0] ?? "");
  const [listener] = await hold(port, 1, "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n");
  await new Promise((resolve) => listener?.once("data", resolve));
  await hold(port, 300, "GET / HTTP/1.1\r\nhost: localhost\r\nx: ");
  expect((await report.get("/")).status).toBe(200);
  expect(listener?.destroyed).toBe(false);
});

test("100 senders that never end keep no push out", async () => {
  const secretFile = join(makeDirectory(), "secret");
  writeFileSync(secretFile, "the-secret\n", { mode: 0o600 });
  let pushes = 0;
  const receiver = new PushReceiver({
    listen: "127.0.0.1:0",
    secretFile,
    clock: systemClock,
    emit: (_event: AgentEvent) => undefined,
    interest: { url: "https://git.example/ops/platform.git", branch: "main", node: "vm-a" },
    onPush: () => (pushes += 1),
  });
  await receiver.start();
  cleanups.push(() => receiver.close());
  const port = portOf(receiver.address ?? "");
  const head = `POST /webhook HTTP/1.1\r\nhost: x\r\nx-gitea-signature: ${"0".repeat(64)}\r\ncontent-length: 9999\r\n\r\n`;
  await hold(port, 100, `${head}{`);
  const answer = await postPush(receiver.address ?? "", {
    body: buildPush({ repository: "ops/platform" }),
    secret: "the-secret",
  });
  expect([answer.status, pushes]).toEqual([202, 1]);
});

test("a user who may not read the lock cannot hold it", { skip: process.getuid?.() !== 0 }, () => {
  const directory = makeDirectory();
  chmodSync(directory, 0o755);
  const request = { directory, name: "vm1", what: "vm1", holder: { pid: 1, command: "x", since: "now" } };
  takeLock(request)();
  const script = `const { DatabaseSync } = require("node:sqlite"); new DatabaseSync(${JSON.stringify(join(directory, "vm1.lock"))}, { readOnly: true }).exec("BEGIN; SELECT * FROM sqlite_master");`;
  const { status, stderr } = spawnSync(process.execPath, ["-e", script], {
    uid: 65_534,
    gid: 65_534,
    encoding: "utf8",
  });
  expect(status).not.toBe(0);
  expect(stderr).toContain("unable to open database file");
});
