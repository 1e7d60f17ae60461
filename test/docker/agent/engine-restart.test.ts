// The engine goes away under a running agent, or everything goes away at once: only the starts that are needed, in order.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { EngineProxy } from "../../../scripts/lab/engine/engine-proxy.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { PrivateEngine } from "../../../scripts/lab/engine/private-engine.ts";
import { buildHttpd, IMAGE } from "../../../scripts/lab/engine/real-node.ts";
import { LABEL } from "../../../shared/state/identity.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { findPort } from "../../builders/engine/free-port.ts";

const root = mkdtempSync(join(tmpdir(), "orca-restart-"));
const NODE = nameForRun("restart");
const NAMES = ["db", "api", "web"];
const LISTEN = `127.0.0.1:${await findPort()}`;

beforeAll(() => {
  const directory = join(root, "orca", "manifests", NODE);
  mkdirSync(directory, { recursive: true });
  const requires = { db: "", api: 'requires = ["db"]', web: 'requires = ["api"]' };
  for (const [name, top] of Object.entries(requires))
    writeFileSync(join(directory, `${name}.toml`), buildHttpd({ top }));
});

let engine: PrivateEngine | undefined;
let proxy: EngineProxy;
let agent: OrcaProcess;

afterAll(async () => {
  await clear();
  rmSync(root, { recursive: true, force: true });
});

function getEngine(): PrivateEngine {
  if (engine === undefined) throw new Error("no engine was started");
  return engine;
}

/** An engine with everything at rest on it: the one before, where a test has left that well. */
async function begin(options: readonly string[] = []): Promise<void> {
  if (options.length > 0) await clear();
  if (engine === undefined) {
    engine = new PrivateEngine(options);
    await engine.create([IMAGE]);
    proxy = new EngineProxy(join(engine.root, "proxy.sock"), engine.socketPath);
    await proxy.listen();
    await startAgent();
  }
  await untilHealthy();
  // Settled, and at rest.
  await sleep(2_500);
  proxy.reset();
}

async function startAgent(): Promise<void> {
  const { root: directory, namespace } = getEngine();
  const options = ["--state", join(directory, "state"), "--docker", proxy.socketPath, "--listen", LISTEN];
  agent = new OrcaProcess(["up", root, ...options], { namespace });
  await sleep(500);
}

afterEach(async ({ task }) => {
  const { root: directory, socketPath } = getEngine();
  const place = { socketPath, dataRoot: join(directory, "data"), execRoot: join(directory, "exec") };
  const texts = { "its output": agent.output, "the engine's calls": JSON.stringify(proxy.calls) };
  const stateDir = join(directory, "state");
  const node = { node: NODE, stateDir, engine: place, socketPath: join(stateDir, "agent.sock"), texts };
  try {
    await expectNoSecretLeft(node);
  } finally {
    // The next test shall not suffer from what has failed here.
    if (task.result?.state === "fail") await clear();
  }
});

async function clear(): Promise<void> {
  if (engine === undefined) return;
  const old = engine;
  engine = undefined;
  await agent.kill();
  await proxy.close();
  await old.destroy();
}

async function running(): Promise<Map<string, number>> {
  const { reader } = getEngine().client;
  const rows = await reader.listContainers().catch(() => []);
  const started = new Map<string, number>();
  for (const row of rows.filter((entry) => entry.status === "running")) {
    const detail = await reader.inspectContainer(row.id);
    started.set(row.labels[LABEL.service] ?? "", detail?.startedMs ?? 0);
  }
  return started;
}

async function untilHealthy(withinMs = 240_000): Promise<Map<string, number>> {
  const endMs = Date.now() + withinMs;
  for (;;) {
    const started = await running();
    if (NAMES.every((name) => started.has(name))) return started;
    if (Date.now() > endMs)
      throw new Error(`not everything runs again: ${[...started.keys()].join(", ")}\n${agent.output}`);
    await sleep(50);
  }
}

function expectOrder(started: Map<string, number>): void {
  const [db = 0, api = 0, web = 0] = NAMES.map((name) => started.get(name));
  expect(api).toBeGreaterThan(db);
  expect(web).toBeGreaterThan(api);
}

function startsOnly(): string[] {
  return proxy.calls.map(({ path }) => path.replace(/^(?:\/v[\d.]+)?\/containers\/[0-9a-f]+/, "").replace(/\?.*$/, ""));
}

describe("the engine restarts under a running agent", () => {
  test.each(["SIGTERM", "SIGKILL"] as const)(
    "with %s: the three starts that are needed, in order, and no other call",
    async (signal) => {
      await begin();
      await getEngine().end(signal);
      await sleep(1_500);
      await getEngine().start();
      expectOrder(await untilHealthy());
      await sleep(3_000);
      // A start that the dying engine did not take any more may have been tried.
      expect(new Set(startsOnly())).toEqual(new Set(["/start"]));
      expect(startsOnly().length).toBeLessThanOrEqual(6);
      expect(agent.child.exitCode).toBeNull();
    },
  );
});

describe("power loss: agent and engine die at once", () => {
  test("everything comes back by itself, in order", async () => {
    await begin();
    await agent.kill();
    await getEngine().end("SIGKILL");
    await getEngine().start();
    expect((await running()).size).toBe(0);
    await startAgent();
    expectOrder(await untilHealthy());
    expect(startsOnly()).toEqual(["/start", "/start", "/start"]);
  });

  test("the agent is there before the engine: it waits, and says so", async () => {
    await begin();
    await agent.kill();
    await getEngine().end("SIGTERM");
    await startAgent();
    await expect.poll(() => agent.output, { timeout: 60_000 }).toMatch(/the engine does not answer/);
    expect(agent.child.exitCode).toBeNull();
    await getEngine().start();
    expectOrder(await untilHealthy());
  });
});

describe("a restart of the agent", () => {
  test.each(["kill", "stop"] as const)("by %s: not one call, the containers keep running", async (how) => {
    await begin();
    const before = await running();
    await agent[how]();
    expect(await running()).toEqual(before);
    await startAgent();
    await sleep(4_000);
    expect(startsOnly()).toEqual([]);
    expect(await running()).toEqual(before);
  });
});

// Last: its engine is another one.
test("live-restore: containers keep running, and not one call is made", async () => {
  await begin(["--live-restore"]);
  const before = await running();
  await getEngine().end("SIGTERM");
  await sleep(1_500);
  await getEngine().start();
  await sleep(5_000);
  expect(startsOnly()).toEqual([]);
  expect(await running()).toEqual(before);
});
