// A real PostgreSQL restored into place by a real agent: what was dropped is back, the old volume is as it was, the password is today's;
// killed at any step, the service runs again on one of the two volumes and nothing is lost; a lost store guesses nothing.

import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { RestoreRecord } from "../../../shared/state/restore.ts";
import { docker, PostgresNode } from "../../builders/node/postgres-node.ts";

const ROWS = 5_000;

// What is restored waits for no backup of what it takes the place of.
const node = new PostgresNode("restored", {
  user: "owner",
  top: 'stop_timeout = "20s"',
  update: 'healthy_within = "60s"',
  backup: "before_update = true",
});
const { service: SERVICE, volume: VOLUME, stateDir, orca, findContainer, listJobs } = node;

function psql(query: string, host = "127.0.0.1", password = ""): string {
  const connect = ["psql", "-h", host, "-U", "owner", "-Atc", query, "app"];
  return docker("exec", "-e", `PGPASSWORD=${password}`, findContainer(), ...connect).trim();
}

/** The volume that the service runs with. */
function mounted(): string {
  return docker("inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", findContainer()).trim();
}

function listVolumes(): string[] {
  return docker("volume", "ls", "-q")
    .split("\n")
    .filter((name) => name.startsWith(VOLUME))
    .toSorted();
}

function readRestore(): Partial<RestoreRecord> {
  try {
    const text = readFileSync(join(stateDir, "restores.json"), "utf8");
    return (JSON.parse(text) as { restores: RestoreRecord[] }).restores[0] ?? {};
  } catch {
    return {};
  }
}

beforeAll(() => node.writeManifest());

test("the database comes up, and a backup of it is made", async () => {
  await node.start();
  psql(`create table t as select g from generate_series(1, ${ROWS}) g; alter role owner password 'of-that-day'`);
  expect((await orca("backup", "run", SERVICE)).code).toBe(0);
});

afterAll(() => node.dispose({ unread: "no manifest here takes a secret", volumes: listVolumes() }));

test("what nobody has proved is not restored by itself, and a dry run says every step", async () => {
  const refused = await orca("backup", "restore", SERVICE);
  expect(refused).toMatchObject({
    code: 1,
    output: expect.stringContaining("no backup of postgres-app/db is verified") as string,
  });
  expect((await orca("backup", "verify", SERVICE)).code).toBe(0);
  const { code, output } = await orca("backup", "restore", SERVICE, "--dry-run");
  expect(code).toBe(0);
  expect(output).toMatch(/postgres-app\/db: pg_dump_\d{8}_\d{4} of .*, verified\nwhat would be done, and was not:\n/);
  expect(output).toContain(`1. make the volume ${VOLUME}.r2 beside ${VOLUME}: about `);
  expect(output).toContain(`6. keep ${VOLUME}: docker volume rm ${VOLUME}`);
  expect(listVolumes()).toEqual([VOLUME]);
});

test("what was dropped is back, with the password of today, and the old volume is as it was", async () => {
  psql("drop table t; create table after_it (id int)");
  const { code, output } = await orca("backup", "restore", SERVICE);
  expect(output).toContain(`${SERVICE} is restored: ${VOLUME} is kept with what was there before`);
  expect(code).toBe(0);
  expect(psql("select count(*), sum(g) from t")).toBe(`${ROWS}|${(ROWS * (ROWS + 1)) / 2}`);
  expect([mounted(), listVolumes(), listJobs()]).toEqual([`${VOLUME}.r2`, [VOLUME, `${VOLUME}.r2`], ""]);
  const address = docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", findContainer());
  expect(psql("select 1", address.trim(), "postgres")).toBe("1");
  expect(() => psql("select 1", address.trim(), "of-that-day")).toThrow(/password authentication failed/);
  expect(psql("select count(*) from pg_namespace where nspname = 'orca_restore'")).toBe("0");
  const status = await orca("status");
  expect(status.output).toContain(`docker volume rm ${VOLUME}`);
  expect(readFileSync(join(stateDir, "audit.jsonl"), "utf8")).toContain('"action":"backup-restore"');
  expect((await orca("plan")).code).toBe(0);
  // The old one, read by a server of its own.
  expect((await orca("backup", "restore", SERVICE, "--use", VOLUME)).code).toBe(0);
  await expect.poll(() => psql("select count(*) from after_it"), { timeout: 30_000 }).toBe("0");
  expect((await orca("backup", "restore", SERVICE, "--use", `${VOLUME}.r2`)).code).toBe(0);
  await expect.poll(() => psql("select count(*) from t"), { timeout: 30_000 }).toBe(String(ROWS));
});

/** True once the restore has come so far, or further: a moment that is over before anybody looks is not waited for. */
const MOMENTS: readonly (() => boolean)[] = [
  () => hasCome("asked"),
  () => listVolumes().includes(`${VOLUME}.r3`),
  () => hasCome("switching") || (hasCome("filling") && listJobs() !== ""),
  () => hasCome("switching"),
  () => hasCome("ended") || (hasCome("switching") && (findContainer() === "" || isMounted())),
  () => hasCome("ended") || isMounted(),
];

function hasCome(stage: RestoreRecord["stage"]): boolean {
  const stages = ["asked", "filling", "switching", "going-back", "ended"];
  const { to, stage: now = "" } = readRestore();
  return to === `${VOLUME}.r3` && stages.indexOf(now) >= stages.indexOf(stage);
}

function isMounted(): boolean {
  const container = findContainer();
  if (container === "") return false;
  return docker("inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", container).trim() === `${VOLUME}.r3`;
}

test("kill -9 of the agent at every step of one restore: the next one goes on, the service runs again, and nothing is lost", async () => {
  psql("delete from t where g > 10");
  const before = listVolumes();
  const asked = orca("backup", "restore", SERVICE);
  for (const isNow of MOMENTS) {
    const endMs = Date.now() + 60_000;
    while (!isNow() && Date.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(isNow(), JSON.stringify(readRestore())).toBe(true);
    await node.agent?.kill();
    await node.begin();
  }
  // Whoever follows it is told the end by the last agent.
  expect(await asked).toMatchObject({ code: 0 });
  await expect.poll(async () => (await orca("status")).code, { timeout: 60_000, interval: 300 }).toBe(0);
  expect(psql("select count(*) from t")).toBe(String(ROWS));
  expect([mounted(), listVolumes(), listJobs()]).toEqual([`${VOLUME}.r3`, [...before, `${VOLUME}.r3`], ""]);
});

test("with the store lost and several volumes there, the service is held until a person chooses", async () => {
  await node.agent?.kill();
  docker("rm", "-f", findContainer());
  for (const end of ["", "-wal", "-shm"]) rmSync(join(stateDir, `orca.db${end}`), { force: true });
  await node.begin();
  await expect
    .poll(async () => (await orca("why", SERVICE)).output, { timeout: 60_000, interval: 300 })
    .toContain(`orca backup restore ${SERVICE} --use ${VOLUME}.r3 begins with that one`);
  expect(findContainer()).toBe("");
  const chosen = await orca("backup", "restore", SERVICE, "--use", `${VOLUME}.r2`);
  expect(chosen.code).toBe(0);
  await expect.poll(async () => (await orca("status")).code, { timeout: 60_000, interval: 300 }).toBe(0);
  // What was left of it when the last restore began.
  expect([mounted(), psql("select count(*) from t")]).toEqual([`${VOLUME}.r2`, "10"]);
});
