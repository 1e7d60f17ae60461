// kill -9 of the real program at every call that changes something, during an apply of ten services on the real engine:
// the engine has done the call, the agent never heard of it. The next run ends in the same state, nothing twice.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { EngineProxy } from "../../../scripts/lab/engine/engine-proxy.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { buildHttpd, SOCKET } from "../../../scripts/lab/engine/real-node.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { findPort } from "../../builders/engine/free-port.ts";

const root = mkdtempSync(join(tmpdir(), "orca-kill-"));
const NODE = nameForRun("kill-nine");
const LISTEN = `127.0.0.1:${await findPort()}`;
const SLOW = process.env["ORCA_SLOW"] !== undefined;
/** Odd, so that calls are cut off before and after they are done. */
const STEP = 3;
const NAMES = Array.from({ length: 10 }, (_, index) => `s${index}`);
const proxy = new EngineProxy(join(root, "engine.sock"), SOCKET);

beforeAll(async () => {
  const directory = join(root, "orca", "manifests", NODE);
  mkdirSync(directory, { recursive: true });
  for (const [index, name] of NAMES.entries()) {
    const top = index < 4 ? "" : `requires = ["s${index - 4}"]`;
    writeFileSync(join(directory, `${name}.toml`), buildHttpd({ top }).replace('settle = "1s"', 'settle = "0s"'));
  }
  await proxy.listen();
});

afterAll(async () => {
  await clear();
  await proxy.close();
  rmSync(root, { recursive: true, force: true });
});

/** Of every run, killed ones among them, before it is cleared away. */
async function search(output: string): Promise<void> {
  await expectNoSecretLeft({ node: NODE, stateDir: join(root, "state"), texts: { "its output": output } });
}

async function clear(): Promise<void> {
  const ids = await docker("ps", "-aq", "--filter", `label=orca.node=${NODE}`);
  if (ids !== "") await docker("rm", "-f", ...ids.split("\n"));
  await docker("network", "rm", `orca-${NODE}`).catch(() => undefined);
  rmSync(join(root, "state"), { recursive: true, force: true });
}

function up(): OrcaProcess {
  return new OrcaProcess([
    "up",
    root,
    "--once",
    "--timeout",
    "1m",
    "--state",
    join(root, "state"),
    "--docker",
    proxy.socketPath,
    "--listen",
    LISTEN,
  ]);
}

async function describeEnd(): Promise<string[]> {
  const lines = await docker(
    "ps",
    "-a",
    "--filter",
    `label=orca.node=${NODE}`,
    "--format",
    "{{.Names}} {{.State}} {{.Networks}}",
  );
  return lines.split("\n").toSorted();
}

test("always the same end state, nothing twice", { timeout: 900_000 }, async () => {
  await clear();
  const reference = up();
  expect(await reference.exited, reference.output).toBe(0);
  const wanted = await describeEnd();
  await search(reference.output);
  expect(wanted).toHaveLength(10);
  const calls = proxy.calls.length;
  // One network, ten containers made, ten started.
  expect(calls, JSON.stringify(proxy.calls)).toBe(21);
  for (let at = 1; at <= calls; at += 1) {
    if (!SLOW && at % STEP !== 1 && at !== calls) continue;
    await clear();
    let killed: OrcaProcess | undefined;
    // Odd boundaries lose the answer of a call that was done, even ones the call itself.
    const when = at % 2 === 1 ? "after" : "before";
    await new Promise<void>((resolve) => {
      proxy.reset({ at, when, spring: () => resolve() });
      killed = up();
    });
    await killed?.kill();
    proxy.reset();
    const second = up();
    expect(await second.exited, `killed ${when} call ${at}: ${second.output}`).toBe(0);
    expect(await describeEnd(), `killed ${when} call ${at}`).toEqual(wanted);
    await search(`${killed?.output}${second.output}`);
    const created = proxy.calls.filter(({ path }) => path.includes("/containers/create"));
    expect(created.length, `killed ${when} call ${at}`).toBeLessThanOrEqual(10);
  }
});
