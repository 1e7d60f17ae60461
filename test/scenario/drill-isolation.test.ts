// `orca drill isolation`, as its own process on the BreakPilot topology: what is closed holds, what is open is found.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, expect, test } from "vitest";

import { nameIdentityFile, writeSecretTable } from "../../agent/secrets/secret-store-file.ts";
import { OrcaProcess } from "../builders/orca-process.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "orca-drill-"));
const repository = join(directory, "platform");
const config = join(directory, "agent.toml");
const file = join(directory, "secrets.age");
let listener: Server | undefined;

beforeAll(() => {
  cpSync(join(ROOT, "test/topologies/breakpilot"), repository, { recursive: true });
  // Every production address is this machine here, where nothing listens.
  const fleet = join(repository, "orca/fleet.toml");
  writeFileSync(fleet, readFileSync(fleet, "utf8").replaceAll(/10\.0\.0\.([123])0/g, "127.0.0.1$1"));
  writeFileSync(
    config,
    `node = "stage"\nsource = { dir = "${repository}" }\nsecrets = { file = "${file}" }\nstate = { dir = "${directory}/state" }\n`,
  );
});

afterAll(() => {
  listener?.close();
  rmSync(directory, { recursive: true, force: true });
});

async function hold(secrets: Record<string, string>): Promise<void> {
  await writeSecretTable(
    { file, identityFile: nameIdentityFile(file), plain: false },
    new Map(Object.entries(secrets)),
  );
}

async function drill(): Promise<{ code: number | null; output: string }> {
  const run = new OrcaProcess(["drill", "isolation", repository, "--config", config]);
  return { code: await run.exited, output: run.output };
}

test("what is closed holds, and is written down", async () => {
  await hold({ "/stage/app/PASSWORD": "canary" });
  const { code, output } = await drill();
  expect(output).toMatch(/^stage \(stage\): \d+ held, 0 broken, 0 not tried/);
  expect(code).toBe(0);
  const record = JSON.parse(readFileSync(join(directory, "state", "drill-isolation.json"), "utf8")) as {
    probes: { what: string }[];
  };
  const tried = record.probes.map(({ what }) => what).join("\n");
  expect(tried).toMatch(/secret \/prod\/tenant-registry\/DB_PASSWORD|secret \/prod\//);
  for (const database of ["vm-data/postgres-app", "vm-control/mariadb", "vm-data/mongodb"])
    expect(tried).toContain(database);
  expect(tried).not.toContain("/stage/");
});

test("a secret of production that this host is given, and a database that takes its connections, are found", async () => {
  const held = JSON.parse(readFileSync(join(directory, "state", "drill-isolation.json"), "utf8")) as {
    probes: { what: string }[];
  };
  const path = held.probes.find(({ what }) => what.startsWith("secret "))?.what.replace("secret ", "") ?? "";
  await hold({ [path]: "canary-of-production" });
  listener = createServer().listen(5432, "127.0.0.13");
  const { code, output } = await drill();
  expect(code).toBe(3);
  expect(output).toContain(`broken: secret ${path}`);
  expect(output).toContain("broken: vm-data/postgres-app at 127.0.0.13:5432");
  expect(output).not.toContain("canary");
});

test("a provider that cannot be asked is not taken for one that refuses", async () => {
  writeFileSync(file, "damaged", { mode: 0o600 });
  listener?.close();
  const { code, output } = await drill();
  expect(code).toBe(1);
  expect(output).toContain("unknown: secret /prod/");
});

test("a node that fleet.toml does not know is refused", () => {
  const run = spawnSync(process.execPath, [
    join(ROOT, "agent/main.ts"),
    "drill",
    "isolation",
    repository,
    "--config",
    config,
    "--node",
    "nope",
  ]);
  expect(run.stderr.toString()).toContain("says no realm of nope");
});
