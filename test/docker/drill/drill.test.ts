// Drills on a real engine, of a node as BreakPilot's vm-data with MariaDB and Redis beside its PostgreSQL: the stores alone, one service
// stopped, and the whole node apart; a backup that is broken, a kill -9 in the middle. What runs is never touched.

import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { nameIdentityFile, writeSecretTable } from "../../../agent/secrets/providers/secret-store-file.ts";
import { MARKS } from "../../../scripts/lab/canary/canary.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import type { DrillDocument } from "../../../shared/document/drill-document.ts";
import type { DrillRecord } from "../../../shared/drill/drill.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { docker } from "../../builders/node/postgres-node.ts";

const NODE = nameForRun("drilled");
const root = mkdtempSync(join(tmpdir(), "orca-drilled-"));
const state = join(root, "state");
const manifests = join(root, "orca", "manifests", NODE);
const secrets = join(root, "secrets.age");
const ROOT = "/canary/lane/PASSWORD";
const PASSWORD = MARKS[ROOT] ?? "";
const STORES = ["postgres-app/db", "mariadb/db", "redis/keys", "mail/files"];
let listen = "";
let agent: OrcaProcess | undefined;

/** A service that only answers, once those that it requires are there. */
function standIn(port: number, requires: readonly string[]): string {
  return `
image = "orca-stand-in:1"
requires = ${JSON.stringify(requires)}
stop_timeout = "5s"
[env]
ORCA_STAND_IN_HTTP = "${port}/health"
[resources]
memory = "32MiB"
[health]
http = { port = ${port}, path = "/health" }
interval = "1s"
[update]
settle = "1s"
[slo]
rto = "10m"
`;
}

const MANIFESTS: Readonly<Record<string, string>> = {
  "postgres-app": `
image = "orca-test/postgres:1"
[env]
POSTGRES_DB = "app"
[resources]
memory = "256MiB"
[health]
exec = ["pg_isready", "-h", "127.0.0.1", "-U", "postgres", "-d", "app"]
interval = "1s"
start_period = "2m"
[update]
settle = "1s"
[slo]
rto = "15m"
[[volumes]]
name = "${NODE}-pg"
target = "/var/lib/postgresql/data"
[[backups]]
name = "db"
engine = "postgres"
schedule = "every 5h"
`,
  mariadb: `
image = "orca-test/mariadb:1"
[env]
MARIADB_DATABASE = "shop"
MARIADB_ROOT_PASSWORD_FILE = "/run/secrets/root"
[secrets.files]
root = "${ROOT}"
[resources]
memory = "256MiB"
[health]
exec = ["mariadb-admin", "-h", "127.0.0.1", "ping"]
interval = "1s"
start_period = "120s"
[update]
settle = "1s"
[[volumes]]
name = "${NODE}-maria"
target = "/var/lib/mysql"
[[backups]]
name = "db"
engine = "mysql"
schedule = "every 5h"
connect = { password = "${ROOT}" }
`,
  redis: `
image = "orca-test/redis:1"
command = ["redis-server", "--appendonly", "no", "--dir", "/data"]
[resources]
memory = "64MiB"
[health]
tcp = { port = 6379 }
interval = "1s"
[update]
settle = "1s"
[[volumes]]
name = "${NODE}-redis"
target = "/data"
[[backups]]
name = "keys"
engine = "redis"
schedule = "every 5h"
`,
  mail: `
image = "orca-test/tar:1"
[resources]
memory = "64MiB"
[health]
exec = ["test", "-f", "/srv/mail/inbox"]
interval = "1s"
[update]
settle = "1s"
[[volumes]]
name = "${NODE}-mail"
target = "/srv/mail"
[[backups]]
name = "files"
engine = "files"
schedule = "every 5h"
`,
  "backend-compliance": standIn(8002, ["postgres-app", "mail"]),
  "ai-compliance-sdk": standIn(8090, ["postgres-app", "redis"]),
  erpnext: standIn(8000, ["mariadb", "redis"]),
  "admin-compliance": standIn(3007, ["backend-compliance", "ai-compliance-sdk"]),
};

async function orca(...parameters: string[]): Promise<{ code: number | null; output: string }> {
  const run = new OrcaProcess([...parameters, "--socket", join(state, "agent.sock")]);
  return { code: await run.exited, output: run.output };
}

async function begin(): Promise<void> {
  if (listen === "") listen = `127.0.0.1:${await findPort()}`;
  const words = ["up", root, "--node", NODE, "--state", state, "--listen", listen, "--secrets", secrets];
  agent = new OrcaProcess(words);
}

async function untilHealthy(): Promise<void> {
  await expect.poll(async () => (await orca("status")).code, { timeout: 240_000, interval: 500 }).toBe(0);
}

/** Everything of this node that the engine has, but for what a drill makes. */
function listOwn(): string {
  const filter = ["--filter", `label=orca.node=${NODE}`];
  const containers = docker("ps", "-a", "--no-trunc", ...filter, "--format", "{{.ID}} {{.Names}} {{.State}}");
  const started = docker("ps", "-q", ...filter)
    .split("\n")
    .filter((id) => id !== "")
    .map((id) => {
      const words = docker("inspect", "-f", "{{.State.StartedAt}}{{range .Mounts}} {{.Name}}{{end}}", id)
        .trim()
        .split(/\s+/);
      // The engine gives mounts in no order.
      return words.toSorted().join(" ");
    });
  return [containers.split("\n").toSorted().join("\n"), ...started.toSorted()].join("\n");
}

/** What drills have made and must not leave: containers, networks, volumes without a name. */
function listLeft(): string[] {
  const filter = ["--filter", `label=orca.job.node=${NODE}`];
  return [docker("ps", "-aq", ...filter).trim(), docker("network", "ls", "-q", ...filter).trim()].filter(
    (text) => text !== "",
  );
}

/** The volumes of a drill's containers, as far as they are seen while it goes on. */
async function watchVolumes<T>(work: Promise<T>): Promise<{ answer: T; seen: string[] }> {
  const seen = new Set<string>();
  const ended = { is: false };
  const watching = (async () => {
    while (!ended.is) {
      const ids = docker("ps", "-aq", "--filter", `label=orca.job.node=${NODE}`).trim().split("\n");
      for (const id of ids.filter((entry) => entry !== "")) for (const name of readVolumes(id)) seen.add(name);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  })();
  const answer = await work.finally(() => (ended.is = true));
  await watching;
  return { answer, seen: [...seen] };
}

/** None for a container that has gone meanwhile. */
function readVolumes(id: string): string[] {
  try {
    const format = '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}';
    return docker("inspect", "-f", format, id)
      .trim()
      .split(/\s+/)
      .filter((name) => name !== "");
  } catch {
    return [];
  }
}

function listVolumes(): Set<string> {
  return new Set(docker("volume", "ls", "-q").trim().split("\n"));
}

async function readDrill(): Promise<DrillRecord> {
  const { output } = await orca("drill", "--status", "--json");
  const [newest] = (JSON.parse(output) as DrillDocument).drills;
  if (newest === undefined) throw new Error("there is no drill");
  return newest;
}

const name = ({ service, store }: { service: string; store?: string | undefined }): string =>
  store === undefined ? service : `${service}/${store}`;

beforeAll(async () => {
  mkdirSync(manifests, { recursive: true });
  for (const [service, text] of Object.entries(MANIFESTS)) writeFileSync(join(manifests, `${service}.toml`), text);
  await writeSecretTable(
    { file: secrets, identityFile: nameIdentityFile(secrets), plain: false },
    new Map(Object.entries(MARKS)),
  );
});

afterAll(async () => {
  await agent?.stop();
  await expectNoSecretLeft({ node: NODE, stateDir: state }, async () => {
    await new OrcaProcess(["up", root, "--node", NODE, "--state", state, "--down"]).exited;
    docker(
      "volume",
      "rm",
      "-f",
      ...["pg", "pg.r2", "maria", "redis", "redis.r2", "mail"].map((end) => `${NODE}-${end}`),
    );
    rmSync(root, { recursive: true });
  });
});

function exec(service: string, ...words: string[]): string {
  const id = docker(
    "ps",
    "-q",
    "--filter",
    `label=orca.node=${NODE}`,
    "--filter",
    `label=orca.service=${service}`,
  ).trim();
  return docker("exec", "-e", `MYSQL_PWD=${PASSWORD}`, id, ...words);
}

/** What it printed, or why it could not be run. */
function tryExec(service: string, ...words: string[]): string {
  try {
    return exec(service, ...words);
  } catch (error) {
    return String(error);
  }
}

test("the node comes up, something is in its stores, and each has a backup", async () => {
  await begin();
  // Its health check reads what only its data has.
  await expect
    .poll(() => tryExec("mail", "sh", "-c", "echo kept > /srv/mail/inbox"), { timeout: 120_000, interval: 500 })
    .toBe("");
  await untilHealthy();
  exec(
    "postgres-app",
    "psql",
    "-h",
    "127.0.0.1",
    "-U",
    "postgres",
    "-c",
    "create table t as select generate_series(1, 500)",
    "app",
  );
  exec(
    "mariadb",
    "mariadb",
    "-h",
    "127.0.0.1",
    "-uroot",
    "-e",
    "create table shop.item (id int primary key); insert into shop.item values (1)",
  );
  exec("redis", "redis-cli", "set", "lasting", "1");
  for (const store of STORES) {
    const run = await orca("backup", "run", ...store.split("/"));
    expect([run.code, run.output]).toEqual([0, expect.stringContaining("made in")]);
  }
});

test("orca drill restores every store from its newest backup, times it, and touches nothing", async () => {
  const before = listOwn();
  const { code, output } = await orca("drill");
  expect(output).toContain("Result: good: everything came back in its time.");
  expect(code).toBe(0);
  const { parts } = await readDrill();
  expect(parts.map(name).toSorted()).toEqual(STORES.toSorted());
  expect(parts.every(({ verdict, restoreMs = 0 }) => verdict === "good" && restoreMs > 0)).toBe(true);
  expect(parts.find(({ service }) => service === "postgres-app")).toMatchObject({
    rtoMs: 900_000,
    repository: "local",
  });
  expect([listOwn(), listLeft()]).toEqual([before, []]);
  expect(readFileSync(join(state, "audit.jsonl"), "utf8")).toContain('"action":"drill"');
});

test("orca drill stop stops one service through the agent, and times its way back", async () => {
  const { code, output } = await orca("drill", "stop", "erpnext");
  expect(output).toContain("erpnext: good");
  expect(code).toBe(0);
  const { parts } = await readDrill();
  expect(parts).toEqual([
    expect.objectContaining({
      service: "erpnext",
      rtoMs: 600_000,
      verdict: "good",
      graceMs: expect.any(Number) as number,
    }),
  ]);
  expect(readFileSync(join(state, "audit.jsonl"), "utf8")).toContain('"action":"drill-stop"');
  expect((await orca("drill", "stop", "nothing")).code).toBe(1);
});

test("orca drill full brings the node up apart, with its data, probes every health endpoint, and leaves nothing", async () => {
  await untilHealthy();
  const before = listOwn();
  const {
    answer: { code, output },
    seen,
  } = await watchVolumes(orca("drill", "full"));
  expect(output).toContain("Result: good: everything came back in its time.");
  expect(code).toBe(0);
  const { parts } = await readDrill();
  expect(parts.map(name).toSorted()).toEqual([...STORES, ...Object.keys(MANIFESTS)].toSorted());
  const services = parts.filter(({ store }) => store === undefined);
  expect(services.every(({ startMs = 0, recoveryMs = 0 }) => startMs > 0 && recoveryMs >= startMs)).toBe(true);
  // Who requires others is healthy after them. The mail's own check reads a file that only its backup has.
  const at = new Map(services.map(({ service, recoveryMs = 0 }) => [service, recoveryMs]));
  expect(at.get("admin-compliance")).toBeGreaterThan(at.get("backend-compliance") ?? Infinity);
  expect(at.get("backend-compliance")).toBeGreaterThan(at.get("postgres-app") ?? Infinity);
  expect([listOwn(), listLeft()]).toEqual([before, []]);
  expect(seen.length).toBeGreaterThan(3);
  const there = listVolumes();
  expect(seen.filter((volume) => there.has(volume))).toEqual([]);
  const page = readFileSync(
    join(state, "drills", readdirSync(join(state, "drills")).find((file) => file.endsWith(".md")) ?? ""),
    "utf8",
  );
  expect(page).toMatch(/\| admin-compliance \| {2}\| {2}\| good \|/);
});

test("kill -9 of the agent in the middle leaves only what the next one sweeps, and the record says that it was cut off", async () => {
  const before = listOwn();
  const asked = watchVolumes(orca("drill", "full"));
  const stack = (): string =>
    docker("ps", "-q", "--filter", `label=orca.job.node=${NODE}`, "--filter", "name=drill-postgres-app").trim();
  await expect.poll(stack, { timeout: 60_000, interval: 50 }).not.toBe("");
  await agent?.kill();
  await begin();
  await expect.poll(listLeft, { timeout: 60_000, interval: 300 }).toEqual([]);
  await untilHealthy();
  const { answer, seen } = await asked;
  expect(answer.code).toBe(3);
  expect(await readDrill()).toMatchObject({ kind: "full", trouble: "the agent ended in the middle of it" });
  const there = listVolumes();
  expect(seen.length).toBeGreaterThan(0);
  expect([listOwn(), seen.filter((volume) => there.has(volume))]).toEqual([before, []]);
});

/** The commands of the table by scenario, as the page has them. */
function listRunbook(): string[] {
  const page = readFileSync(join(import.meta.dirname, "..", "..", "..", "agent", "help", "runbook.md"), "utf8");
  const section = page.split("## What fails, and how long it takes\n")[1]?.split("\n## ")[0] ?? "";
  const inline = [...section.matchAll(/`(orca [^`]+)`/g)].map(([, line = ""]) => line);
  const inBlocks = [...section.matchAll(/^(orca [^#\n]+)/gm)].map(([, line = ""]) => line.trim());
  return [...new Set([...inBlocks, ...inline])];
}

test("each command that the runbook names by scenario does here what the page says, and the node is well after it", async () => {
  // What it restores is proved then, and its records are there to be read.
  expect((await orca("drill")).code).toBe(0);
  const ends: Record<string, number | null> = {};
  for (const line of listRunbook()) {
    // Tried by test/scenario/stage/drill-isolation.test.ts, from a stage; and after a fleet's boot by test/fleet/cold-start.test.ts.
    if (line.startsWith("orca drill isolation") || line === "orca fleet report") continue;
    const service = line.includes("backup restore") ? "postgres-app" : "erpnext";
    const { code, output } = await orca(
      ...line
        .split(" ")
        .slice(1)
        .map((word) => (word === "SERVICE" ? service : word)),
    );
    ends[line] = code;
    expect(output).not.toBe("");
    if (line.includes("backup restore")) expect([code, output]).toEqual([0, expect.stringContaining("is restored")]);
    if (line.includes("backup restore"))
      expect(
        exec(
          "postgres-app",
          "psql",
          "-h",
          "127.0.0.1",
          "-U",
          "postgres",
          "-Atc",
          "select count(*) from t",
          "app",
        ).trim(),
      ).toBe("500");
    // Nothing but its first release was ever good: there is none to go back to, and the command says so.
    if (line.startsWith("orca rollback")) expect([code, output]).toEqual([1, expect.stringContaining("no")]);
    await untilHealthy();
  }
  expect(ends).toEqual({
    "orca drill --status": 0,
    "orca status": 0,
    "orca why SERVICE": 0,
    "orca restart SERVICE": 0,
    "orca backup restore SERVICE": 0,
    "orca rollback SERVICE": 1,
  });
});

test("a Redis without a log of commands has its keys again after a restore into place", async () => {
  exec("redis", "redis-cli", "del", "lasting");
  exec("redis", "redis-cli", "set", "after", "it");
  const { code, output } = await orca("backup", "restore", "redis");
  expect(output).toContain("redis is restored");
  expect(code).toBe(0);
  expect(exec("redis", "redis-cli", "get", "lasting").trim()).toBe("1");
  expect(exec("redis", "redis-cli", "exists", "after").trim()).toBe("0");
  expect(exec("redis", "redis-cli", "config", "get", "appendonly").trim().split("\n")).toEqual(["appendonly", "no"]);
  await untilHealthy();
});

test("a backup that is broken turns the drill red, is named, and keeps from starting what needs it", async () => {
  expect((await orca("backup", "run", "mariadb", "db")).code).toBe(0);
  const folder = join(state, "backups", NODE, "mariadb", "db");
  const record = join(
    folder,
    readdirSync(folder)
      .filter((file) => file.endsWith(".manifest.json"))
      .toSorted()
      .at(-1) ?? "",
  );
  const {
    files,
    name: backup,
    ...rest
  } = JSON.parse(readFileSync(record, "utf8")) as { name: string; files: { file: string }[] };
  // Cut in its middle, with digests that are right: only a restore can find that.
  const cut = files.map((file) => {
    const path = join(folder, file.file);
    const bytes = readFileSync(path).subarray(0, Math.floor(readFileSync(path).length / 2));
    writeFileSync(path, bytes);
    const measured = { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    return { ...file, plain: measured, stored: measured };
  });
  writeFileSync(record, JSON.stringify({ ...rest, name: backup, files: cut }));
  const { code, output } = await orca("drill", "full");
  expect(code).toBe(3);
  expect(output).toMatch(/Result: red: .*mariadb\/db/);
  const { parts } = await readDrill();
  expect(parts.find(({ service, store }) => service === "mariadb" && store === "db")).toMatchObject({
    verdict: "bad",
    backup,
  });
  expect(parts.find(({ service }) => service === "erpnext")).toMatchObject({
    verdict: "bad",
    detail: "it was not started: it waits for mariadb",
  });
  expect(parts.find(({ service }) => service === "admin-compliance")).toMatchObject({ verdict: "good" });
  const alone = await orca("drill");
  expect([alone.code, alone.output]).toEqual([3, expect.stringContaining(`mariadb/db: bad, ${backup}`)]);
  expect(listLeft()).toEqual([]);
});
