// The page day-two, line by line, on one real node with Git, a file of secrets and a real PostgreSQL: what is typed after a merge, to roll
// back, to rotate, to restore, and on a VM that takes a lost one's place. What makes VMs (cloud-init, enroll) is tested beside those commands.

import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, beforeAll, expect, test } from "vitest";

import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { openLane } from "../../../scripts/lab/canary/canary-lane.ts";
import { readPage } from "../../builders/data/readme.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { eventually } from "../../contract/docker-port.ts";

/** Not in step: the Git server is in this process. */
const run = promisify(execFile);
const NODE = nameForRun("day-two");
const TOKEN = "/canary/lane/TOKEN";
const VOLUME = `${NODE}-db-data`;

const page = readPage("day-two");
const root = mkdtempSync(join(tmpdir(), "orca-day-two-"));
const runDir = mkdtempSync("/dev/shm/orca-day-two-");
const checkout = join(root, "checkout");
const state = join(root, "state");
const socket = join(runDir, "agent.sock");
const secrets = join(root, "secrets.age");
const server = new GitServer();
let agent: OrcaProcess | undefined;

const FILES: Readonly<Record<string, string>> = {
  "orca/fleet.toml": `[nodes.${NODE}]\naddress = "127.0.0.1"\nenv = "prod"\nmemory = "4GiB"\n`,
  [`orca/manifests/${NODE}/app.toml`]: `
image  = "orca-test/busybox:1"
command = ["/bin/sleep", "1000000"]
init    = true
stop_timeout = "1s"
[resources]
memory = "32MiB"
[health]
exec     = ["/bin/true"]
interval = "1s"
[update]
settle = "1s"
[secrets.files]
token = "${TOKEN}"
`,
  [`orca/manifests/${NODE}/db.toml`]: `
image = "orca-test/postgres:1"
[env]
POSTGRES_DB = "app"
POSTGRES_USER = "owner"
[resources]
memory = "256MiB"
[health]
exec         = ["pg_isready", "-h", "127.0.0.1", "-U", "owner", "-d", "app"]
interval     = "1s"
start_period = "2m"
[update]
settle = "1s"
[[volumes]]
name   = "${VOLUME}"
target = "/var/lib/postgresql/data"
[[backups]]
name     = "db"
engine   = "postgres"
schedule = "every 5h"
`,
};

/** The lines of one part of the page, as words for this place. */
function listLines(heading: string): string[][] {
  const blocks = page.blocks.filter((block) => block.heading === heading && block.language === "sh");
  const lines = blocks.flatMap(({ text }) => text.split("\n")).filter((line) => line !== "");
  return lines.map((line) => {
    const words = line.replace(/\s+#.*$/, "").match(/"[^"]*"|\S+/g) ?? [];
    const here = { ".": checkout, "db-data": VOLUME, "/prod/app/TOKEN": TOKEN, "/etc/orca/secrets.age": secrets };
    return words.map((word) => (here as Record<string, string>)[word] ?? word.replaceAll('"', ""));
  });
}

/** Types one of these lines; those that ask for another VM are not for here. */
async function type(words: readonly string[], input?: string): Promise<{ code: number | null; output: string }> {
  const [program = "", ...rest] = words;
  if (program === "git") {
    const who = ["-c", "user.name=Jane", "-c", "user.email=jane@example.com"];
    return { code: 0, output: (await run("git", [...who, "-C", checkout, ...rest])).stdout };
  }
  const process = new OrcaProcess(rest, { environment: { ORCA_SOCKET: socket }, directory: checkout });
  process.child.stdin?.end(input ?? "");
  return { code: await process.exited, output: process.output };
}

async function orca(...words: string[]): Promise<{ code: number | null; output: string }> {
  return type(["orca", ...words]);
}

async function untilHealthy(): Promise<void> {
  await eventually(async () => (await orca("status")).code === 0, 120_000).catch(async (error: unknown) => {
    throw new Error(`${(await orca("status")).output}\n${agent?.output}`, { cause: error });
  });
}

/** Until the newest commit is in force, and all is well with it. */
async function untilInForce(): Promise<void> {
  const tip = (await type(["git", "rev-parse", "HEAD"])).output.slice(0, 12);
  await eventually(async () => (await orca("status")).output.includes(tip), 60_000);
  await untilHealthy();
}

async function findContainer(service: string): Promise<string> {
  const labels = [`label=orca.node=${NODE}`, `label=orca.service=${service}`];
  return docker("ps", "-q", "--no-trunc", ...labels.flatMap((label) => ["--filter", label]));
}

async function psql(query: string): Promise<string> {
  const words = ["psql", "-h", "127.0.0.1", "-U", "owner", "-Atc", query, "app"];
  return docker("exec", await findContainer("db"), ...words);
}

async function readMemory(): Promise<string> {
  return docker("inspect", "-f", "{{.HostConfig.Memory}}", await findContainer("app"));
}

/** Since when app runs; empty while it does not. */
async function readStarted(): Promise<string> {
  const container = await findContainer("app");
  return container === "" ? "" : docker("inspect", "-f", "{{.State.StartedAt}}", container);
}

async function startAgent(): Promise<void> {
  agent = new OrcaProcess(["agent", "--config", join(root, "agent.toml")], { runDir });
  await untilHealthy();
}

function edit(from: string, to: string): void {
  const file = join(checkout, "orca", "manifests", NODE, "app.toml");
  writeFileSync(file, readFileSync(file, "utf8").replace(from, to));
}

beforeAll(async () => {
  await server.start();
  server.repository.commit({ files: FILES, message: "the platform" });
  const lane = openLane().secrets.file;
  for (const [from, to] of [
    [lane, secrets],
    [`${lane}.key`, `${secrets}.key`],
  ] as const)
    cpSync(from, to);
  mkdirSync(join(root, "backups"), { mode: 0o700 });
  const lines = [
    `node = "${NODE}"`,
    `source = { git = { url = "${server.url}", poll = "1s" } }`,
    `secrets = { file = "${secrets}" }`,
    `state = { dir = "${state}" }`,
    `backups = { dir = "${join(root, "backups")}" }`,
    `policy = { file = "${join(root, "none.toml")}" }`,
    `status = { listen = ["127.0.0.1:${await findPort()}"] }`,
  ];
  writeFileSync(join(root, "agent.toml"), lines.join("\n"));
  // Pushes go beside the server, which takes none.
  await run("git", ["clone", "-q", server.repository.path, checkout]);
  await startAgent();
});

afterAll(async () => {
  const texts = { "its output": agent?.output ?? "" };
  await expectNoSecretLeft({ node: NODE, stateDir: state, socketPath: socket, texts }, async () => {
    await agent?.stop();
    await clearEngine();
  });
  await server.dispose();
  for (const directory of [root, runDir]) rmSync(directory, { recursive: true, force: true });
});

/** Everything of the node at the engine. */
async function clearEngine(): Promise<void> {
  await new OrcaProcess(["up", checkout, "--node", NODE, "--state", state, "--down"]).exited;
  const names = await docker("volume", "ls", "-q", "--filter", `name=${NODE}-`);
  for (const name of names.split("\n").filter(Boolean)) await docker("volume", "rm", "-f", name);
}

test("merge a change", async () => {
  const codes: (number | null)[] = [];
  for (const words of listLines("Merge a change")) {
    if (words[1] === "status") {
      // The pull request is merged.
      await type(["git", "switch", "main"]);
      await type(["git", "merge", "-q", "app-memory"]);
      await type(["git", "push", "-q", "origin", "main"]);
      await untilInForce();
      expect(await readMemory()).toBe(`${48 * 2 ** 20}`);
    }
    const { code, output } = await type(words);
    codes.push(code);
    if (words[1] === "switch") edit("32MiB", "48MiB");
    if (words[1] === "why") expect(output).toMatch(/memory/);
    if (words[1] === "plan") expect(output).toMatch(/app[^]*memory/);
  }
  expect(codes).toEqual([0, 0, 2, 0, 0, 0, 0]);
});

test("roll back", async () => {
  const [rollback = [], ...rest] = listLines("Roll back");
  expect((await type(rollback)).code).toBe(0);
  await eventually(async () => (await readMemory()) === `${32 * 2 ** 20}`, 60_000);
  for (const words of rest) {
    if (words[1] === "status") await untilInForce();
    expect((await type(words)).code).toBe(0);
  }
  expect(await readMemory()).toBe(`${32 * 2 ** 20}`);
  expect((await orca("status")).output).not.toContain("rolled-back");
});

test("rotate a secret", async () => {
  const before = await readStarted();
  const [set = [], why = []] = listLines("Rotate a secret");
  const from = set.indexOf("|") + 1;
  expect(set.slice(0, from - 1)).toEqual(["openssl", "rand", "-hex", "24"]);
  // Another of the marked values, so that the search for values knows it.
  expect((await type(set.slice(from), "rotated-by-the-page-day-two\n")).code).toBe(0);
  await eventually(async () => ![before, ""].includes(await readStarted()), 60_000);
  await untilHealthy();
  const { code, output } = await type(why);
  expect([code, output.includes(TOKEN)]).toEqual([0, true]);
  expect(output).not.toContain("rotated-by-the-page");
});

test("restore data, and go back to the old volume", async () => {
  await psql("create table t as select generate_series(1, 1000) g");
  expect((await orca("backup", "run", "db")).code).toBe(0);
  expect((await orca("backup", "verify", "db")).code).toBe(0);
  await psql("drop table t");
  const [list = [], dry = [], restore = [], use = []] = listLines("Restore data");
  for (const words of [list, dry, restore]) expect(await type(words)).toMatchObject({ code: 0 });
  expect(await psql("select count(*) from t")).toBe("1000");
  expect((await type(use)).code).toBe(0);
  await eventually(async () => (await psql("select to_regclass('t') is null").catch(() => "")) === "t", 60_000);
  await untilHealthy();
});

test("replace a node: a VM with nothing but the repository of backups takes the name", async () => {
  await agent?.kill();
  await clearEngine();
  rmSync(state, { recursive: true });
  await startAgent();
  expect(await psql("select to_regclass('t') is null")).toBe("t");
  const lines = listLines("Replace a node");
  const own = lines.filter(([program, command]) => program === "orca" && command === "backup");
  expect(own).toHaveLength(2);
  for (const words of own) expect(await type(words)).toMatchObject({ code: 0 });
  expect(await psql("select count(*) from t")).toBe("1000");
});

test("grow: what lint and the plan of the fleet say of one more node", async () => {
  const fleet = join(checkout, "orca", "fleet.toml");
  const more = '\n[nodes.vm-ai]\naddress = "127.0.0.2"\nenv = "prod"\nmemory = "2GiB"\n';
  writeFileSync(fleet, readFileSync(fleet, "utf8") + more);
  mkdirSync(join(checkout, "orca", "manifests", "vm-ai"));
  cpSync(
    join(checkout, "orca", "manifests", NODE, "app.toml"),
    join(checkout, "orca", "manifests", "vm-ai", "model.toml"),
  );
  await type(["git", "add", "orca"]);
  const lines = listLines("Grow past four VMs");
  const before = await findContainer("app");
  for (const words of lines.filter(
    ([program, command]) => program === "git" || command === "lint" || command === "fleet",
  ))
    expect(await type(words)).toMatchObject({ code: 0 });
  await orca("sync");
  await untilHealthy();
  expect(await findContainer("app")).toBe(before);
});
