// A whole agent as a process, with Git, webhook, commit status, gossip and secrets: what it keeps in its state and run directories is
// what state-layout.ts names, and nothing else. The engine is away, which takes nothing from what the agent keeps.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { findStatePart, listUnknownEntries } from "../../../agent/host/state-layout.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";
import { buildPlatform } from "../../builders/git/git-node.ts";
import { buildManifest } from "../../builders/node/manifest.ts";

let root: string;
let runDir: string;
let server: GitServer;
let agent: ChildProcess | undefined;
let output = "";

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "orca-layout-"));
  runDir = mkdtempSync("/dev/shm/orca-layout-");
  server = await new GitServer().start();
});

afterEach(async () => {
  agent?.kill("SIGKILL");
  await server.dispose();
  for (const directory of [root, runDir]) rmSync(directory, { recursive: true, force: true });
});

function writePrivate(name: string, text: string): string {
  const path = join(root, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

async function writeConfig(stateDir: string): Promise<string> {
  const [status, webhook, gossip] = [await findPort(), await findPort(), await findPort()];
  return writePrivate(
    "agent.toml",
    `node = "vm1"

[source]
status_token_file = "${writePrivate("status-token", "token")}"

[source.git]
url = "${server.url}"
branch = "main"

[source.webhook]
listen = "127.0.0.1:${webhook}"
secret_file = "${writePrivate("webhook-secret", "0123456789abcdef")}"

[secrets]
file = "${writePrivate("secrets.toml", "")}"
plain = true

[gossip]
listen = "127.0.0.1:${gossip}"
identity_file = "${join(stateDir, "identity.key")}"

[status]
listen = ["127.0.0.1:${status}"]

[docker]
socket = "${join(root, "no-engine.sock")}"

[state]
dir = "${stateDir}"

[policy]
file = "${writePrivate("policy.toml", 'realm = "prod"\n')}"
`,
  );
}

test("an agent that runs keeps nothing that the list does not know", async () => {
  server.repository.commit({ files: buildPlatform({ a: buildManifest() }) });
  const stateDir = join(root, "state");
  const config = await writeConfig(stateDir);
  agent = spawn(process.execPath, [PROGRAM, "agent", "--config", config], {
    env: { ...process.env, RUNTIME_DIRECTORY: runDir, NOTIFY_SOCKET: "" },
  });
  for (const stream of [agent.stdout, agent.stderr]) stream?.on("data", (text) => void (output += String(text)));
  const parts = (): string[] =>
    (existsSync(stateDir) ? readdirSync(stateDir) : []).flatMap((entry) => findStatePart(entry) ?? []);
  const wanted = ["store", "history", "audit", "hostKey", "git", "identity", "files"];
  await vi
    .waitUntil(() => wanted.every((part) => parts().includes(part as never)), { timeout: 30_000 })
    .catch(() => {
      throw new Error(`only ${parts().join(", ")}; the agent said:\n${output}`);
    });
  expect(listUnknownEntries(stateDir, runDir)).toEqual([]);
  const ended = new Promise((resolve) => agent?.once("exit", resolve));
  agent.kill("SIGTERM");
  await ended;
  expect(listUnknownEntries(stateDir, runDir)).toEqual([]);
});
