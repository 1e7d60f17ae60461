// `orca drill isolation`, as its own process on the BreakPilot topology, in a network namespace in which production's addresses are
// this host's: what listens there is the test's, and the firewall is the shipped file of a stage VM.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, expect, test } from "vitest";

import { nameIdentityFile, writeSecretTable } from "../../../agent/secrets/providers/secret-store-file.ts";
import { readFirewall, WallLab, type WallPeer } from "../../builders/fleet/wall-lab.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const REPOSITORY = join(ROOT, "test/topologies/breakpilot");
const directory = mkdtempSync(join(tmpdir(), "orca-drill-"));
const config = join(directory, "agent.toml");
const file = join(directory, "secrets.age");
/** As shipped, for a stage that reads its secrets from a file: it needs no door to Infisical. */
const firewall = readFirewall("stage").replaceAll(/, \S+ \. 8080/g, "");
const lab = new WallLab();
let host: WallPeer;

interface Drill {
  code: number | null;
  output: string;
  /** What was tried → what came of it. */
  results: Map<string, string>;
}

beforeAll(() => {
  host = lab.addHost("10.0.1.10/32", "10.0.0.10/32", "10.0.0.20/32", "10.0.0.30/32");
  writeFileSync(
    join(directory, "hosts"),
    "127.0.0.1 localhost\n10.0.0.10 auth.breakpilot.com mail.breakpilot.com git.breakpilot.com\n",
  );
  const gossip = `gossip = { listen = "10.0.1.10:7947", identity_file = "${directory}/key" }`;
  const git = 'source = { git = { url = "https://git.breakpilot.com/breakpilot/platform.git", branch = "main" } }';
  const lines = ['node = "stage"', git, gossip];
  lines.push(`secrets = { file = "${file}" }`, `state = { dir = "${directory}/state" }`);
  writeFileSync(config, `${lines.join("\n")}\n`);
});

afterAll(async () => {
  await lab.destroy();
  rmSync(directory, { recursive: true, force: true });
});

async function hold(secrets: Record<string, string>): Promise<void> {
  await writeSecretTable(
    { file, identityFile: nameIdentityFile(file), plain: false },
    new Map(Object.entries(secrets)),
  );
}

/** On a host that knows production's names: they lead to its proxy. With `bare` it has no network at all. */
function drill(bare = false): Drill {
  const words = ["drill", "isolation", REPOSITORY, "--config", config];
  const mount = `mount --bind ${directory}/hosts /etc/hosts && exec "$@"`;
  const program = [process.execPath, PROGRAM, ...words];
  const within = bare ? ["unshare", "--net"] : ["nsenter", `--net=${host.namespace}`, "unshare"];
  const [enter = "", ...rest] = [...within, "--mount", "sh", "-c", mount, "sh", ...program];
  const { status, stdout, stderr } = spawnSync(enter, rest, { encoding: "utf8" });
  const record = JSON.parse(readFileSync(join(directory, "state", "drill-isolation.json"), "utf8")) as {
    probes: { what: string; result: string }[];
  };
  const results = new Map(record.probes.map(({ what, result }) => [what, result]));
  return { code: status, output: stdout + stderr, results };
}

test("without a firewall a production on which nothing listens is not taken for a closed one", async () => {
  await hold({ "/stage/app/PASSWORD": "canary" });
  const { code, output, results } = drill();
  expect(output).toContain("unguarded: vm-data/postgres-app at 10.0.0.30:5432: the host itself answers");
  expect(output).toContain("unguarded: gossip of vm-edge at 10.0.0.10:7947");
  expect(output).toMatch(/^unguarded: no firewall stands between/m);
  expect([...results.values()].filter((result) => result === "broken")).toEqual([]);
  expect(code).toBe(3);
});

test("with the shipped firewall all holds, and is written down; what stage may call and cannot reach is no breach", async () => {
  host.load(firewall);
  // The proxy's second door, to which the host's calls of 443 are led.
  await host.listen(4443);
  const missed = drill();
  expect(missed.output).toContain(
    "missed: vm-control/stalwart-mail as mail.breakpilot.com:587, which is allowed: it should take connections from this host: ECONNREFUSED",
  );
  expect(missed.code).toBe(1);
  // Everything listens on every address: the proxy's doors, past them, databases, gossip, SSH.
  await host.listen(443, 587, 80, 8443, 5432, 3306, 7947, 22);
  await host.ask({ do: "listen", port: 53, udp: true });
  const { code, output, results } = drill();
  expect(output).toMatch(
    /stage \(stage\): \d+ held, 0 broken, 0 unguarded, 0 not tried; 3 allowed and reachable, 0 allowed and not reachable/,
  );
  expect(output).toContain("allowed: vm-edge/keycloak-26 as auth.breakpilot.com:443");
  expect(output).toContain("allowed: what this host's agent reads as git.breakpilot.com:443");
  expect(output).toContain("allowed: vm-control/stalwart-mail as mail.breakpilot.com:587");
  expect(code).toBe(0);
  const tried = [...results.keys()].join("\n");
  expect(tried).toMatch(/secret \/prod\/tenant-registry\/DB_PASSWORD|secret \/prod\//);
  for (const database of ["vm-data/postgres-app", "vm-control/mariadb", "vm-data/mongodb"])
    expect(tried).toContain(database);
  // Past the proxy that counts stage's requests, everything else that production publishes, and its hosts.
  const more = ["vm-edge/keycloak-26 at 10.0.0.10:8443", "vm-control/tenant-registry at ", "vm-data/litellm at "];
  more.push("vm-control/stalwart-mail at 10.0.0.20:587", "SSH of vm-data at ");
  more.push("gossip of vm-edge at 10.0.0.10:7947", "vm-edge/powerdns-auth at 10.0.0.10:53/udp");
  for (const at of more) expect(tried).toContain(at);
  expect(tried).not.toContain("/stage/");
  // The doors are tried by their names alone.
  expect(tried).not.toMatch(/10\.0\.0\.10:(443|587)/);
});

test("a secret of production that this host is given, and whatever the firewall lets through, are found", async () => {
  const path = [...drill().results.keys()].find((what) => what.startsWith("secret "))?.replace("secret ", "") ?? "";
  await hold({ [path]: "canary-of-production" });
  host.load(undefined);
  const { code, output } = drill();
  expect(code).toBe(3);
  expect(output).toContain(`broken: secret ${path}`);
  for (const at of ["vm-data/postgres-app at 10.0.0.30:5432", "vm-edge/keycloak-26 at 10.0.0.10:8443"])
    expect(output).toContain(`broken: ${at}: it takes connections from this host`);
  expect(output).toContain("broken: gossip of vm-control at 10.0.0.20:7947");
  expect(output).toContain("broken: vm-edge/powerdns-auth at 10.0.0.10:53/udp: it answers this host");
  expect(output).not.toContain("canary");
});

test("what could not be tried at all is not taken for refused: without a network nothing holds", async () => {
  await hold({});
  const { code, output, results } = drill(true);
  expect(output).toContain("unknown: vm-data/postgres-app at 10.0.0.30:5432: ENETUNREACH");
  expect(output).toMatch(
    /[1-9]\d* held, 0 broken, 0 unguarded, [1-9]\d* not tried; 0 allowed and reachable, 3 allowed/,
  );
  expect(code).toBe(1);
  // What holds then are the answers of the provider alone.
  const held = [...results].filter(([what, result]) => result === "held" && !what.startsWith("secret "));
  expect(held).toEqual([]);
});

test("a repository of one realm gives nothing to try, which is no success", () => {
  const alone = join(directory, "alone");
  cpSync(REPOSITORY, alone, { recursive: true });
  const fleet = join(alone, "orca/fleet.toml");
  writeFileSync(fleet, readFileSync(fleet, "utf8").replaceAll(/env( *)= "prod"/g, 'env$1= "stage"'));
  const words = ["drill", "isolation", alone, "--config", config];
  const run = spawnSync(process.execPath, [PROGRAM, ...words], { encoding: "utf8" });
  expect([run.status, run.stderr]).toEqual([1, expect.stringContaining("there is nothing to try: ")]);
});

test("a provider that cannot be asked is not taken for one that refuses", () => {
  // All else is as it must be.
  host.load(firewall);
  writeFileSync(file, "damaged", { mode: 0o600 });
  const { code, output } = drill();
  expect(output).toContain("unknown: secret /prod/");
  expect(output).toMatch(
    / held, 0 broken, 0 unguarded, [1-9]\d* not tried; 3 allowed and reachable, 0 allowed and not reachable/,
  );
  expect(code).toBe(1);
});

test("a node that fleet.toml does not know is refused", () => {
  const words = ["drill", "isolation", REPOSITORY, "--config", config, "--node", "nope"];
  const run = spawnSync(process.execPath, [PROGRAM, ...words]);
  expect(run.stderr.toString()).toContain("says no realm of nope");
});
