// The real program is killed, stopped and started again beside start-first services under constant load and a busy core: no request is
// lost and no container touched. ORCA_SLOW=1 does it fifty times in place of four.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { describeMarkedSecrets } from "../../../scripts/lab/canary/canary-lane.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { Load } from "../../builders/engine/load.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { eventually } from "../../contract/docker-port.ts";
import { buildHttpd, SOCKET } from "../../../scripts/lab/engine/real-node.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";

const NODE = nameForRun("agent-restarts");
const ALL = "a a.front b b.front";
const ROUNDS = process.env["ORCA_SLOW"] === undefined ? 4 : 50;
const LISTEN = `127.0.0.1:${await findPort()}`;
const PORTS = { a: await findPort(), b: await findPort() };
const root = mkdtempSync(join(tmpdir(), "orca-restarts-"));
const runDir = mkdtempSync("/dev/shm/orca-restarts-");
const config = join(root, "agent.toml");
let agent: OrcaProcess | undefined;
let busy: ChildProcess | undefined;
let output = "";

beforeAll(async () => {
  const directory = join(root, "platform", "orca", "manifests", NODE);
  mkdirSync(directory, { recursive: true });
  const fleet = `[nodes.${NODE}]\naddress = "127.0.0.1"\nenv = "trial"\nmemory = "2GiB"\n`;
  writeFileSync(join(root, "platform", "orca", "fleet.toml"), fleet);
  for (const [name, port] of Object.entries(PORTS)) {
    const manifest = buildHttpd({
      top: `ports = ["127.0.0.1:${port}:8080"]`,
      command: '["/bin/sh", "-c", "mkdir -p /www; echo here >/www/index.html; exec httpd -f -p 8080 -h /www"]',
      health: 'http = { port = 8080, path = "/" }',
      tables: 'order = "start-first"',
    });
    writeFileSync(join(directory, `${name}.toml`), manifest);
  }
  const lines = [
    `node = "${NODE}"`,
    `source = { dir = "${join(root, "platform")}" }`,
    `status = { listen = ["${LISTEN}"] }`,
    `docker = { socket = "${SOCKET}", front_image = "orca-test/haproxy:1" }`,
    `state = { dir = "${join(root, "state")}" }`,
    `policy = { file = "${join(root, "policy.toml")}" }`,
    describeMarkedSecrets(),
  ];
  writeFileSync(config, `${lines.join("\n")}\n`, { mode: 0o600 });
  writeFileSync(join(root, "policy.toml"), "");
  start();
  await eventually(async () => (await readStates()) === ALL, 60_000);
  const spin = "for (;;) for (let i = 0; i < 1e9; i += 1) Math.sqrt(i)";
  busy = spawn(process.execPath, ["-e", spin], { stdio: "ignore" });
});

afterAll(async () => {
  busy?.kill("SIGKILL");
  Load.killAll();
  await agent?.stop();
  await expectNoSecretLeft({ node: NODE, stateDir: join(root, "state"), texts: { "its output": output } }, async () => {
    const ids = (await docker("ps", "-aq", "--filter", `label=orca.node=${NODE}`)).split("\n").filter(Boolean);
    if (ids.length > 0) await docker("rm", "-f", ...ids);
    await docker("network", "rm", `orca-${NODE}`);
    rmSync(root, { recursive: true, force: true });
    rmSync(runDir, { recursive: true, force: true });
  });
});

function start(): void {
  output += agent?.output ?? "";
  agent = new OrcaProcess(["agent", "--config", config], { runDir });
}

/** The services that have settled. */
async function readStates(): Promise<string> {
  const answer = await fetch(`http://${LISTEN}/`, { headers: { accept: "application/json" } }).catch(() => undefined);
  const { services = [] } = ((await answer?.json()) ?? {}) as Partial<StatusDocument>;
  return services.flatMap(({ name, state, settled }) => (state === "healthy" && settled ? [name] : [])).join(" ");
}

async function listContainers(): Promise<string[]> {
  const ids = (await docker("ps", "-aq", "--filter", `label=orca.node=${NODE}`)).split("\n").filter(Boolean);
  return (await docker("inspect", "-f", "{{.Name}} {{.Id}} {{.State.StartedAt}} {{.State.Status}}", ...ids))
    .split("\n")
    .toSorted();
}

test(`no request is lost over ${ROUNDS} restarts of the agent`, { timeout: 60_000 + ROUNDS * 40_000 }, async () => {
  const before = await listContainers();
  expect(before).toHaveLength(4);
  const loads = Object.values(PORTS).map((port) => new Load(`127.0.0.1:${port}`));
  await Promise.all(loads.map((load) => load.ready));
  for (let round = 0; round < ROUNDS; round += 1) {
    await (round % 2 === 0 ? agent?.kill() : agent?.stop());
    start();
    await expect.poll(readStates, { timeout: 120_000 }).toBe(ALL);
  }
  const counts = [];
  for (const load of loads) counts.push(await load.end());
  const asked = counts.reduce((sum, { ok }) => sum + ok, 0);
  console.log(`agent restarts: ${ROUNDS} restarts, ${asked} requests`);
  expect(counts.map(({ failed }) => failed)).toEqual([{}, {}]);
  expect(asked).toBeGreaterThan(ROUNDS * 20);
  expect(await listContainers()).toEqual(before);
});
