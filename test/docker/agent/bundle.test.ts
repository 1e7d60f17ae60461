// The production bundle as it lands on a VM: only dist/ is there, run with the unit's flags. What the checkout finds in
// node_modules must be in it: each command that loads a part lazily is run once.

import { execFileSync, spawnSync } from "node:child_process";
import { createDecipheriv, randomBytes } from "node:crypto";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { BatchAnswer, BatchOrder, ThreadStart } from "../../../agent/backup/seal-exchange.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { buildHttpd } from "../../../scripts/lab/engine/real-node.ts";
import { listPages } from "../../builders/data/readme.ts";
import { ask } from "../../builders/node/report.ts";
import { eventually } from "../../contract/docker-port.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const NODE = nameForRun("bundle");
const OTHER = nameForRun("bundle-other");
const LISTEN = `127.0.0.1:${await findPort()}`;
const root = mkdtempSync(join(tmpdir(), "orca-bundle-"));
const repository = join(root, "platform");
let state = join(root, "state");
const manifest = join(repository, "orca", "manifests", NODE, "web.toml");
const entry = join(root, "dist", "orca.mjs");
const flags = /^ExecStart=\S+ (.*?) \S+orca\.mjs/m
  .exec(readFileSync(join(ROOT, "systemd", "orca-agent.service"), "utf8"))?.[1]
  ?.split(" ");
let agent: OrcaProcess;

function docker(...parameters: string[]): string[] {
  return spawnSync("docker", parameters, { encoding: "utf8" }).stdout.trim().split("\n");
}

function run(...parameters: string[]): { code: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...(flags ?? []), entry, ...parameters], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", ORCA_SOCKET: join(state, "agent.sock") },
  });
  return { code: status, output: stdout + stderr };
}

beforeAll(async () => {
  execFileSync(process.execPath, [join(ROOT, "scripts", "bundle.ts"), "--out", join(root, "dist")]);
  mkdirSync(join(manifest, ".."), { recursive: true });
  writeFileSync(manifest, buildHttpd());
  const fleet = `[nodes.${NODE}]\naddress = "127.0.0.1"\nenv = "trial"\nmemory = "2GiB"\n`;
  writeFileSync(join(repository, "orca", "fleet.toml"), fleet);
  agent = new OrcaProcess(["up", repository, "--state", state, "--listen", LISTEN], { entry, flags });
  await untilHealthy();
});

async function untilHealthy(): Promise<void> {
  await eventually(() => run("status").code === 0, 30_000).catch((error: unknown) => {
    throw new Error(`${agent.output}\n${run("status").output}`, { cause: error });
  });
}

/** Of one agent, while it runs. */
async function search(after?: () => Promise<void>): Promise<void> {
  const texts = { "its output": agent.output };
  const listen = LISTEN;
  const places = { node: NODE, stateDir: state, listen, socketPath: join(state, "agent.sock"), texts };
  await expectNoSecretLeft(places, after);
}

afterAll(async () => {
  await search(clear);
});

async function clear(): Promise<void> {
  await agent.stop();
  const down = run("up", repository, "--node", NODE, "--state", state, "--down");
  if (down.code !== 0) throw new Error(`what the test made is still there: ${down.output}`);
  rmSync(root, { recursive: true, force: true });
}

test("it runs a service, and every command that loads something of its own works in it", async () => {
  expect(flags).toEqual(["--lite-mode", "--expose-gc"]);
  expect(run("status").output).toContain("web");
  expect(run("status", "--json").output).toContain('"healthy"');
  expect(run("why", "web").output).toContain(`web on ${NODE}`);
  expect(run("plan", repository, "--state", state).code).toBe(0);
  expect(run("lint", repository).code).toBe(0);
  expect(run("schema").output).toContain('"$schema"');
  expect(run("logs", "web").code).toBe(0);
  expect(run("exec", "web", "--", "/bin/echo", "from the container").output).toContain("from the container");
});

test("the pages of help are in it, printed and served", async () => {
  const pages = readdirSync(join(root, "dist", "help"));
  expect(pages).toEqual(listPages().map((name) => `${name}.md`));
  const { code, output } = run("help", "runbook");
  expect([code, output]).toEqual([0, expect.stringMatching(/^runbook: /)]);
  const [host, port] = LISTEN.split(":");
  const answer = await ask({ host, port }, { path: "/help/runbook" });
  expect([answer.status, answer.body]).toEqual([200, output]);
});

test("the thread that encrypts backups is in it, and seals what it is given", async () => {
  const input = new Uint8Array(new SharedArrayBuffer(65_536));
  const output = new Uint8Array(new SharedArrayBuffer(65_552));
  const key = randomBytes(32);
  const start: ThreadStart = { input, batchBytes: 65_536, inputs: 1, work: { kind: "seal", key, output, outputs: 1 } };
  await using thread = new Worker(join(root, "dist", "seal-worker.mjs"), { workerData: start });
  thread.postMessage({ number: 0, bytes: 1_000, isLast: true } satisfies BatchOrder);
  const [answer] = (await once(thread, "message")) as [BatchAnswer];
  expect(answer).toEqual({ bytes: 1_016 } satisfies BatchAnswer);
  // The first chunk, which is the last one.
  const decipher = createDecipheriv("chacha20-poly1305", key, Buffer.from("000000000000000000000001", "hex"), {
    authTagLength: 16,
  });
  decipher.setAuthTag(output.subarray(1_000, 1_016));
  expect(Buffer.concat([decipher.update(output.subarray(0, 1_000)), decipher.final()])).toEqual(Buffer.alloc(1_000));
});

test("the licences of all that is in it lie beside it", () => {
  const dist = join(root, "dist");
  expect(readFileSync(join(dist, "LICENSE"), "utf8")).toBe(readFileSync(join(ROOT, "LICENSE"), "utf8"));
  const text = readFileSync(join(dist, "THIRD-PARTY-LICENSES.txt"), "utf8");
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  for (const [name, version] of Object.entries(dependencies)) expect(text).toContain(`\n${name} ${version} (`);
  // What they bring along is there too, with the words that its licence asks for.
  expect(text).toMatch(/\ndocker-modem \d[^(]* \(Apache-2.0\)/);
  expect(text).toContain(readFileSync(join(ROOT, "node_modules", "zod", "LICENSE"), "utf8").trim());
  expect(text).toMatch(/\n@koromix\/koffi-linux-\w+ \d/);
});

test("acts are accepted: the kernel is asked who acts, through the native module", () => {
  for (const act of [["pause", "web"], ["resume", "web"], ["restart", "web"], ["sync"]])
    expect(run(...act)).toMatchObject({ code: 0 });
  expect(run("audit", "verify", "--state", state).code).toBe(0);
  expect(run("audit", "--state", state).output).toContain("restart");
});

test("what speaks HTTP does not load what is behind fetch, which takes megabytes", () => {
  const preload = join(root, "list-modules.cjs");
  const listing = 'process.on("exit", () => console.error(`loaded: ${process.moduleLoadList.join(" ")}`));';
  writeFileSync(preload, listing);
  const { stderr } = spawnSync(process.execPath, [...(flags ?? []), "--require", preload, entry, "status"], {
    encoding: "utf8",
    env: { ...process.env, ORCA_SOCKET: join(state, "agent.sock") },
  });
  expect(stderr).toContain("NativeModule _http_client");
  expect(stderr).not.toContain("undici");
  const parts = readdirSync(join(root, "dist")).filter((file) => file.endsWith(".mjs"));
  const texts = parts.map((file) => readFileSync(join(root, "dist", file), "utf8"));
  expect(texts.filter((text) => /from ?"(node:)?http"/.test(text))).toEqual([]);
});

test("a mistake is told with its place, by the parser that is loaded for it", async () => {
  const text = readFileSync(manifest, "utf8");
  writeFileSync(manifest, text.replace("memory", "memroy"));
  expect(run("lint", repository).output).toMatch(/web\.toml:\d+:\d+: .*memory/);
  writeFileSync(manifest, text);
});

test("with another state directory the containers are taken over, and made anew where they need what is gone", async () => {
  await search();
  await agent.stop();
  rmSync(state, { recursive: true });
  const [container] = docker("ps", "-q", "--filter", `label=orca.node=${NODE}`);
  docker("stop", "-t", "0", container ?? "");
  state = join(root, "elsewhere");
  agent = new OrcaProcess(["up", repository, "--state", state, "--listen", LISTEN], { entry, flags });
  await untilHealthy();
});

test("taking it down leaves what is not Orca's", async () => {
  const copy = join(root, "copy");
  cpSync(state, copy, { recursive: true, filter: (path) => !path.endsWith(".sock") });
  writeFileSync(join(copy, "diary.txt"), "mine");
  mkdirSync(join(repository, "orca", "manifests", OTHER), { recursive: true });
  const { code, output } = run("up", repository, "--node", OTHER, "--state", copy, "--down");
  expect([code, output]).toEqual([0, expect.stringContaining("nothing was running")]);
  expect(readFileSync(join(copy, "diary.txt"), "utf8")).toBe("mine");
  expect(existsSync(join(copy, "orca.db"))).toBe(false);
});
