// The daemon from its bundle with a Git source, on the real engine: only dist/ is there, so the process that fetches must
// work from it too. Git fails and comes back, and no container is touched for it.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, expect, test } from "vitest";

import { describeMarkedSecrets } from "../../../scripts/lab/canary/canary-lane.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { commitSigned, makeKey } from "../../builders/git/git-signing.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { buildHttpd } from "../../../scripts/lab/engine/real-node.ts";
import { eventually } from "../../contract/docker-port.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { findPort } from "../../builders/engine/free-port.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const NODE = nameForRun("git");
const LISTEN = `127.0.0.1:${await findPort()}`;
const runDir = mkdtempSync("/dev/shm/orca-git-");
const SOCKET = join(runDir, "agent.sock");
const root = mkdtempSync(join(tmpdir(), "orca-git-daemon-"));
const entry = join(root, "dist", "orca.mjs");
const unit = readFileSync(join(ROOT, "systemd", "orca-agent.service"), "utf8");
const flags = /^ExecStart=\S+ (.*?) \S+orca\.mjs/m.exec(unit)?.[1]?.split(" ");
const server = new GitServer({ tls: true });
let agent: OrcaProcess;

async function orca(...parameters: string[]): Promise<{ code: number | null; output: string }> {
  const run = new OrcaProcess([...parameters, "--socket", SOCKET]);
  return { code: await run.exited, output: run.output };
}

async function orcaAudit(): Promise<{ output: string }> {
  const run = new OrcaProcess(["audit", "--state", join(root, "state")]);
  await run.exited;
  return run;
}

function startAgent(): OrcaProcess {
  return new OrcaProcess(["agent", "--config", join(root, "agent.toml")], { entry, flags, runDir });
}

function buildFiles(page: string): Record<string, string> {
  const tables = '[[files]]\nsource = "files/page"\ntarget = "/www/page"';
  return {
    "orca/fleet.toml": `[nodes.${NODE}]\naddress = "127.0.0.1"\nenv = "trial"\nmemory = "2GiB"\n`,
    [`orca/manifests/${NODE}/web.toml`]: buildHttpd({ tables }),
    [`orca/manifests/${NODE}/files/page`]: page,
  };
}

function commit(page: string, { message = "change" }: { message?: string } = {}): string {
  return server.repository.commit({ files: buildFiles(page), message });
}

async function readContainer(): Promise<string> {
  return docker("ps", "-aq", "--no-trunc", "--filter", `label=orca.node=${NODE}`, "--filter", "label=orca.service=web");
}

async function readStarted(): Promise<string> {
  return docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", await readContainer());
}

async function untilStatus(says: RegExp): Promise<string> {
  let text = "";
  await eventually(async () => {
    text = (await orca("status")).output;
    return says.test(text);
  }, 30_000);
  return text;
}

beforeAll(async () => {
  execFileSync(process.execPath, [join(ROOT, "scripts", "bundle.ts"), "--out", join(root, "dist")]);
  await server.start();
  server.isPrivate = true;
  commit("one");
  const git = [
    `url = "${server.url}"`,
    'poll = "1s"',
    `token_file = "${server.writeToken()}"`,
    `ca_file = "${server.caFile}"`,
  ];
  const lines = [
    `node = "${NODE}"`,
    `source = { git = { ${git.join(", ")} } }`,
    `state = { dir = "${join(root, "state")}" }`,
    'log = { format = "text" }',
    `policy = { file = "${join(root, "none.toml")}" }`,
    describeMarkedSecrets(),
    `status = { listen = ["${LISTEN}"] }`,
  ];
  writeFileSync(join(root, "agent.toml"), lines.join("\n"));
  agent = startAgent();
  await eventually(async () => (await orca("status")).code === 0, 60_000);
});

afterAll(async () => {
  const texts = { "its output": agent.output };
  const places = { node: NODE, stateDir: join(root, "state"), directories: [root], texts };
  await expectNoSecretLeft({ ...places, listen: LISTEN, socketPath: SOCKET }, clear);
});

async function clear(): Promise<void> {
  await agent.kill();
  const ids = await docker("ps", "-aq", "--filter", `label=orca.node=${NODE}`);
  if (ids !== "") await docker("rm", "-f", ...ids.split("\n"));
  await docker("network", "rm", `orca-${NODE}`).catch(() => undefined);
  await server.dispose();
  rmSync(runDir, { recursive: true, force: true });
  rmSync(root, { recursive: true, force: true });
}

test("status shows where the desired state comes from, and that it is fresh", async () => {
  const { code, output } = await orca("status", "--json");
  expect(code).toBe(0);
  const tip = server.repository.tip();
  expect(JSON.parse(output)).toMatchObject({
    revision: tip,
    source: { kind: "git", location: `${server.url} (main)`, revision: tip, trouble: null, retry: null },
  });
  expect(await docker("exec", await readContainer(), "cat", "/www/page")).toBe("one");
});

test("a commit is applied; the token is in no argument, log or state", async () => {
  commit("two");
  await eventually(
    async () => (await docker("exec", await readContainer(), "cat", "/www/page").catch(() => "")) === "two",
    30_000,
  );
  await untilStatus(/1 healthy/);
  expect(agent.output).toMatch(
    /a revision is in force \(revision [0-9a-f]{40}, source [^,]+, author Jane Doe <jane@example.com>, subject change\)/,
  );
  expect((await orcaAudit()).output).toMatch(/commit [0-9a-f]{40} by Jane Doe <jane@example.com>/);
  expect(agent.output).not.toContain(server.token);
  const found = execFileSync("sh", ["-c", `grep -rlF ${server.token} ${join(root, "state")} || true`], {
    encoding: "utf8",
  });
  expect(found).toBe("");
});

test("Git that fails, a restart without Git, and its return: no container is touched but for the commit", async () => {
  await untilStatus(/1 healthy/);
  const before = await readStarted();
  server.fault = { kind: "html" };
  await untilStatus(/a web page in place of Git's data.*what is in force stays in force; next try in/);
  await server.stop();
  await untilStatus(/nothing listens at localhost/);
  await agent.kill();
  agent = startAgent();
  const text = await untilStatus(/the source was last read .* ago: read https:.*nothing listens at localhost/);
  expect(text).toMatch(/1 service: 1 (healthy|starting)/);
  await untilStatus(/1 service: 1 healthy/);
  expect(await readStarted()).toBe(before);
  expect(await docker("exec", await readContainer(), "cat", "/www/page")).toBe("two");
  server.fault = undefined;
  await server.start();
  const tip = commit("two", { message: "words only" });
  expect((await orca("sync")).code).toBe(0);
  await untilStatus(new RegExp(`revision ${tip.slice(0, 12)}`));
  expect(await readStarted()).toBe(before);
});

test("with trusted keys a commit needs its signature, and a key taken from agent.toml counts no more", async () => {
  const key = makeKey(join(root, "keys"), "jane");
  const plain = readFileSync(join(root, "agent.toml"), "utf8");
  const list = (nodes: string): string => `trusted_keys = [{ key = "${key.line}", nodes = [${nodes}] }],`;
  const write = (nodes: string): void =>
    writeFileSync(join(root, "agent.toml"), plain.replace("git = {", `git = { ${list(nodes)}`));
  write(`"${NODE}"`);
  await agent.kill();
  agent = startAgent();
  await untilStatus(/1 service: 1 healthy/);
  const before = await readStarted();
  const unsigned = commit("three");
  await untilStatus(new RegExp(`commit ${unsigned} by Jane Doe .*changes manifests/${NODE} .*it is not signed`));
  expect(await readStarted()).toBe(before);
  const parts = { files: buildFiles("three"), parent: server.repository.git("rev-parse", "HEAD~1"), key };
  commitSigned(server.repository, parts);
  await eventually(
    async () => (await docker("exec", await readContainer(), "cat", "/www/page").catch(() => "")) === "three",
    30_000,
  );
  write('"another-node"');
  commitSigned(server.repository, { files: buildFiles("four"), key });
  await untilStatus(/is good, but that key is not allowed for that/);
  expect(await docker("exec", await readContainer(), "cat", "/www/page")).toBe("three");
});
