// `orca drill isolation`, as its own process on the BreakPilot topology: what is closed holds, what is open is found.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, expect, test } from "vitest";

import { nameIdentityFile, writeSecretTable } from "../../agent/secrets/secret-store-file.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "orca-drill-"));
const repository = join(directory, "platform");
const config = join(directory, "agent.toml");
const file = join(directory, "secrets.age");
const servers: Server[] = [];

beforeAll(async () => {
  writeFileSync(join(directory, "hosts"), "127.0.0.1 localhost\n127.0.0.11 auth.breakpilot.com mail.breakpilot.com\n");
  // The proxy's ports for auth and mail, which are all of production that stage may call.
  for (const port of [443, 587]) await listen(port, "127.0.0.11");
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
  for (const server of servers) server.close();
  rmSync(directory, { recursive: true, force: true });
});

async function hold(secrets: Record<string, string>): Promise<void> {
  await writeSecretTable(
    { file, identityFile: nameIdentityFile(file), plain: false },
    new Map(Object.entries(secrets)),
  );
}

/** On a host that knows production's names: they lead to its proxy. With `--net` it has no network at all. */
function drill(...more: "--net"[]): { code: number | null; output: string } {
  const words = ["drill", "isolation", repository, "--config", config];
  const mount = `mount --bind ${directory}/hosts /etc/hosts && exec "$@"`;
  const command = [
    "--mount",
    ...more,
    "sh",
    "-c",
    mount,
    "sh",
    process.execPath,
    join(ROOT, "agent/main.ts"),
    ...words,
  ];
  const { status, stdout, stderr } = spawnSync("unshare", command, { encoding: "utf8" });
  return { code: status, output: stdout + stderr };
}

function listen(port: number, address: string): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    servers.push(server);
    server.listen(port, address, () => resolve(server));
  });
}

test("what is closed holds, and is written down", async () => {
  await hold({ "/stage/app/PASSWORD": "canary" });
  const { code, output } = drill();
  expect(output).toMatch(
    /stage \(stage\): \d+ held, 0 broken, 0 not tried; 2 allowed and reachable, 0 allowed and not reachable/,
  );
  expect(output).toContain("allowed: vm-edge/keycloak-26 as auth.breakpilot.com:443");
  expect(output).toContain("allowed: vm-control/stalwart-mail as mail.breakpilot.com:587");
  expect(code).toBe(0);
  const record = JSON.parse(readFileSync(join(directory, "state", "drill-isolation.json"), "utf8")) as {
    probes: { what: string }[];
  };
  const tried = record.probes.map(({ what }) => what).join("\n");
  expect(tried).toMatch(/secret \/prod\/tenant-registry\/DB_PASSWORD|secret \/prod\//);
  for (const database of ["vm-data/postgres-app", "vm-control/mariadb", "vm-data/mongodb"])
    expect(tried).toContain(database);
  // Past the proxy that counts stage's requests, and everything else that production publishes.
  for (const at of ["vm-edge/keycloak-26 at 127.0.0.11:8443", "vm-control/tenant-registry at ", "vm-data/litellm at "])
    expect(tried).toContain(at);
  expect(tried).not.toContain("/stage/");
});

test("a secret of production that this host is given, and a database that takes its connections, are found", async () => {
  const held = JSON.parse(readFileSync(join(directory, "state", "drill-isolation.json"), "utf8")) as {
    probes: { what: string }[];
  };
  const path = held.probes.find(({ what }) => what.startsWith("secret "))?.what.replace("secret ", "") ?? "";
  await hold({ [path]: "canary-of-production" });
  await listen(5432, "127.0.0.13");
  await listen(8443, "127.0.0.11");
  const { code, output } = drill();
  expect(code).toBe(3);
  expect(output).toContain(`broken: secret ${path}`);
  expect(output).toContain("broken: vm-data/postgres-app at 127.0.0.13:5432");
  expect(output).toContain("broken: vm-edge/keycloak-26 at 127.0.0.11:8443: it takes connections from this host");
  expect(output).not.toContain("canary");
});

test("what stage may call and cannot reach is said, and is no breach", async () => {
  await hold({});
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  await listen(443, "127.0.0.11");
  const { code, output } = drill();
  expect(output).toContain(
    "missed: vm-control/stalwart-mail as mail.breakpilot.com:587, which is allowed: it should take connections from this host: ECONNREFUSED",
  );
  expect(code).toBe(1);
});

test("what could not be tried at all is not taken for refused: without a network nothing holds", async () => {
  await hold({});
  const { code, output } = drill("--net");
  expect(output).toContain("unknown: vm-data/postgres-app at 127.0.0.13:5432: ENETUNREACH");
  expect(output).toMatch(/[1-9]\d* held, 0 broken, [1-9]\d* not tried; 0 allowed and reachable, 2 allowed and not/);
  expect(code).toBe(1);
  const record = JSON.parse(readFileSync(join(directory, "state", "drill-isolation.json"), "utf8")) as {
    probes: { what: string; result: string }[];
  };
  // What holds then are the answers of the provider alone.
  expect(record.probes.filter(({ what, result }) => result === "held" && !what.startsWith("secret "))).toEqual([]);
});

test("a repository of one realm gives nothing to try, which is no success", async () => {
  const alone = join(directory, "alone");
  cpSync(repository, alone, { recursive: true });
  const fleet = join(alone, "orca/fleet.toml");
  writeFileSync(fleet, readFileSync(fleet, "utf8").replaceAll(/env( *)= "prod"/g, 'env$1= "stage"'));
  const words = ["drill", "isolation", alone, "--config", config];
  const run = spawnSync(process.execPath, [join(ROOT, "agent/main.ts"), ...words], { encoding: "utf8" });
  expect([run.status, run.stderr]).toEqual([1, expect.stringContaining("there is nothing to try: ")]);
});

test("a provider that cannot be asked is not taken for one that refuses", async () => {
  // All else is as it must be.
  await listen(587, "127.0.0.11");
  writeFileSync(file, "damaged", { mode: 0o600 });
  const { code, output } = drill();
  expect(output).toContain("unknown: secret /prod/");
  expect(output).toMatch(/ held, 0 broken, [1-9]\d* not tried; 2 allowed and reachable, 0 allowed and not reachable/);
  expect(code).toBe(1);
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
