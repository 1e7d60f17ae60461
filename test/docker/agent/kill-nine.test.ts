// kill -9 of the real program at every call that changes something, during an apply of six services (slow: ten) on the real engine:
// the engine has done the call, the agent never heard of it. The next run ends in the same state, nothing twice. And during backups: the
// service runs again, and nothing that is not whole is published.

import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { EngineProxy } from "../../../scripts/lab/engine/engine-proxy.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { buildHttpd, SOCKET } from "../../../scripts/lab/engine/real-node.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import type { BackupListDocument } from "../../../shared/document/backup-document.ts";

const root = mkdtempSync(join(tmpdir(), "orca-kill-"));
const NODE = nameForRun("kill-nine");
const LISTEN = `127.0.0.1:${await findPort()}`;
const SLOW = process.env["ORCA_SLOW"] !== undefined;
/** Odd, so that calls are cut off before and after they are done. */
const STEP = 3;
const NAMES = Array.from({ length: SLOW ? 10 : 6 }, (_, index) => `s${index}`);
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
  expect(wanted).toHaveLength(NAMES.length);
  const calls = proxy.calls.length;
  // One network, each container made, and started.
  expect(calls, JSON.stringify(proxy.calls)).toBe(1 + 2 * NAMES.length);
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
    expect(created.length, `killed ${when} call ${at}`).toBeLessThanOrEqual(NAMES.length);
  }
});

describe("of a backup that stops its service, and of one between two hooks", () => {
  const home = mkdtempSync(join(tmpdir(), "orca-kill-backup-"));
  const node = nameForRun("kill-backup");
  const volume = `${node}-srv`;
  const stateDir = join(home, "state");
  const engine = new EngineProxy(join(home, "engine.sock"), SOCKET, { countsExec: true });
  const orca = async (...parameters: string[]): Promise<{ code: number | null; output: string }> => {
    const run = new OrcaProcess([...parameters, "--socket", join(stateDir, "agent.sock")]);
    return { code: await run.exited, output: run.output };
  };
  const listJobs = (): Promise<string> => docker("ps", "-aq", "--filter", `label=orca.job.node=${node}`);
  const findWeb = (): Promise<string> => docker("ps", "-q", "--filter", `label=orca.node=${node}`);
  const listFrozen = async (): Promise<string> => docker("exec", await findWeb(), "ls", "/srv");
  let agent: OrcaProcess | undefined;

  async function begin(): Promise<void> {
    const words = ["up", home, "--node", node, "--state", stateDir, "--docker", engine.socketPath];
    agent = new OrcaProcess([...words, "--listen", LISTEN]);
    await settle();
  }

  async function settle(): Promise<void> {
    const look = async (): Promise<void> => {
      const { code, output } = await orca("status");
      if (code !== 0) throw new Error(`status ends with ${code}: ${output}`);
    };
    await vi.waitFor(look, { timeout: 240_000, interval: 200 });
  }

  beforeAll(async () => {
    const directory = join(home, "orca", "manifests", node);
    mkdirSync(directory, { recursive: true });
    const tables = `
[[volumes]]
name = "${volume}"
target = "/srv"
[[backups]]
name = "still"
engine = "files"
stop = true
image = "orca-test/tar:1"
schedule = "every 7d"
[[backups]]
name = "hooked"
engine = "command"
command = ["cat", "/srv/frozen"]
exec = true
schedule = "every 7d"
[backups.hooks]
before = [{ exec = ["sh", "-c", "echo frozen > /srv/frozen"] }]
after = [{ exec = ["rm", "-f", "/srv/frozen"] }]`;
    writeFileSync(join(directory, "web.toml"), buildHttpd({ tables, memory: "64MiB" }));
    await engine.listen();
    await begin();
  }, 240_000);

  afterAll(async () => {
    await agent?.stop();
    await expectNoSecretLeft({ node, stateDir }, async () => {
      await new OrcaProcess(["up", home, "--node", node, "--state", stateDir, "--down"]).exited;
      await docker("volume", "rm", "-f", volume);
    });
    await engine.close();
    rmSync(home, { recursive: true, force: true });
  });

  // Steps of odd lengths.
  test.each([
    ["still", 5],
    ["hooked", 3],
  ])(
    "%s, one of %i calls: the service runs again, and only what is whole is published",
    { timeout: 900_000 },
    async (store, step) => {
      const folder = join(stateDir, "backups", node, "web", store);
      await settle();
      engine.reset();
      expect((await orca("backup", "run", "web", store)).output).toContain("made in");
      // Whoever has asked may go on with the service.
      expect(await findWeb()).toMatch(/^[0-9a-f]{12}$/);
      const paths = engine.calls.map(({ path }) => path.replace(/\?.*/, ""));
      for (const [index, path] of paths.entries()) {
        if (!SLOW && index % step !== 1 && index !== paths.length - 1) continue;
        // Nothing comes of an attachment before the start, and so nothing ends it.
        const when = index % 2 === 0 || path.endsWith("/attach") ? "before" : "after";
        const at = `killed ${when} ${path}, call ${index + 1} of ${paths.length}`;
        const sprung = new Promise<void>((resolve) => engine.reset({ at: index + 1, when, spring: resolve }));
        const asked = orca("backup", "run", "web", store);
        await sprung;
        await agent?.kill();
        engine.reset();
        await asked;
        await begin();
        expect(await findWeb(), at).toMatch(/^[0-9a-f]{12}$/);
        await expect.poll(listFrozen, { timeout: 60_000, message: at }).toBe("");
        // What the next run takes away is taken here, so that the calls of all runs are the same.
        const left = await listJobs();
        if (left !== "") await docker("rm", "-f", ...left.split("\n"));
      }
      const { stores } = JSON.parse((await orca("backup", "list", "--json")).output) as BackupListDocument;
      const found = stores.find((entry) => entry.store === store);
      expect(found?.strange).toEqual([]);
      const before = found?.backups.length ?? 0;
      expect((await orca("backup", "run", "web", store)).code).toBe(0);
      const strange = readdirSync(folder).filter((name) => !/\.(?:manifest\.json|dump|tar)$/.test(name));
      expect([strange, readdirSync(folder).length]).toEqual([[], 2 * (before + 1)]);
    },
  );
});
