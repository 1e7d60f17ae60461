// Backups of a real PostgreSQL by a real agent: made, listed, restored with stock programs alone; killed in the middle, nothing that
// anybody takes for a backup is left.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { BackupListDocument } from "../../../shared/document/backup-document.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { docker, POSTGRES_IMAGE as IMAGE, PostgresNode } from "../../builders/node/postgres-node.ts";

const ROWS = 60_000;

const node = new PostgresNode("backed", {
  user: "owner",
  backup: `
[backups.hooks]
before = [{ exec = ["touch", "/tmp/frozen"] }]
after = [{ exec = ["rm", "-f", "/tmp/frozen"] }]`,
});
const { service: SERVICE, stateDir, folder, orca, findContainer, listJobs } = node;

function psql(container: string, query: string, database = "app"): string {
  return docker("exec", container, "psql", "-h", "127.0.0.1", "-U", "owner", "-Atc", query, database).trim();
}

async function readList(): Promise<BackupListDocument["stores"][number]> {
  const { output } = await orca("backup", "list", "--json");
  const [store] = (JSON.parse(output) as BackupListDocument).stores;
  if (store === undefined) throw new Error("there is no store");
  return store;
}

beforeAll(() => node.writeManifest());

afterAll(() => node.dispose({ unread: "no manifest here takes a secret" }));

test("the database comes up", async () => {
  await node.start();
  psql(
    findContainer(),
    `create table t as select g, md5(g::text) from generate_series(1, ${ROWS}) g; create role reader`,
  );
  expect(psql(findContainer(), "select count(*) from t")).toBe(String(ROWS));
});

test("a backup is made when somebody asks, and listed with what restores it", async () => {
  expect(await orca("backup", "list")).toMatchObject({
    code: 3,
    output: expect.stringContaining("no backup yet") as string,
  });
  const run = await orca("backup", "run", SERVICE);
  expect(run.output).toMatch(/pg_dump_\d{8}_\d{4}, made in /);
  expect(run.code).toBe(0);
  const store = await readList();
  expect(store.backups).toHaveLength(1);
  expect(store.strange).toEqual([]);
  expect(listJobs()).toBe("");
  const audit = readFileSync(join(stateDir, "audit.jsonl"), "utf8");
  expect(audit).toContain('"action":"backup"');
});

test("what is listed restores it with stock programs, without Orca", async () => {
  const store = await readList();
  const [backup] = store.backups;
  const restored = docker(
    "run",
    "-d",
    "--network",
    "none",
    "-m",
    "256m",
    "-e",
    "POSTGRES_USER=owner",
    "-v",
    `${folder}:/b:ro`,
    IMAGE,
  ).trim();
  try {
    const ready = (): boolean => {
      try {
        docker("exec", restored, "pg_isready", "-h", "127.0.0.1");
        return true;
      } catch {
        return false;
      }
    };
    await expect.poll(ready, { timeout: 120_000 }).toBe(true);
    for (const command of backup?.restoreWith ?? []) docker("exec", "-w", "/b", restored, "sh", "-ec", command);
    expect(psql(restored, "select count(*), sum(g) from t")).toBe(`${ROWS}|${(ROWS * (ROWS + 1)) / 2}`);
    expect(psql(restored, "select count(*) from pg_roles where rolname = 'reader'")).toBe("1");
  } finally {
    docker("rm", "-fv", restored);
  }
});

/** The last line but one says what came of it: the last one is empty. */
async function verify(): Promise<{ code: number | null; said: string }> {
  const { code, output } = await orca("backup", "verify", SERVICE);
  return { code, said: output.trim().split("\n").at(-1) ?? "" };
}

/** The newest backup's record and its dump, to be damaged. */
function findNewest(): { record: string; dump: string } {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith(".manifest.json"))
    .toSorted();
  const record = join(folder, names.at(-1) ?? "");
  return { record, dump: record.replace(".manifest.json", ".dump") };
}

/** A damaged dump whose digest is right, so that only a restore can find it. */
function damage(change: (bytes: Buffer) => Buffer): void {
  const { record, dump } = findNewest();
  const bytes = change(readFileSync(dump));
  writeFileSync(dump, bytes);
  const { files, ...rest } = JSON.parse(readFileSync(record, "utf8")) as { files: { content: string }[] };
  const measured = { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  const changed = files.map((file) => (file.content === "app" ? { ...file, plain: measured, stored: measured } : file));
  writeFileSync(record, JSON.stringify({ ...rest, files: changed }));
}

test("a good backup is proved by a restore, and nothing of that is left", async () => {
  expect(await verify()).toMatchObject({
    code: 0,
    said: expect.stringMatching(/: good: restored app with 1 table and all 60000 rows of the source in /) as string,
  });
  expect((await readList()).backups[0]).toMatchObject({ verified: true });
  expect(listJobs()).toBe("");
});

test.each<[string, (bytes: Buffer) => Buffer, RegExp]>([
  ["cut at 60 %", (bytes) => bytes.subarray(0, bytes.length * 0.6), /: bad: app: restore (?:data|pre-data): /],
  [
    "changed by a bit in the middle",
    (bytes) => {
      const at = Math.floor(bytes.length / 2);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      return bytes;
    },
    /: bad: app: restore data: /,
  ],
  ["nearly empty", () => Buffer.from("PGDMP"), /: bad: app: its table of contents: /],
  ["of another kind", () => Buffer.from("<html>not a dump</html>".repeat(100)), /: bad: app: its table of contents: /],
])("a dump that is %s is found out, although its digest is right", async (_name, change, words) => {
  await orca("backup", "run", SERVICE);
  damage(change);
  const { code, said } = await verify();
  expect(said).toMatch(words);
  expect(code).toBe(1);
  const { backups } = await readList();
  expect(backups[0]).toMatchObject({ verified: false, verdict: { verdict: "bad" } });
  const { record, dump } = findNewest();
  for (const path of [record, dump, dump.replace(".dump", ".globals.sql")]) rmSync(path);
});

test("one that is not what was written is found out before anything is restored", async () => {
  await orca("backup", "run", SERVICE);
  const { record, dump } = findNewest();
  writeFileSync(dump, readFileSync(dump).subarray(0, 1_000));
  const { code, said } = await verify();
  expect(said).toMatch(/: bad: pg_dump_\S+\.dump has 1000 of \d+ bytes/);
  expect(code).toBe(1);
  for (const path of [record, dump, dump.replace(".dump", ".globals.sql")]) rmSync(path);
});

test("rows without their parent are found out, by a foreign key that is checked and by one that never was", async () => {
  const container = findContainer();
  psql(container, "create table p (id int primary key); create table c (p int references p)");
  psql(container, "set session_replication_role = replica; insert into c values (7)");
  await orca("backup", "run", SERVICE);
  expect(await verify()).toMatchObject({
    code: 1,
    said: expect.stringMatching(/: bad: app: restore post-data: .*violates foreign key/) as string,
  });
  psql(
    container,
    "drop table c; create table c (p int); insert into c values (7); alter table c add constraint late foreign key (p) references p not valid",
  );
  await orca("backup", "run", SERVICE);
  expect(await verify()).toMatchObject({
    code: 1,
    said: expect.stringContaining("1 row has no parent by the foreign key late") as string,
  });
  psql(container, "drop table c, p");
});

test("what the machine lacks makes no backup bad: it cannot be judged", async () => {
  await orca("backup", "run", SERVICE);
  const { record } = findNewest();
  const text = readFileSync(record, "utf8");
  writeFileSync(record, text.replace(/"image": "[^"]+"/, `"image": "sha256:${"0".repeat(64)}"`));
  const { code, said } = await verify();
  expect(said).toMatch(/cannot be judged: the image sha256:0+ that made it is not on this host any more/);
  expect(code).toBe(3);
  writeFileSync(record, text);
  expect(await verify()).toMatchObject({ code: 0 });
});

/** A run whose dump waits for a lock, and is in the middle for as long as it is held. */
async function beginAndHold(container: string): Promise<{ asked: Promise<unknown>; letGo: () => Promise<void> }> {
  const held = new Promise<void>((resolve) => {
    const lock = new OrcaProcess([
      "exec",
      SERVICE,
      "--socket",
      join(stateDir, "agent.sock"),
      "--",
      "psql",
      "-h",
      "127.0.0.1",
      "-U",
      "owner",
      "-c",
      "begin; lock table t in access exclusive mode; select pg_sleep(600)",
      "app",
    ]);
    void lock.exited.then(() => resolve());
  });
  await expect
    .poll(() => psql(container, "select count(*) from pg_locks where mode = 'AccessExclusiveLock'"), {
      timeout: 60_000,
    })
    .not.toBe("0");
  const asked = orca("backup", "run", SERVICE);
  await expect.poll(listJobs, { timeout: 60_000 }).not.toBe("");
  await expect
    .poll(() => readdirSync(folder).some((name) => name.includes(".dump.") && name.endsWith(".partial")), {
      timeout: 60_000,
    })
    .toBe(true);
  const letGo = async (): Promise<void> => {
    psql(
      container,
      "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()",
      "postgres",
    );
    await held;
  };
  return { asked, letGo };
}

function isFrozen(container: string): boolean {
  return docker("exec", container, "ls", "/tmp").includes("frozen");
}

test("kill -9 of the child in the middle of a dump: its containers go, its hooks are run, and the next run goes well", async () => {
  const before = (await readList()).backups.length;
  const container = findContainer();
  const { asked, letGo } = await beginAndHold(container);
  expect(isFrozen(container)).toBe(true);
  execFileSync("pkill", ["-KILL", "-P", String(node.agent?.child.pid), "-f", "run-backup"]);
  expect(await asked).toMatchObject({
    code: 1,
    output: expect.stringContaining("it was ended by SIGKILL") as string,
  });
  await expect.poll(() => isFrozen(container), { timeout: 30_000 }).toBe(false);
  await expect.poll(listJobs, { timeout: 30_000 }).toBe("");
  await letGo();
  expect((await readList()).strange).toEqual([expect.stringMatching(/globals\.sql$/)]);
  await orca("backup", "run", SERVICE);
  expect((await readList()).backups).toHaveLength(before + 1);
});

test("kill -9 of the agent in the middle of a dump leaves no backup of it, and the next run sweeps what is left", async () => {
  const before = (await readList()).backups.length;
  const container = findContainer();
  const { asked, letGo } = await beginAndHold(container);
  await node.agent?.kill();
  await asked;
  await letGo();
  await node.start();
  await expect.poll(() => isFrozen(container), { timeout: 30_000 }).toBe(false);
  expect((await readList()).backups).toHaveLength(before);
  // The container of the service was not touched by any of it.
  expect(findContainer()).toBe(container);
  const run = await orca("backup", "run", SERVICE);
  expect(run.output).toContain("made in");
  expect((await readList()).backups).toHaveLength(before + 1);
  expect(readdirSync(folder).filter((name) => name.endsWith(".partial"))).toEqual([]);
  expect(listJobs()).toBe("");
});

test("a database that does not answer makes none, and says why", async () => {
  const before = (await readList()).backups.length;
  docker(
    "exec",
    findContainer(),
    "sh",
    "-c",
    "mv /var/lib/postgresql/data/pg_hba.conf /tmp/ && echo 'local all all trust' > /var/lib/postgresql/data/pg_hba.conf && kill -HUP 1",
  );
  const run = await orca("backup", "run", SERVICE);
  expect(run.code).toBe(1);
  expect(run.output).toMatch(/no backup was made: look at the server: exit code \d+: .*pg_hba\.conf/s);
  const store = await readList();
  expect(store.backups).toHaveLength(before);
  expect(store.lastRun?.reason).toContain("pg_hba.conf");
  docker("exec", findContainer(), "sh", "-c", "mv /tmp/pg_hba.conf /var/lib/postgresql/data/ && kill -HUP 1");
});
