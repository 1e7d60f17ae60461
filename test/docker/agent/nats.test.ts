// Two bundled agents on the real engine that know of each other through a NATS server only: a start waits for the other node, the
// server dies and comes back, and not one call to the engine comes of that.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, expect, test } from "vitest";

import { tearDown } from "../../../agent/apply/teardown.ts";
import { openEngine } from "../../../agent/docker/engine.ts";
import { makeIdentity } from "../../../agent/gossip/node-identity.ts";
import type { FleetDocument } from "../../../shared/document/fleet-document.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { describeMarkedSecrets } from "../../../scripts/lab/canary/canary-lane.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { EngineProxy } from "../../../scripts/lab/engine/engine-proxy.ts";
import { NatsServer } from "../../builders/gossip/nats-server.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { buildHttpd, SOCKET } from "../../../scripts/lab/engine/real-node.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "orca-nats-docker-"));
const memory = mkdtempSync("/dev/shm/orca-nats-docker-");
const server = new NatsServer();
const DATA = nameForRun("nats-data");
const WEB = nameForRun("nats-web");
/** Where each answers. */
const NODES: Readonly<Record<string, number>> = { [DATA]: await findPort(), [WEB]: await findPort() };
type Node = string;

const SLOW = '["/bin/sh", "-c", "sleep 4; exec /bin/httpd -f -p 8080 -h /etc"]';
const MANIFESTS: Readonly<Record<Node, Readonly<Record<string, string>>>> = {
  [DATA]: {
    db: buildHttpd({ command: SLOW, health: 'http = { port = 8080, path = "/passwd" }\nstart_period = "60s"' }),
  },
  [WEB]: {
    web: buildHttpd({ top: `requires = ["${DATA}/db"]` }),
    late: buildHttpd({ top: `requires = [{ on = "${DATA}/nothing-yet", expires = "8s", then = "start" }]` }),
  },
};

const agents = new Map<Node, OrcaProcess>();
const proxies = new Map<Node, EngineProxy>();

async function prepare(node: Node): Promise<string[]> {
  const home = join(root, node);
  mkdirSync(home);
  const proxy = new EngineProxy(join(home, "engine.sock"), SOCKET);
  await proxy.listen();
  proxies.set(node, proxy);
  const { seedFile } = server.addUser(node);
  const { publicKey } = await makeIdentity(join(home, "key"));
  writeFileSync(
    join(home, "agent.toml"),
    [
      `node = "${node}"`,
      `source = { dir = "${root}/repository" }`,
      `state = { dir = "${home}/state" }`,
      `status = { listen = ["127.0.0.1:${NODES[node]}"] }`,
      `docker = { socket = "${proxy.socketPath}" }`,
      `policy = { file = "${home}/policy.toml" }`,
      describeMarkedSecrets(),
      "[gossip]",
      `identity_file = "${home}/key"`,
      `backend = { nats = "${server.settings().servers[0]}", nkey_file = "${seedFile}" }`,
    ].join("\n"),
  );
  const directory = join(root, "repository", "orca", "manifests", node);
  mkdirSync(directory, { recursive: true });
  for (const [name, text] of Object.entries(MANIFESTS[node] ?? {}))
    writeFileSync(join(directory, `${name}.toml`), text);
  const address = `127.0.0.${Object.keys(NODES).indexOf(node) + 2}`;
  return [
    `[nodes.${node}]`,
    `address = "${address}"`,
    'env = "prod"',
    'memory = "1GiB"',
    `public_key = "${publicKey}"`,
  ];
}

beforeAll(async () => {
  execFileSync(process.execPath, [join(ROOT, "scripts", "bundle.ts"), "--out", join(root, "dist")], {
    stdio: "ignore",
  });
  server.port = await findPort();
  const fleet = await Promise.all(Object.keys(NODES).map(prepare));
  // A requirement that lint would refuse if it named nothing: the service is there, stopped.
  writeFileSync(
    join(root, "repository/orca/manifests", DATA, "nothing-yet.toml"),
    buildHttpd({ top: 'state = "stopped"' }),
  );
  writeFileSync(join(root, "repository/orca/fleet.toml"), fleet.flat().join("\n"));
});

afterAll(async () => {
  try {
    for (const [node, agent] of agents) {
      const socketPath = join(memory, node, "agent.sock");
      const texts = { "its output": agent.output, "the engine's calls": JSON.stringify(proxies.get(node)?.calls) };
      const listen = `127.0.0.1:${NODES[node]}`;
      await expectNoSecretLeft({ node, stateDir: join(root, node, "state"), listen, socketPath, texts });
    }
  } finally {
    await clear();
  }
});

async function clear(): Promise<void> {
  for (const agent of agents.values()) await agent.kill();
  const engine = openEngine(SOCKET);
  for (const node of Object.keys(NODES)) await tearDown(engine, node);
  engine.close();
  for (const proxy of proxies.values()) await proxy.close();
  await server.dispose();
  rmSync(root, { recursive: true, force: true });
  rmSync(memory, { recursive: true, force: true });
}

function start(node: Node): void {
  const entry = join(root, "dist", "orca.mjs");
  const flags = ["--lite-mode"];
  agents.set(
    node,
    new OrcaProcess(["agent", "--config", join(root, node, "agent.toml")], {
      entry,
      flags,
      runDir: join(memory, node),
    }),
  );
}

async function read<T>(node: Node, path: string): Promise<T | undefined> {
  try {
    const answer = await fetch(`http://127.0.0.1:${NODES[node]}${path}`);
    return (await answer.json()) as T;
  } catch {
    return undefined;
  }
}

async function service(node: Node, name: string): Promise<StatusDocument["services"][number] | undefined> {
  return (await read<StatusDocument>(node, "/v1/status"))?.services.find((one) => one.name === name);
}

async function until(what: string, holds: () => Promise<boolean>, withinMs = 160_000): Promise<void> {
  for (const endMs = Date.now() + withinMs; !(await holds()); await sleep(100))
    if (Date.now() > endMs) throw new Error(`${what}: ${[...agents.values()].map(({ output }) => output).join("\n")}`);
}

test("with the server down a start waits and says why, and one that expires comes all the same", async () => {
  start(WEB);
  await until("waiting", async () => (await service(WEB, "web"))?.state === "waiting");
  await until("late", async () => (await service(WEB, "late"))?.state === "healthy");
  expect((await service(WEB, "late"))?.notes).toEqual([`started without ${DATA}/nothing-yet`]);
  expect((await service(WEB, "web"))?.reason).toMatch(
    new RegExp(`the NATS server nats://127\\.0\\.0\\.1:${server.port} cannot be used`),
  );
});

test("the server comes, the other node too: the start comes when the other's service is healthy there", async () => {
  await server.start();
  await until("the connection", async () => {
    const { notes = ["no answer"] } = (await read<StatusDocument>(WEB, "/v1/status")) ?? {};
    return !notes.some((note) => note.includes("cannot be used"));
  });
  start(DATA);
  await until("starting", async () => (await service(DATA, "db"))?.state === "starting");
  await until("its word", async () => /it is starting/.test((await service(WEB, "web"))?.reason ?? ""));
  await until("web", async () => (await service(WEB, "web"))?.state === "healthy");
  const since = async (node: Node, name: string): Promise<number> =>
    Date.parse((await service(node, name))?.since ?? "");
  const lateMs = (await since(WEB, "web")) - (await since(DATA, "db"));
  expect(lateMs).toBeGreaterThanOrEqual(0);
  expect(lateMs).toBeLessThan(3_000);
});

test(
  "the server dies, and later an agent: nothing that runs is touched, and what is not known is said",
  { timeout: 90_000 },
  async () => {
    for (const proxy of proxies.values()) proxy.reset();
    await server.kill();
    await until("the loss", async () => {
      const fleet = await read<FleetDocument>(WEB, "/v1/fleet");
      return fleet?.nodes.find(({ node }) => node === DATA)?.reachability === "unknown";
    });
    await sleep(3_000);
    expect((await service(WEB, "web"))?.state).toBe("healthy");
    await server.start();
    await agents.get(DATA)?.kill();
    await sleep(8_000);
    start(DATA);
    await until("all", async () => {
      const fleet = await read<FleetDocument>(WEB, "/v1/fleet");
      return fleet?.nodes.every(({ unknown }) => unknown === null) === true;
    });
    for (const proxy of proxies.values()) expect(proxy.calls).toEqual([]);
  },
);
