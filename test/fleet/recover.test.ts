// vm-edge of BreakPilot is lost with Git, secrets, name server and login on it, and its spare takes its place by `orca recover`: engines in
// network namespaces, real PostgreSQL behind Keycloak and Infisical, stand-ins with declared start times for the rest. Then the old
// machine comes back. ORCA_SLOW=1 runs it; ORCA_RECOVER_SCALE says which share of the declared start times is taken.

import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { ensureBackupIdentity } from "../../agent/backup/backup-identity.ts";
import { buildColdFleet, NO_MARKS } from "../../scripts/lab/cold/cold-fleet.ts";
import { SLOW } from "../../scripts/lab/gossip/gossip-checks.ts";
import { expectNoSecretLeft } from "../../scripts/lab/canary/canary-sweep.ts";
import { FleetLab } from "../../scripts/lab/engine/fleet-lab.ts";
import { OrcaProcess } from "../../scripts/lab/engine/orca-process.ts";
import { IMAGE } from "../../scripts/lab/engine/real-node.ts";
import { docker } from "../builders/engine/docker-cli.ts";
import { POSTGRES_IMAGE } from "../builders/node/postgres-node.ts";

const SCALE = Number(process.env["ORCA_RECOVER_SCALE"] ?? "1");
const [EDGE, SPARE] = ["vm-edge", "vm-edge-spare"] as const;
const STORES = ["postgres-keycloak", "postgres-infisical"];

const postgres = (service: string): string =>
  [
    `image = "${POSTGRES_IMAGE}"`,
    '[env]\nPOSTGRES_DB = "app"\nPOSTGRES_USER = "owner"',
    '[resources]\nmemory = "256MiB"',
    '[health]\nexec = ["pg_isready", "-h", "127.0.0.1", "-U", "owner", "-d", "app"]\ninterval = "1s"\nstart_period = "2m"',
    '[update]\nsettle = "1s"',
    `[[volumes]]\nname = "${service}-data"\ntarget = "/var/lib/postgresql/data"`,
    '[[backups]]\nname = "db"\nengine = "postgres"\nschedule = "every 5h"',
    "",
  ].join("\n");

let lab: FleetLab;
let old: OrcaProcess | undefined;
let spare: OrcaProcess | undefined;

/** Runs a command where the node's agent runs. */
function begin(at: string, words: readonly string[]): OrcaProcess {
  const environment = { ORCA_SOCKET: join(lab.runDir(EDGE), "agent.sock") };
  return new OrcaProcess(words, { namespace: lab.of(at).engine.namespace, runDir: lab.runDir(EDGE), environment });
}

async function psql(at: string, service: string, query: string): Promise<string> {
  const engine = ["-H", `unix://${lab.of(at).engine.socketPath}`];
  const id = await docker(...engine, "ps", "-q", "--filter", `label=orca.service=${service}`);
  return docker(...engine, "exec", id, "psql", "-h", "127.0.0.1", "-U", "owner", "-Atc", query, "app");
}

const isHealthy = async (node: string): Promise<boolean> => (await lab.read(node))?.healthy === true;
const home = (node: string): string => join(lab.root, node);

beforeAll(async () => {
  if (!SLOW) return;
  const cold = await buildColdFleet("breakpilot", "prod", SCALE);
  const edge = { ...cold.manifests[EDGE], ...Object.fromEntries(STORES.map((name) => [name, postgres(name)])) };
  const manifests = { ...cold.manifests, [EDGE]: edge, [SPARE]: {} };
  lab = new FleetLab({
    nodes: { ...cold.nodes, [SPARE]: "prod" },
    images: [IMAGE, POSTGRES_IMAGE],
    manifests,
    unread: NO_MARKS,
  });
  await lab.create();
  const fleet = join(lab.root, "repository", "orca", "fleet.toml");
  writeFileSync(fleet, `${readFileSync(fleet, "utf8").trimEnd()}\nstandby_for = "${EDGE}"\n`);
  const keygen = new OrcaProcess(["keygen", "--recovery", join(lab.root, "recovery.key")]);
  await keygen.exited;
  const pinned = /\[pinned\]\nrecovery_key = ".*"/.exec(keygen.output)?.[0] ?? "";
  for (const node of lab.hosts.keys()) writeFileSync(join(home(node), "policy.toml"), `${pinned}\n`);
  // On every machine the engine is at one place; what counts calls hands no streams of dumps on.
  const socket = join(lab.root, "docker.sock");
  symlinkSync(lab.of(EDGE).engine.socketPath, socket);
  const config = join(home(EDGE), "agent.toml");
  const text = readFileSync(config, "utf8").replace(/^docker = .*$/m, `docker = { socket = "${socket}" }`);
  writeFileSync(config, `${text}\nbackups = { dir = "${join(lab.root, "backups")}" }\n`);
  lab.start(Object.keys(cold.nodes));
  for (const node of Object.keys(cold.nodes)) await lab.until(() => isHealthy(node), 300_000, `${node} healthy`);
}, 600_000);

afterAll(async () => {
  if (!SLOW) return;
  await Promise.all([old?.kill(), spare?.kill()]);
  const lost = { node: EDGE, stateDir: join(lab.root, "lost", "state"), directories: [join(lab.root, "lost")] };
  try {
    if (old !== undefined) await expectNoSecretLeft({ ...lost, unread: NO_MARKS, texts: { output: old.output } });
  } finally {
    await lab.destroy();
  }
});

test.runIf(SLOW)(
  "all of vm-edge is healthy again within 15 minutes, with its data",
  { timeout: 1_200_000 },
  async () => {
    for (const [at, service] of STORES.entries()) {
      await psql(EDGE, service, `create table t as select g from generate_series(1, ${1_000 + at}) g`);
      expect(await begin(EDGE, ["backup", "run", service]).exited).toBe(0);
    }
    const { recipient } = await ensureBackupIdentity(join(lab.root, "offline.key"));
    const out = join(lab.root, "edge.escrow");
    const keys = ["--recovery-key", join(lab.root, "recovery.key"), "--recipient", recipient];
    const made = begin(EDGE, [
      "escrow",
      "create",
      EDGE,
      "--config",
      join(home(EDGE), "agent.toml"),
      "--out",
      out,
      ...keys,
    ]);
    expect(await made.exited, made.output).toBe(0);
    // The machine is gone, and with it everything that ran on it.
    await lab.of(EDGE).agent?.kill();
    lab.cut(EDGE);
    await lab.of(EDGE).engine.end("SIGKILL");
    renameSync(home(EDGE), join(lab.root, "lost"));
    rmSync(lab.runDir(EDGE), { recursive: true, force: true });
    mkdirSync(home(EDGE), { mode: 0o700 });
    for (const end of ["", ".crt"]) cpSync(`${lab.keyFile(SPARE)}${end}`, `${lab.keyFile(EDGE)}${end}`);
    rmSync(join(lab.root, "docker.sock"));
    symlinkSync(lab.of(SPARE).engine.socketPath, join(lab.root, "docker.sock"));
    const where = ["--manifests", join(lab.root, "repository"), "--source", join(home(EDGE), "manifests")];
    const recovery = begin(SPARE, ["recover", EDGE, "--escrow", out, "--key", join(lab.root, "offline.key"), ...where]);
    await lab.until(
      async () => Promise.resolve(recovery.output.includes("start it now with")),
      120_000,
      recovery.output,
    );
    spare = begin(SPARE, ["agent", "--config", join(home(EDGE), "agent.toml")]);
    const code = await recovery.exited;
    console.log(recovery.output.slice(recovery.output.indexOf("step ")));
    expect(code, recovery.output).toBe(0);
    const [, total = ""] = /all of it +15m +(.*)/.exec(recovery.output) ?? [];
    expect(total).toMatch(/^(\d{1,2}s|([0-9]|1[0-4])m( \d+s)?)$/);
    expect(recovery.output).not.toContain("LATE");
    for (const [at, service] of STORES.entries())
      expect(await psql(SPARE, service, "select count(*) from t")).toBe(String(1_000 + at));
    for (const node of [SPARE, "vm-control", "vm-data"])
      await lab.until(() => isHealthy(node), 60_000, `${node} healthy`);
  },
);

test.runIf(SLOW)("the old machine comes back, is told, and starts nothing", { timeout: 300_000 }, async () => {
  const lost = join(lab.root, "lost");
  const { engine } = lab.of(EDGE);
  const text = readFileSync(join(lost, "agent.toml"), "utf8").replaceAll(home(EDGE), lost);
  writeFileSync(
    join(lost, "agent.toml"),
    text.replace(/^docker = .*$/m, `docker = { socket = "${engine.socketPath}" }`),
  );
  await engine.start();
  lab.cut(EDGE, false);
  const runDir = lab.runDir("lost");
  old = new OrcaProcess(["agent", "--config", join(lost, "agent.toml")], { namespace: engine.namespace, runDir });
  const isYielded = async (): Promise<boolean> => {
    const services = (await lab.read(EDGE))?.services ?? [];
    return (
      services.length > 0 &&
      services.every(({ reason }) => reason === `${SPARE} stands in this node's place (takeover 1)`)
    );
  };
  await lab.until(isYielded, 60_000, "the old machine has heard");
  expect(await docker("-H", `unix://${engine.socketPath}`, "ps", "-q")).toBe("");
  expect(await isHealthy(SPARE)).toBe(true);
});
