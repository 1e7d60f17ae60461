// The log of a real PostgreSQL, streamed by a real agent: slot, receiver, base and shipments; back to a moment between two commits; the
// server and the receiver killed in turns while rows are committed, and all of it back from the repository alone.

import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";

import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { parsePosition } from "../../../agent/backup/wal/core/wal-position.ts";
import { LogReceiver } from "../../../agent/backup/wal/log-receiver.ts";
import { openEngine } from "../../../agent/docker/engine.ts";
import { Committer } from "../../builders/node/committer.ts";
import { docker, POSTGRES_IMAGE, PostgresNode } from "../../builders/node/postgres-node.ts";

const KILLS = process.env["ORCA_SLOW"] === "1" ? 30 : 2;
/** The bar: what was acknowledged and is not in the repository is no older. */
const MOST_LOST_MS = 60_000;
const SEGMENT_BYTES = 2 ** 24;
/** The bar: as the engine counts it. */
const MOST_RECEIVER_MIB = 24;

const node = new PostgresNode("wal", {
  user: "app",
  // Each kill counts as a crash: the pauses before a start would be the longest part of it.
  top: 'command = ["postgres", "-c", "max_slot_wal_keep_size=256MB"]\nrestart = { backoff = { initial = "1s", max = "2s" } }',
  update: "",
  backup: '[backups.wal]\nship = "1s"',
});

const until = <T>(look: () => T | Promise<T>, timeout = 60_000): Promise<T> =>
  vi.waitFor(look, { timeout, interval: 200 });

interface KeptLog {
  systemId: string;
  timeline: number;
  base?: { name: string; stop: string };
  shipped: Record<string, string>;
  caughtUpMs: Record<string, number>;
  lost?: { why: string };
}

function readLog(): KeptLog | undefined {
  const text = readFileSync(join(node.stateDir, "wal.json"), "utf8");
  return (JSON.parse(text) as { logs: Record<string, KeptLog> }).logs[`${node.service}/db`];
}

function findReceiver(): string {
  const filters = ["--filter", "label=orca.job.receiver", "--filter", `label=orca.job.node=${node.name}`];
  return docker("ps", "-q", ...filters).trim();
}

function listVolumes(): string[] {
  return docker("volume", "ls", "-q")
    .split("\n")
    .filter((name) => name.startsWith(node.volume));
}

/** Everything that was committed before now is stored. */
async function untilStored(): Promise<void> {
  const nowMs = Date.now();
  await until(() => expect(readLog()?.caughtUpMs["local"]).toBeGreaterThan(nowMs));
}

async function untilBase(timeline: number): Promise<void> {
  const look = (): void => {
    const log = readLog();
    expect([log?.timeline, log?.base?.name, log?.lost]).toEqual([
      timeline,
      expect.stringMatching(/^pg_base_/),
      undefined,
    ]);
  };
  await until(look);
}

beforeAll(async () => {
  node.writeManifest();
  await node.start();
}, 300_000);

afterAll(async () => {
  await node.dispose({ unread: "the database has no secret", volumes: listVolumes() });
}, 120_000);

test("a base and the log since come into the repository, by a receiver within its cap", async () => {
  node.psql("create table mark (name text, at timestamptz default clock_timestamp())");
  await untilBase(1);
  await untilStored();
  const log = readLog();
  const base = readdirSync(join(`${node.folder}.wal`, "base"));
  expect(base.toSorted()).toEqual([`${log?.base?.name}.manifest.json`, `${log?.base?.name}.tar.gz`]);
  expect((await node.orca("slo")).output).toMatch(/postgres-app\/db\s+local/);
  // Nothing happens in it, and it does not grow old.
  await untilStored();
  const [used = ""] = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", findReceiver()).split("/");
  expect(used).toMatch(/MiB/);
  expect(Number.parseFloat(used)).toBeLessThan(MOST_RECEIVER_MIB);
}, 120_000);

test("a proof replays the base to the newest of its log, and names what is damaged or missing there", async () => {
  node.psql("create table filler (name text)");
  for (let segment = 0; segment < 3; segment += 1) {
    node.psql("insert into filler select 'filler' from generate_series(1, 1000)");
    node.psql("select pg_switch_wal()");
    await untilStored();
  }
  const base = readLog()?.base?.name ?? "";
  const area = join(`${node.folder}.wal`, readLog()?.systemId ?? "", "00000001");
  const whole = readdirSync(area).filter((name) => name.includes(".00000000-01000000."));
  const [victim = ""] = whole.toSorted().slice(-2);
  const [path, content] = [join(area, victim), readFileSync(join(area, victim))];
  const segment = victim.slice(0, 24);
  const expectGood = async (): Promise<void> => {
    const { code, output } = await node.orca("backup", "verify", node.service);
    expect(output).toMatch(new RegExp(`${base} in local: good: replayed to .*app with 2 tables`));
    expect(code).toBe(0);
  };
  const expectBad = async (words: string): Promise<void> => {
    const { code, output } = await node.orca("backup", "verify", node.service, "--backup", base);
    expect(output).toContain(`${base} in local: bad: ${words}`);
    expect(code).toBe(1);
  };
  // Bytes that are whole, and are no log. There is no index yet: its hour has not come.
  writeFileSync(path, zstdCompressSync(zstdDecompressSync(content).fill(0, 8_192)));
  await expectBad(`the log cannot be replayed in the segment ${segment}`);
  writeFileSync(path, content);
  await expectGood();
  expect(node.listJobs()).toBe(findReceiver());
  const listed = (await node.orca("backup", "list")).output;
  expect(listed).toMatch(new RegExp(`${base} .* good`));
  expect(listed).toMatch(/the log in local: back to any second from 20\S+Z until 20\S+Z$/m);

  // After a verdict the log is looked at, and its index is written.
  await until(() => expect(readdirSync(area).join("\n")).toMatch(/^index\.\S+\.json\.zst$/m));
  writeFileSync(
    path,
    content.map((byte, at) => (at === content.length >> 1 ? byte ^ 1 : byte)),
  );
  await expectBad(`${victim} is not what was written`);
  expect((await node.orca("status")).output).toContain(`the base ${base} of ${node.service}/db cannot be restored`);
  writeFileSync(path, zstdCompressSync(zstdDecompressSync(content)));
  await expectBad(`${victim} is not what its index says`);
  rmSync(path);
  await expectBad(`the segment ${segment} of the log cannot be replayed: from `);
  expect((await node.orca("backup", "list")).output).toMatch(new RegExp(`a gap from .*: the segment ${segment}$`, "m"));
  writeFileSync(path, content);
  await expectGood();
}, 400_000);

test("goes back to a moment between two commits; the server's new timeline gets a new base", async () => {
  node.psql("insert into mark values ('before')");
  await sleep(1_100);
  const moment = new Date(Date.now() - 500).toISOString();
  node.psql("insert into mark values ('after')");
  await untilStored();
  const planned = await node.orca("backup", "restore", node.service, "--at", moment, "--dry-run");
  expect(planned.output).toContain(`replay that to ${moment} on timeline 1`);
  const { code, output } = await node.orca("backup", "restore", node.service, "--at", moment);
  expect(output).toContain(`replayed to ${moment}`);
  expect(code).toBe(0);
  expect(node.psql("select string_agg(name, ',') from mark")).toBe("before");
  await untilBase(2);
}, 240_000);

test("a moment before several segments that were shipped after it together: what was committed until then comes back", async () => {
  // The server still writes while nothing is shipped: all of it goes later, after the moment.
  const [area, away] = [`${node.folder}.wal`, `${node.folder}.away`];
  renameSync(area, away);
  writeFileSync(area, "");
  for (let count = 0; count < 5; count += 1) node.psql(`insert into mark values ('s${count}'); select pg_switch_wal()`);
  await sleep(1_100);
  const moment = new Date(Date.now() - 500).toISOString();
  rmSync(area);
  renameSync(away, area);
  await untilStored();
  const { code, output } = await node.orca("backup", "restore", node.service, "--at", moment);
  expect(output).toContain("with no commit between");
  expect(code).toBe(0);
  expect(node.psql("select string_agg(name, ',' order by at) from mark")).toBe("before,s0,s1,s2,s3,s4");
  await untilBase(3);
}, 240_000);

test(`${KILLS} kills of server and receiver in turns: what was acknowledged comes back, also past the last commit`, async () => {
  node.psql("create table counted (id bigserial primary key, at timestamptz default clock_timestamp())");
  const committer = new Committer(node, "insert into counted default values returning id", 50);
  for (let round = 0; round < KILLS; round += 1) {
    await sleep(1_500);
    const victim = round % 2 === 0 ? node.findContainer() : await until(() => expectText(findReceiver()));
    // By its process: what somebody kills by the engine again and again the agent leaves alone for a minute.
    process.kill(Number(docker("inspect", "--format", "{{.State.Pid}}", victim)), "SIGKILL");
    await until(() => expectText(node.findContainer()));
    await until(() => expect(node.psql("select 1")).toBe("1"));
    await until(() => expectText(findReceiver()));
    // It takes the log again.
    await until(() => expect(node.psql("select active from pg_replication_slots")).toBe("t"));
  }
  await committer.settle();
  const askedMs = Date.now();
  const acknowledged = committer.stop();
  const { code, output } = await node.orca(
    "backup",
    "restore",
    node.service,
    "--at",
    new Date(askedMs + 3_600_000).toISOString(),
  );
  expect(output).toContain("the log that is stored ends at");
  expect(code).toBe(0);
  const restored = new Set(node.psql("select id from counted").split("\n").map(Number));
  const lost = acknowledged.filter(({ id }) => !restored.has(id));
  expect(acknowledged.length).toBeGreaterThan(KILLS * 10);
  const lostMs = lost.length === 0 ? 0 : askedMs - Math.min(...lost.map(({ atMs }) => atMs));
  console.log(`acknowledged ${acknowledged.length}, lost ${lost.length}, the oldest ${lostMs} ms before`);
  expect(lostMs).toBeLessThan(MOST_LOST_MS);
  await untilBase(4);
}, 900_000);

test("a repository that takes nothing: the database serves, and what waited is stored afterwards", async () => {
  const [area, away] = [`${node.folder}.wal`, `${node.folder}.away`];
  renameSync(area, away);
  writeFileSync(area, "");
  node.psql("insert into mark values ('while it is away')");
  await until(async () => expect((await node.orca("status")).output).toContain("the log of postgres-app/db: local:"));
  expect(node.psql("select count(*) from mark where name = 'while it is away'")).toBe("1");
  rmSync(area);
  renameSync(away, area);
  await untilStored();
}, 120_000);

test("a receiver ends by itself before its directory is too large, and is not started again there", async () => {
  node.psql("select pg_create_physical_replication_slot('bounded', true)");
  const begin =
    parsePosition(node.psql("select restart_lsn from pg_replication_slots where slot_name = 'bounded'")) ?? 0n;
  const engine = openEngine("/var/run/docker.sock");
  const [directory, spoolBytes] = [join(node.root, "bounded"), 5 * SEGMENT_BYTES];
  const parts = {
    node: node.name,
    receivers: engine.receivers,
    spoolBytes,
    memoryDirectory: join(node.root, "memory"),
  };
  const receiver = new LogReceiver(parts);
  const source = {
    key: "postgres-app/bounded",
    server: { id: node.findContainer(), startedMs: 1 },
    image: POSTGRES_IMAGE,
    settings: {
      user: "app",
      databases: undefined,
      command: undefined,
      exec: false,
      volumes: [],
      minBytes: undefined,
      password: undefined,
    },
    slot: "bounded",
    segmentBytes: SEGMENT_BYTES,
    directory,
    begin,
  };
  expect(await receiver.start(source)).toBeUndefined();
  for (let segment = 0; segment < 8; segment += 1) {
    node.psql("create table bulk as select repeat('x', 900) from generate_series(1, 15000); drop table bulk");
    node.psql("select pg_switch_wal()");
  }
  await until(async () => expect(await receiver.isRunning(source.server)).toBe(false));
  const segments = readdirSync(directory).filter((name) => !name.endsWith(".history"));
  const bytes = segments.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
  expect(bytes).toBeGreaterThan(2 * SEGMENT_BYTES);
  expect(bytes).toBeLessThanOrEqual(spoolBytes);
  expect(await receiver.start(source)).toMatch(/^no more of the log is received: /);
  expect(node.psql("select count(*) from mark")).not.toBe("");
  node.psql("select pg_drop_replication_slot('bounded')");
  engine.close();
}, 120_000);

test("taken out of the manifest, the slot goes, and the receiver", async () => {
  node.writeManifest(undefined, "");
  await until(() => expect(node.psql("select count(*) from pg_replication_slots where slot_name = 'orca'")).toBe("0"));
  await until(() => expect(findReceiver()).toBe(""));
}, 120_000);

function expectText(text: string): string {
  expect(text).not.toBe("");
  return text;
}
