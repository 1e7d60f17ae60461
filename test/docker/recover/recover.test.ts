// A node is lost with its machine, and a spare takes its place by `orca recover`, with real agents, a real engine and a real PostgreSQL: no
// Git, no registry, no secrets server. The data is back before anything that uses it starts, the peer leads the name to the spare, and
// the old machine, which comes back, stops what it runs.

import { createPrivateKey } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { ensureBackupIdentity } from "../../../agent/backup/backup-identity.ts";
import { signTakeover } from "../../../agent/gossip/core/takeovers.ts";
import { createSigner, makeIdentity } from "../../../agent/gossip/node-identity.ts";
import type { BackupListDocument } from "../../../shared/document/backup-document.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { describeMarkedSecrets } from "../../../scripts/lab/canary/canary-lane.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { buildHttpd } from "../../../scripts/lab/engine/real-node.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { ask } from "../../builders/node/report.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { POSTGRES_IMAGE } from "../../builders/node/postgres-node.ts";
import { eventually } from "../../contract/docker-port.ts";

const EDGE = nameForRun("edge");
const DATA = nameForRun("data");
const SPARE = `${EDGE}-spare`;
const root = mkdtempSync("/var/tmp/orca-recover-");
/** What lies on the machine of the node: at the same places on its spare. */
const host = join(root, "host");
const [old, far] = [join(root, "old"), join(root, "far")];
const runDirs = { edge: mkdtempSync("/dev/shm/orca-recover-"), data: mkdtempSync("/dev/shm/orca-recover-") };
const net = `127.${60 + (process.pid % 150)}.${(process.pid >> 8) % 250}`;
const port = await findPort();
const agents: OrcaProcess[] = [];
const OWN_BACKUP = `[[backups]]\nname = "own"\nengine = "command"\ncommand = ["/bin/cat", "/etc/passwd"]\nschedule = "every 5h"\n`;
let web = 0;
let signer: ReturnType<typeof createSigner>;

const write = (path: string, text: string): void => {
  mkdirSync(join(path, ".."), { recursive: true, mode: 0o700 });
  writeFileSync(path, text, { mode: 0o600 });
};

async function orca(node: keyof typeof runDirs, ...words: string[]): Promise<{ code: number | null; output: string }> {
  const run = new OrcaProcess(words, {
    runDir: runDirs[node],
    environment: { ORCA_SOCKET: join(runDirs[node], "agent.sock") },
  });
  return { code: await run.exited, output: run.output };
}

function start(node: keyof typeof runDirs, directory: string): OrcaProcess {
  const agent = new OrcaProcess(["agent", "--config", join(directory, "agent.toml")], { runDir: runDirs[node] });
  agents.push(agent);
  return agent;
}

async function readStatus(node: keyof typeof runDirs): Promise<StatusDocument> {
  return JSON.parse((await orca(node, "status", "--json")).output) as StatusDocument;
}

async function untilHealthy(node: keyof typeof runDirs): Promise<void> {
  // Nothing answers before the agent does.
  await eventually(async () => (await readStatus(node).catch(() => undefined))?.healthy === true, 120_000);
}

async function findContainers(service: string, ...more: string[]): Promise<string[]> {
  const labels = [`label=orca.node=${EDGE}`, `label=orca.service=${service}`];
  const ids = await docker("ps", "-q", ...more, ...labels.flatMap((label) => ["--filter", label]));
  return ids.split("\n").filter((id) => id !== "");
}

async function psql(query: string): Promise<string> {
  const [id = ""] = await findContainers("db");
  return (await docker("exec", id, "psql", "-h", "127.0.0.1", "-U", "owner", "-Atc", query, "app")).trim();
}

function agentFile(node: string, directory: string, address: string, listen: number): string {
  return [
    `node = "${node}"`,
    `source = { dir = "${join(root, "clone")}" }`,
    `status = { listen = ["127.0.0.1:${listen}"] }`,
    `state = { dir = "${join(directory, "state")}" }`,
    describeMarkedSecrets(),
    `policy = { file = "${join(directory, "policy.toml")}" }`,
    `gossip = { listen = "${address}:${port}", identity_file = "${join(directory, "identity.key")}" }`,
    // A repository that is not lost with the machine.
    `backups = { dir = "${join(root, "repository")}" }`,
    "",
  ].join("\n");
}

function readAudit(directory: string): unknown[] {
  const lines = readFileSync(join(directory, "state", "audit.jsonl"), "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as unknown);
}

beforeAll(async () => {
  web = await findPort();
  const { output } = await orca("edge", "keygen", "--recovery", join(root, "recovery.key"));
  const pinned = /\[pinned\]\nrecovery_key = ".*"/.exec(output)?.[0] ?? "";
  const keys = {
    edge: await makeIdentity(join(host, "identity.key")),
    data: await makeIdentity(join(far, "identity.key")),
  };
  const spare = await makeIdentity(join(root, "spare", "identity.key"));
  const entry = (name: string, address: string, key: string, more = ""): string =>
    `[nodes.${name}]\naddress = "${address}"\nenv = "prod"\nmemory = "2GiB"\npublic_key = "${key}"\n${more}`;
  write(
    join(root, "clone/orca/fleet.toml"),
    entry(EDGE, `${net}.1`, keys.edge.publicKey) +
      entry(DATA, `${net}.2`, keys.data.publicKey) +
      entry(SPARE, `${net}.3`, spare.publicKey, `standby_for = "${EDGE}"\n`),
  );
  const manifests = join(root, "clone/orca/manifests");
  write(
    join(manifests, EDGE, "db.toml"),
    [
      `image = "${POSTGRES_IMAGE}"`,
      '[env]\nPOSTGRES_DB = "app"\nPOSTGRES_USER = "owner"',
      '[resources]\nmemory = "256MiB"',
      '[health]\nexec = ["pg_isready", "-h", "127.0.0.1", "-U", "owner", "-d", "app"]\ninterval = "1s"\nstart_period = "2m"',
      '[update]\nsettle = "1s"',
      `[[volumes]]\nname = "${EDGE}-pgdata"\ntarget = "/var/lib/postgresql/data"`,
      '[[backups]]\nname = "db"\nengine = "postgres"\nschedule = "every 5h"',
      "",
    ].join("\n"),
  );
  write(join(manifests, EDGE, "web.toml"), buildHttpd({ top: `requires = ["db"]\nports = ["${web}:8080"]` }));
  write(join(manifests, DATA, "app.toml"), buildHttpd({ tables: OWN_BACKUP }));
  for (const [node, directory, address] of [
    [EDGE, host, `${net}.1`],
    [DATA, far, `${net}.2`],
  ] as const) {
    write(join(directory, "agent.toml"), agentFile(node, directory, address, await findPort()));
    write(join(directory, "policy.toml"), `${pinned}\n`);
  }
  start("data", far);
  start("edge", host);
  await untilHealthy("data");
  await untilHealthy("edge");
}, 240_000);

afterAll(async () => {
  for (const agent of agents) await agent.kill().catch(() => undefined);
  const clear = async (): Promise<void> => {
    for (const node of [EDGE, DATA]) {
      const ids = await docker("ps", "-aq", "--filter", `label=orca.node=${node}`);
      if (ids !== "") await docker("rm", "-f", ...ids.split("\n"));
      await docker("network", "rm", `orca-${node}`).catch(() => undefined);
    }
    const volumes = (await docker("volume", "ls", "-q", "--filter", `label=orca.node=${EDGE}`)).split("\n");
    for (const volume of volumes.filter((name) => name !== "")) await docker("volume", "rm", volume);
    for (const directory of [root, ...Object.values(runDirs)]) rmSync(directory, { recursive: true, force: true });
  };
  const output = agents.map((agent) => agent.output).join("\n");
  const stateDirs = [join(host, "state"), join(far, "state")];
  await expectNoSecretLeft({ node: EDGE, stateDir: stateDirs[0] ?? "", directories: [host], texts: { output } });
  await expectNoSecretLeft({ node: DATA, stateDir: stateDirs[1] ?? "", directories: [far], texts: {} }, clear);
});

test("the node has data, a backup of it, and an escrow", async () => {
  await psql("create table t as select g from generate_series(1, 1000) g");
  expect(await orca("edge", "backup", "run", "db")).toMatchObject({ code: 0 });
  const { recipient } = await ensureBackupIdentity(join(root, "offline.key"));
  const files = ["--config", join(host, "agent.toml"), "--out", join(root, "edge.escrow")];
  const keys = ["--recovery-key", join(root, "recovery.key"), "--recipient", recipient];
  const made = await orca("edge", "escrow", "create", EDGE, ...files, ...keys);
  expect(made).toMatchObject({ code: 0 });
  signer = createSigner({ privateKey: createPrivateKey(readFileSync(join(root, "recovery.key"))) });
  rmSync(join(root, "recovery.key"));
  const what = { node: EDGE, file: join(root, "edge.escrow"), recipients: [recipient], term: 0 };
  expect(readAudit(host)).toContainEqual(
    expect.objectContaining({ action: "escrow-create", what: expect.objectContaining(what), result: "ok" }),
  );
});

test("the spare takes the place of the lost node: data first, then the rest, each step timed", async () => {
  await agents[1]?.kill();
  for (const service of ["db", "web"]) await docker("rm", "-f", ...(await findContainers(service, "-a")));
  await docker("volume", "rm", `${EDGE}-pgdata`);
  renameSync(host, old);
  mkdirSync(host, { mode: 0o700 });
  cpSync(join(root, "spare"), host, { recursive: true });
  const words = ["recover", EDGE, "--escrow", join(root, "edge.escrow"), "--key", join(root, "offline.key")];
  const where = ["--manifests", join(root, "clone"), "--source", join(host, "manifests")];
  const run = new OrcaProcess([...words, ...where], {
    runDir: runDirs.edge,
    environment: { ORCA_SOCKET: join(runDirs.edge, "agent.sock"), PATH: "/nowhere" },
  });
  // No systemd is here: a person starts the agent.
  await eventually(() => run.output.includes("start it now with"), 60_000);
  expect(run.output).toContain(`${SPARE} at ${net}.3 stands in the place of ${EDGE}: takeover 1 is signed`);
  start("edge", host);
  let early = false;
  const look = setInterval(() => {
    void findContainers("web").then((ids) => (early ||= ids.length > 0 && !run.output.includes("for a person, now")));
  }, 200);
  const code = await run.exited.finally(() => clearInterval(look));
  expect(run.output).toMatch(
    /step +budget +measured\nopen the escrow.* 3m +\d[\dms ]*\nrestore the data +5m +\d[\dms ]*\nswap the name/,
  );
  expect({ code, early }).toEqual({ code: 0, early: false });
  expect(await psql("select count(*) from t")).toBe("1000");
  const what = { node: EDGE, spare: SPARE, address: `${net}.3`, term: 1, origin: "manifests" };
  expect(readAudit(host)).toContainEqual(
    expect.objectContaining({ action: "recover", what: expect.objectContaining(what), result: "ok" }),
  );
  expect(existsSync(join(host, "state", "recovery.json"))).toBe(false);
  const ports = await docker("port", (await findContainers("web"))[0] ?? "");
  expect(ports).toContain(`${net}.3:${web}`);
}, 240_000);

test("the spare's backups lie in a folder of its term, and what the lost machine writes on is not taken for them", async () => {
  const repository = join(root, "repository", EDGE, "db");
  const before = readdirSync(join(repository, "db")).toSorted();
  expect(await orca("edge", "backup", "run", "db")).toMatchObject({ code: 0 });
  const [own = "", ...others] = readdirSync(repository).filter((name) => name !== "db");
  expect([own, others]).toEqual([expect.stringMatching(/^db\.t1-\d{8}T\d{6}Z$/), []]);
  expect(readdirSync(join(repository, "db")).toSorted()).toEqual(before);
  const record = before.find((name) => name.endsWith(".manifest.json")) ?? "";
  const text = readFileSync(join(repository, "db", record), "utf8");
  const later = Date.now() - 1_000;
  const stamp = new Date(later).toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "_");
  const name = `pg_dump_${stamp}`;
  const made = text.replaceAll(record.replace(".manifest.json", ""), name);
  const written = { ...(JSON.parse(made) as { files: { file: string }[] }), startedMs: later, endedMs: later };
  for (const { file } of written.files)
    cpSync(
      join(repository, "db", file.replace(name, record.replace(".manifest.json", ""))),
      join(repository, "db", file),
    );
  writeFileSync(join(repository, "db", `${name}.manifest.json`), JSON.stringify(written));
  const [listed, status] = [await orca("edge", "backup", "list", "--json"), await orca("edge", "backup", "list")];
  const { stores } = JSON.parse(listed.output) as BackupListDocument;
  const [newest, first] = stores[0]?.backups ?? [];
  expect(newest?.files[0]).toContain(`/${own}/`);
  expect(first?.name).toBe(record.replace(".manifest.json", ""));
  expect(stores[0]?.backups).toHaveLength(2);
  expect(stores[0]?.repositories[0]?.foreign).toEqual({ count: 1, backup: name });
  expect(status.output).toContain("by a machine that has lost this node's place");
}, 60_000);

test("the peer has kept the takeover, and leads the node's name to the spare", async () => {
  const kept = JSON.parse(readFileSync(join(far, "state", "takeovers.json"), "utf8")) as { takeovers: unknown[] };
  expect(kept.takeovers).toMatchObject([{ node: EDGE, spare: SPARE, term: 1, address: `${net}.3` }]);
  expect(readAudit(far)).toContainEqual(
    expect.objectContaining({ action: "takeover", what: { node: EDGE, spare: SPARE, term: 1 } }),
  );
  const [id = ""] = (await docker("ps", "-q", "--filter", `label=orca.node=${DATA}`)).split("\n");
  const isLed = async (): Promise<boolean> => {
    const lines = (await docker("exec", id, "cat", "/etc/hosts")).split("\n").map((line) => line.split(/\s+/));
    return lines.some(([address, ...names]) => address === `${net}.3` && names.includes(EDGE));
  };
  await eventually(isLed, 30_000);
  const fleet = await orca("data", "status", "--fleet");
  expect(fleet.output).toMatch(new RegExp(`${EDGE} +alive`));
});

test("a node that hears while it runs that it was replaced makes no backup and starts nothing, and says why to whoever asks", async () => {
  expect(await orca("data", "backup", "run", "app")).toMatchObject({ code: 0 });
  const folder = join(root, "repository", DATA, "app", "own");
  const before = readdirSync(folder).toSorted();
  expect(before).toHaveLength(2);
  const { publicKey: key } = await makeIdentity(join(root, "third.key"));
  const words = { realm: "prod", node: DATA, spare: `${DATA}-spare`, term: 1, key, address: `${net}.4` };
  // Another machine knows it, and tells it.
  await agents.at(-1)?.kill();
  const file = join(host, "state", "takeovers.json");
  const known = JSON.parse(readFileSync(file, "utf8")) as { takeovers: unknown[] };
  writeFileSync(file, JSON.stringify({ ...known, takeovers: [...known.takeovers, signTakeover(words, signer)] }));
  start("edge", host);
  const why = `${DATA}-spare stands in this node's place (takeover 1)`;
  const isStopped = async (): Promise<boolean> =>
    (await readStatus("data")).services.every(({ state, reason }) => state === "stopped" && reason === why);
  await eventually(isStopped, 60_000);
  for (const act of [
    ["backup", "run", "app"],
    ["backup", "verify", "app"],
    ["start", "app"],
    ["restart", "app"],
  ]) {
    const { code, output } = await orca("data", ...act);
    expect({ act, code, says: output.includes(why) }).toEqual({ act, code: 1, says: true });
  }
  const asked = await ask(
    { socketPath: join(runDirs.data, "agent.sock") },
    { path: "/v1/backups/app/own/run", method: "POST" },
  );
  expect(asked).toMatchObject({ status: 409, body: expect.stringContaining(why) });
  expect((await orca("data", "backup", "list")).output).toContain(why);
  expect(readdirSync(folder).toSorted()).toEqual(before);
  expect(await docker("ps", "-q", "--filter", `label=orca.node=${DATA}`)).toBe("");
}, 120_000);
