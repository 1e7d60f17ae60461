// The databases of the five topologies on one node, with a real PostgreSQL in place of their images: each is backed up, proved by a
// restore and within its promise, with the schedule, retention and proof of its own manifest.

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { BackupListDocument } from "../../../shared/document/backup-document.ts";
import type { SloDocument } from "../../../shared/document/slo-document.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { findPort } from "../../builders/engine/free-port.ts";

const TOPOLOGIES = join(import.meta.dirname, "..", "..", "topologies");
const NODE = nameForRun("topologies");
const DATABASES = {
  agenticverz: "data-1/postgres",
  basecommerce: "infra/postgres",
  breakpilot: "vm-data/postgres-app",
  busflow: "stateful-worker/postgres",
  frostbyte: "db/postgres",
} as const;
const NAMES = Object.keys(DATABASES);

const root = mkdtempSync(join(tmpdir(), "orca-topologies-"));
const state = join(root, "state");
let agent: OrcaProcess | undefined;

async function orca(...parameters: string[]): Promise<{ code: number | null; output: string }> {
  const run = new OrcaProcess([...parameters, "--socket", join(state, "agent.sock")]);
  return { code: await run.exited, output: run.output };
}

/** The manifest as it stands there, without its passwords and its port, which all five share, and with a volume of this run. */
function place(topology: string, path: string): void {
  const [from = "", service = ""] = path.split("/");
  const manifests = join(TOPOLOGIES, topology, "orca", "manifests", from);
  const to = join(root, "orca", "manifests", NODE);
  mkdirSync(join(to, "files"), { recursive: true });
  const text = readFileSync(join(manifests, `${service}.toml`), "utf8")
    .replace(/^\[secrets\.files\][^[]*/m, "")
    .replace(/^ports .*\n/m, "")
    .replace(/^(\[\[volumes\]\]\nname +=) "[^"]+"/m, `$1 "${nameForRun(topology)}"`);
  writeFileSync(join(to, `${topology}.toml`), text);
  for (const [, file = ""] of text.matchAll(/"(files\/[^"]+)"/g))
    cpSync(join(manifests, file), join(to, file), { recursive: true });
}

beforeAll(async () => {
  for (const [topology, path] of Object.entries(DATABASES)) place(topology, path);
  agent = new OrcaProcess([
    "up",
    root,
    "--state",
    state,
    "--listen",
    `127.0.0.1:${await findPort()}`,
    "--stand-in",
    join(TOPOLOGIES, "stand-ins-databases.toml"),
    "--ports",
    "shift",
    "--address",
    "127.0.0.1",
  ]);
});

afterAll(async () => {
  await agent?.stop();
  await expectNoSecretLeft({ node: NODE, stateDir: state, unread: "the passwords are left out" }, async () => {
    await new OrcaProcess(["up", root, "--state", state, "--down"]).exited;
    for (const name of NAMES) await docker("volume", "rm", "-f", nameForRun(name)).catch(() => undefined);
    rmSync(root, { recursive: true });
  });
});

test("they come up", async () => {
  await expect.poll(async () => (await orca("status")).code, { timeout: 240_000, interval: 1_000 }).toBe(0);
});

test.each(NAMES)("%s: its database is backed up and proved by a restore", async (topology) => {
  const { stores } = JSON.parse((await orca("backup", "list", topology, "--json")).output) as BackupListDocument;
  const store = stores[0]?.store ?? "";
  const run = await orca("backup", "run", topology, store);
  expect(run.output).toContain("made in");
  const proof = await orca("backup", "verify", topology, store);
  expect(proof.output).toContain(": good: ");
  expect(proof.code).toBe(0);
});

test("each promise is held then, and counted for each store", async () => {
  const { code, output } = await orca("slo", "--json");
  const { rpo } = JSON.parse(output) as SloDocument;
  expect(
    rpo.map(({ service, store, repository, promisedSeconds, state: stands }) => [
      service,
      store,
      repository,
      promisedSeconds,
      stands,
    ]),
  ).toEqual([
    ["agenticverz", "db", "local", 3_600, "held"],
    ["basecommerce", "before-update", "local", 26 * 3_600, "held"],
    ["basecommerce", "daily", "local", 26 * 3_600, "held"],
    ["breakpilot", "db", "local", 6 * 3_600, "held"],
    ["busflow", "pg-dump", "local", 26 * 3_600, "held"],
    ["frostbyte", "db", "local", null, "not-promised"],
  ]);
  expect(code).toBe(0);
});
