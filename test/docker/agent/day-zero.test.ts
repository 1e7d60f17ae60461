// The first day of a fleet, as the page day-zero says it: a node that begins with a directory and a file starts its own Git server and
// secrets server from them, the repository is pushed into the one, the values are written into the other, and the agent moves over. No
// container is touched. Git is served by one of the node's own containers; in Infisical's place a fake answers, beside the stand-in that runs.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { MARKS } from "../../../scripts/lab/canary/canary.ts";
import { openLane } from "../../../scripts/lab/canary/canary-lane.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { readPage, selectFiles, writeFiles } from "../../builders/data/readme.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { eventually } from "../../contract/docker-port.ts";
import { FakeInfisical } from "../../fakes/fake-infisical.ts";

const NODE = nameForRun("day-zero");
const [GIT_PORT, INFISICAL_PORT, STATUS_PORT] = [await findPort(), await findPort(), await findPort()];
const TOKEN = "/canary/lane/TOKEN";

const page = readPage("day-zero");
const root = mkdtempSync(join(tmpdir(), "orca-day-zero-"));
const runDir = mkdtempSync("/dev/shm/orca-day-zero-");
const platform = join(root, "platform");
const config = join(root, "agent.toml");
const socket = join(runDir, "agent.sock");
const infisical = new FakeInfisical(2026);
let agent: OrcaProcess | undefined;

/** What stands on the page → what stands for it here. */
const HERE: readonly (readonly [string | RegExp, string])[] = [
  ["vm-base", NODE],
  [/"10\.0\.0\.10"/g, '"127.0.0.1"'],
  ['"gitea/gitea:1.24-rootless"', '"orca-test/git:1"'],
  ['"infisical/infisical:v0.151.0"', '"orca-stand-in:1"\nenv = { ORCA_STAND_IN_HTTP = "8080/api/status" }'],
  ['"postgres:17"', '"orca-test/postgres:1"'],
  ['"redis:8"', '"orca-test/redis:1"'],
  ['"registry.example.com/acme/app:1.0"', '"orca-stand-in:1"\nenv = { ORCA_STAND_IN_TCP = "8000" }'],
  [/\[env\]\nSITE_URL = .*\n/g, ""],
  ["gitea-data", `${NODE}-gitea`],
  ["infisical-pgdata", `${NODE}-pgdata`],
  ["3000:3000", `${GIT_PORT}:3000`],
  ["8080:8080", `${INFISICAL_PORT}:8080`],
  ["/prod/app/TOKEN", TOKEN],
  [/\/etc\/orca\/bootstrap/g, join(root, "bootstrap")],
];

function adapt(text: string): string {
  const moved = HERE.reduce((before, [from, to]) => before.replaceAll(from, to), text);
  return moved.replaceAll(/^([^#\n]*?)\s+# .*$/gm, "$1");
}

/** The page's agent.toml, the first or the one after the move, for this place. */
function writeConfig(which: 0 | 1): void {
  const text = page.blocks.filter(({ file }) => file === "/etc/orca/agent.toml")[which]?.text ?? "";
  const places: readonly (readonly [string | RegExp, string])[] = [
    ["/srv/orca/platform", platform],
    ["/var/lib/orca", join(root, "state")],
    ["/etc/orca/policy.toml", join(root, "policy.toml")],
    ["/etc/orca/secrets.age", openLane().secrets.file],
    [/127\.0\.0\.1:7070/g, `127.0.0.1:${STATUS_PORT}`],
    ["http://10.0.0.10:3000/acme/platform.git", `http://127.0.0.1:${GIT_PORT}/cgi-bin/git/platform.git`],
    ["http://10.0.0.10:8080", infisical.url],
    ["/etc/orca/git-token", join(root, "git-token")],
    ["/etc/orca/infisical-id", join(root, "infisical-id")],
    ["/etc/orca/infisical-secret", join(root, "infisical-secret")],
    ["vm-base", NODE],
  ];
  writeFileSync(
    config,
    places.reduce((before, [from, to]) => before.replaceAll(from, to), text),
  );
}

async function orca(...parameters: string[]): Promise<{ code: number | null; output: string }> {
  const run = new OrcaProcess([...parameters, "--socket", socket]);
  return { code: await run.exited, output: run.output };
}

async function startAgent(): Promise<void> {
  agent = new OrcaProcess(["agent", "--config", config], { runDir });
  const look = async (): Promise<boolean> => (await orca("status")).code === 0;
  await eventually(look, 120_000).catch(async (error: unknown) => {
    throw new Error(`${(await orca("status")).output}\n${agent?.output}`, { cause: error });
  });
}

/** Every container of the node: which it is, and since when it runs. */
async function listRuns(): Promise<string[]> {
  const ids = await docker("ps", "-aq", "--no-trunc", "--filter", `label=orca.node=${NODE}`);
  const lines = await docker("inspect", "--format", "{{.Name}} {{.Id}} {{.State.StartedAt}}", ...ids.split("\n"));
  return lines.split("\n").toSorted();
}

/** The page's lines of Git, with a name for who commits. */
function push(): void {
  const lines = page.blocks.flatMap(({ language, text }) => (language === "sh" ? text.split("\n") : []));
  const own = lines.filter((line) => line.startsWith("git -C /srv/orca/platform "));
  expect(own).toHaveLength(5);
  for (const line of own) {
    const [, ...words] = line.match(/"[^"]*"|\S+/g) ?? [];
    const here = words.map((word) =>
      word
        .replaceAll('"', "")
        .replace("/srv/orca/platform", platform)
        .replace("http://10.0.0.10:3000/acme/platform.git", `http://127.0.0.1:${GIT_PORT}/cgi-bin/git/platform.git`),
    );
    execFileSync("git", ["-c", "user.name=Jane", "-c", "user.email=jane@example.com", ...here], { stdio: "pipe" });
  }
}

beforeAll(async () => {
  await infisical.listen();
  const files = [...selectFiles(page, "first")].map(
    ([path, text]) => [path.replace("vm-base", NODE), adapt(text)] as const,
  );
  writeFiles(platform, new Map(files));
  mkdirSync(join(root, "bootstrap"), { mode: 0o700 });
  const bootstraps = ["gitea", "infisical", "postgres-infisical"].map((name) => join(root, "bootstrap", `${name}.env`));
  for (const file of bootstraps) writeFileSync(file, "POSTGRES_PASSWORD=of-this-test-alone\n", { mode: 0o600 });
  const policy = ['realm = "prod"', `bootstrap = { allowed_files = ${JSON.stringify(bootstraps)} }`];
  writeFileSync(join(root, "policy.toml"), policy.join("\n"), { mode: 0o600 });
  writeConfig(0);
});

afterAll(async () => {
  const texts = { "its output": agent?.output ?? "" };
  await expectNoSecretLeft({ node: NODE, stateDir: join(root, "state"), socketPath: socket, texts }, async () => {
    await agent?.stop();
    await new OrcaProcess(["up", platform, "--node", NODE, "--state", join(root, "state"), "--down"]).exited;
    for (const volume of [`${NODE}-gitea`, `${NODE}-pgdata`]) await docker("volume", "rm", "-f", volume);
  });
  await infisical.close();
  for (const directory of [root, runDir]) rmSync(directory, { recursive: true, force: true });
});

test("from the disk to its own Git and its own secrets server, and no container is touched", async () => {
  await startAgent();
  const before = await listRuns();
  expect(before).toHaveLength(5);
  expect((await orca("status")).output).toContain(platform);

  push();
  infisical.secrets.set(TOKEN, MARKS[TOKEN] ?? "");
  writeFileSync(join(root, "git-token"), "a-token\n", { mode: 0o600 });
  writeFileSync(join(root, "infisical-id"), infisical.clientId, { mode: 0o600 });
  writeFileSync(join(root, "infisical-secret"), infisical.clientSecret, { mode: 0o600 });
  writeConfig(1);
  await agent?.stop();
  await startAgent();

  const tip = execFileSync("git", ["-C", platform, "rev-parse", "HEAD"], { encoding: "utf8" }).trim();
  await eventually(async () => (await orca("status")).output.includes(tip.slice(0, 12)), 60_000);
  await eventually(() => infisical.count("list") > 0, 60_000);
  expect((await orca("status")).code).toBe(0);
  expect(await listRuns()).toEqual(before);
});

test("a merge changes the node from then on, and only what it names", async () => {
  const before = await listRuns();
  const manifest = join(platform, "orca", "manifests", NODE, "app.toml");
  writeFileSync(manifest, readFileSync(manifest, "utf8").replace('"256MiB"', '"300MiB"'));
  const git = (...words: string[]): void => void execFileSync("git", ["-C", platform, ...words], { stdio: "pipe" });
  git("-c", "user.name=Jane", "-c", "user.email=jane@example.com", "commit", "-aqm", "more memory for app");
  git("push", "-q", "forge", "main");
  await orca("sync");
  const tip = execFileSync("git", ["-C", platform, "rev-parse", "HEAD"], { encoding: "utf8" }).trim();
  await eventually(async () => (await orca("status")).output.includes(tip.slice(0, 12)), 60_000);
  await eventually(async () => (await orca("status")).code === 0, 60_000);
  const app = await docker("ps", "-q", "--filter", `label=orca.node=${NODE}`, "--filter", "label=orca.service=app");
  await eventually(
    async () => (await docker("inspect", "-f", "{{.HostConfig.Memory}}", app)) === `${300 * 2 ** 20}`,
    60_000,
  );
  expect(await listRuns()).toEqual(before);
});

test("with the agent and its Git gone, the services come back from what the node keeps", async () => {
  await agent?.stop();
  const names = ["gitea", "infisical", "app"];
  const ids = await docker("ps", "-q", ...names.flatMap((name) => ["--filter", `name=${NODE}-${name}-`]));
  await docker("kill", ...ids.split("\n"));
  await infisical.close();
  await startAgent();
  expect(await listRuns()).toHaveLength(5);
});
