// Backups of a real PostgreSQL by a real agent into two repositories, a bucket of Swift and the node's own directory: encrypted with age for an
// offline key and the node's own, proved from each, restored with Debian's age and without Orca; a store that is gone is said; and a run that is
// killed in the middle of an upload leaves nothing that anybody sees, and nothing open behind the next.

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { parseListPage, parseUploads } from "../../../agent/backup/repository/s3-answer.ts";
import { S3Client } from "../../../agent/backup/repository/s3-client.ts";
import { nameIdentityFile, writeSecretTable } from "../../../agent/secrets/providers/secret-store-file.ts";
import { Swift } from "../../../scripts/lab/backup/swift.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import type { BackupListDocument } from "../../../shared/document/backup-document.ts";
import { findSubnet } from "../../builders/engine/free-port.ts";
import { POSTGRES_IMAGE as IMAGE, PostgresNode } from "../../builders/node/postgres-node.ts";

const ROWS = 60_000;

const node = new PostgresNode("sealed", {
  user: "postgres",
  backup: 'repositories = ["swift", "local"]',
});
const { name: NODE, service: SERVICE, root, stateDir, folder: local, orca, psql } = node;
const secrets = join(root, "secrets.age");
const swift = new Swift(join(root, "swift"));
/** The first three numbers of the node's network; the host has its first address there. */
const subnet = await findSubnet();
const passing = createServer((from) => {
  if (from.remoteAddress?.includes(subnet) !== true) {
    from.destroy();
    return;
  }
  const { hostname, port } = new URL(swift.access.endpoint);
  const to = connect(Number(port), hostname);
  from.pipe(to).pipe(from);
  for (const socket of [from, to]) socket.on("error", () => (from.destroy(), to.destroy()));
});

function run(program: string, ...parameters: string[]): string {
  return execFileSync(program, parameters, { encoding: "utf8", maxBuffer: 2 ** 28 });
}

async function readList(): Promise<BackupListDocument> {
  return JSON.parse((await orca("backup", "list", "--json")).output) as BackupListDocument;
}

function writeFleet(backupKey: string, offline: string): void {
  writeFileSync(
    join(root, "orca", "fleet.toml"),
    `[nodes.${NODE}]
address = "127.0.0.1"
env = "prod"
memory = "4GiB"
network = { subnet = "${subnet}.0/24" }
backup_key = "${backupKey}"

[repositories.swift]
kind = "s3"
endpoint = "${swift.access.endpoint}"
bucket = "backups"
region = "${swift.access.region}"
prefix = "orca"
secret = "/prod/backup/swift"
recipients = ["${offline}"]
min_recipients = 1
`,
  );
}

/** A service with a bucket: the store itself stands in the test's own network, and its container passes on what it is asked. */
async function writeBucket(): Promise<void> {
  const place = { name: "uploads", bucket: "uploads", prefix: "", lockDays: undefined, caFile: undefined };
  const client = new S3Client({ ...place, ...swift.access });
  await client.send({ method: "PUT", key: "" });
  for (const key of ["photos/1.jpg", "../odd key"])
    await client.send({ method: "PUT", key, body: Buffer.from(`the bytes of ${key}`) });
  client.close();
  passing.listen(0, "0.0.0.0");
  await once(passing, "listening");
  const { port } = passing.address() as AddressInfo;
  const manifests = join(root, "orca", "manifests", NODE);
  mkdirSync(join(manifests, "files"), { recursive: true });
  writeFileSync(
    join(manifests, "files", "uploads.cfg"),
    `defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\nlisten s3\n bind :9000\n server s3 ${subnet}.1:${port}\n`,
  );
  writeFileSync(
    join(manifests, "uploads.toml"),
    `image = "orca-test/haproxy:1"
command = ["haproxy", "-db", "-f", "/etc/uploads.cfg"]

[resources]
memory = "64MiB"

[health]
tcp = { port = 9000 }
interval = "1s"

[update]
settle = "1s"

[[files]]
source = "files/uploads.cfg"
target = "/etc/uploads.cfg"

[[backups]]
name = "files"
engine = "objects"
schedule = "every 5h"
source = { port = 9000, bucket = "uploads", secret = "/prod/uploads/swift" }
repositories = ["swift", "local"]
`,
  );
}

/** What the bucket itself says. */
async function ask(method: "GET" | "PUT", query: Record<string, string> = {}): Promise<string> {
  const place = { name: "swift", bucket: "backups", prefix: "", lockDays: undefined, caFile: undefined };
  const client = new S3Client({ ...place, ...swift.access });
  try {
    return (await client.send({ method, key: "", query })).content.toString("utf8");
  } finally {
    client.close();
  }
}

beforeAll(async () => {
  node.writeManifest();
  mkdirSync(join(root, "swift"));
  await swift.start();
  const { accessKey, secretKey } = swift.access;
  await ask("PUT");
  const file = { file: secrets, identityFile: nameIdentityFile(secrets), plain: false };
  await writeBucket();
  await writeSecretTable(
    file,
    new Map(["backup", "uploads"].map((name) => [`/prod/${name}/swift`, `${accessKey} ${secretKey}`])),
  );
  run("age-keygen", "-o", join(root, "offline.key"));
  const offline = /age1\w+/.exec(readFileSync(join(root, "offline.key"), "utf8"))?.[0] ?? "";
  const keygen = new OrcaProcess([
    "keygen",
    "--identity",
    join(root, "identity.key"),
    "--backup-key",
    join(stateDir, "backup.key"),
  ]);
  await keygen.exited;
  writeFleet(/backup_key = "(age1\w+)"/.exec(keygen.output)?.[1] ?? "", offline);
  await node.begin("--secrets", secrets);
}, 240_000);

afterAll(async () => {
  passing.close();
  await node.dispose();
  await swift[Symbol.asyncDispose]();
});

test("a backup lies in both, encrypted, the same bytes", async () => {
  await expect.poll(async () => (await orca("status")).code, { timeout: 240_000, interval: 1_000 }).toBe(0);
  psql(`create table t as select g, md5(g::text) from generate_series(1, ${ROWS}) g`);
  const made = await orca("backup", "run", SERVICE);
  expect(made.output).toMatch(/pg_dump_\d{8}_\d{4}, made in /);
  const { stores, backupKey } = await readList();
  const [backup] = stores[0]?.backups ?? [];
  expect(backup).toMatchObject({ encrypted: true, repositories: [{ name: "swift" }, { name: "local" }] });
  expect(stores[0]).toMatchObject({ strange: [], repositories: [{ count: 1 }, { count: 1 }] });
  expect(backup?.files[0]).toMatch(/^s3:\/\/backups\/orca\//);
  expect(readFileSync(join(stateDir, "backup.key"), "utf8")).toContain(backupKey);
  const dump = readdirSync(local).find((name) => name.endsWith(".dump.age")) ?? "";
  expect(readFileSync(join(local, dump)).subarray(0, 21).toString()).toBe("age-encryption.org/v1");
});

test("it is proved from each repository in turn, and nothing of it stays open", async () => {
  for (const repository of ["swift", "local"]) {
    const { code, output } = await orca("backup", "verify", SERVICE);
    expect(output).toMatch(/: good: restored app with 1 table/);
    expect(code).toBe(0);
    const { stores } = await readList();
    expect(stores[0]?.lastVerify).toMatchObject({ repository, verdict: "good" });
  }
  expect(readdirSync(join(stateDir, "backup-spool"))).toEqual([]);
  const { stores } = await readList();
  expect(stores[0]?.backups[0]?.repositories).toEqual([
    { name: "swift", verdict: "good" },
    { name: "local", verdict: "good" },
  ]);
});

test("Debian's age and the printed commands restore it with the offline key", async () => {
  const { stores } = await readList();
  const restored = run(
    "docker",
    "run",
    "-d",
    "--network",
    "none",
    "-m",
    "256m",
    "-v",
    `${local}:/b:ro`,
    "-v",
    "/usr/bin/age:/usr/local/bin/age:ro",
    "-v",
    `${join(root, "offline.key")}:/key:ro`,
    IMAGE,
  ).trim();
  try {
    const isReady = (): boolean => {
      try {
        run("docker", "exec", restored, "pg_isready", "-h", "127.0.0.1");
        return true;
      } catch {
        return false;
      }
    };
    await expect.poll(isReady, { timeout: 120_000 }).toBe(true);
    for (const command of stores[0]?.backups[0]?.restoreWith ?? []) {
      expect(command).toMatch(/^age -d -i KEY |^createdb /);
      run("docker", "exec", "-w", "/b", restored, "sh", "-ec", command.replace("KEY", "/key"));
    }
    const asked = ["-h", "127.0.0.1", "-U", "postgres", "-Atc", "select count(*), sum(g) from t", "app"];
    expect(run("docker", "exec", restored, "psql", ...asked).trim()).toBe(`${ROWS}|${(ROWS * (ROWS + 1)) / 2}`);
  } finally {
    run("docker", "rm", "-fv", restored);
  }
});

test("a bucket is backed up into both, object by object, proved, and comes back into an empty place", async () => {
  expect((await orca("backup", "run", "uploads")).output).toMatch(/objects_\d{8}_\d{4}, made in /);
  expect((await orca("backup", "verify", "uploads")).output).toMatch(/: good: listed 2 objects and compared 2 objects/);
  const again = await orca("backup", "run", "uploads");
  expect(again.code).toBe(0);
  const store = (await readList()).stores.find(({ service }) => service === "uploads");
  expect(store?.backups).toHaveLength(2);
  const pool = readdirSync(join(stateDir, "backups", NODE, "uploads", "files.objects"), { recursive: true });
  expect(pool.filter((name) => String(name).endsWith(".age"))).toHaveLength(2);
  const out = join(stateDir, "restored");
  const newest = store?.backups[0]?.name ?? "";
  const said = await orca("backup", "restore", "uploads", "--into", out, "--backup", newest);
  expect(said.output).toContain("restored 2 objects");
  expect(readFileSync(join(out, "photos/1.jpg"), "utf8")).toBe("the bytes of photos/1.jpg");
  expect(readFileSync(join(out, ".orca-odd-keys/1"), "utf8")).toBe("the bytes of ../odd key");
  const full = await orca("backup", "restore", "uploads", "--into", out, "--backup", newest);
  expect([full.code, full.output]).toEqual([1, expect.stringContaining("is not empty") as string]);
});

test("a store that is gone is said, and the other one has the backup all the same", async () => {
  await swift.stop();
  const made = await orca("backup", "run", SERVICE);
  expect(made).toMatchObject({ code: 3, output: expect.stringContaining("but:") as string });
  const { stores } = await readList();
  expect(stores[0]?.lastRun?.repositories).toEqual([
    { repository: "swift", reason: expect.stringContaining("nothing listens at 127.0.0.1") as string },
    { repository: "local" },
  ]);
  expect((await orca("status")).output).toContain("the repository swift did not get the last backup");
  expect((await orca("backup", "list")).output).toContain("swift cannot be read");
  await swift.start();
});

test("kill -9 in the middle of an upload of several parts: nothing of it is seen, and the next run leaves none open", async () => {
  const prefix = `orca/${NODE}/${SERVICE}/held/`;
  const hold = "/var/lib/postgresql/data/held";
  appendFileSync(
    join(root, "orca", "manifests", NODE, `${SERVICE}.toml`),
    `
[[backups]]
name = "held"
engine = "command"
command = ["sh", "-c", "head -c 20000000 /dev/urandom; while [ -e ${hold} ]; do sleep 0.1; done"]
schedule = "every 7d"
repositories = ["swift", "local"]
`,
  );
  const readHeld = async () => (await readList()).stores.find(({ store }) => store === "held");
  const listUploads = async (): Promise<string[]> =>
    (parseUploads(await ask("GET", { uploads: "", prefix })) ?? []).map(({ uploadId }) => uploadId);
  await expect.poll(readHeld, { timeout: 60_000, interval: 300 }).toBeDefined();
  run("docker", "exec", node.findContainer(), "touch", hold);
  const killings = [
    () => void run("pkill", "-KILL", "-P", String(node.agent?.child.pid), "-f", "run-backup"),
    () => node.agent?.kill(),
  ];
  let before: string[] = [];
  for (const kill of killings) {
    const asked = orca("backup", "run", SERVICE, "held");
    const isNew = async (): Promise<boolean> => (await listUploads()).some((id) => !before.includes(id));
    await expect.poll(isNew, { timeout: 60_000 }).toBe(true);
    await kill();
    expect((await asked).code).not.toBe(0);
    before = await listUploads();
    expect(before).toHaveLength(1);
    expect(parseListPage(await ask("GET", { "list-type": "2", prefix }))?.keys).toEqual([]);
  }
  run("docker", "exec", node.findContainer(), "rm", hold);
  await node.begin("--secrets", secrets);
  await expect
    .poll(async () => (await orca("backup", "run", SERVICE, "held")).output, { timeout: 60_000, interval: 1_000 })
    .toContain("made in");
  // Swift's listings come to what it has, on a busy machine some time later.
  const settled = { timeout: 180_000, interval: 1_000 };
  await expect.poll(listUploads, settled).toEqual([]);
  const count = async (): Promise<unknown> => {
    const held = await readHeld();
    return { strange: held?.strange, counts: held?.repositories.map((entry) => entry.count) };
  };
  await expect.poll(count, settled).toEqual({ strange: [], counts: [1, 1] });
  expect(readdirSync(join(local, "..", "held")).filter((name) => name.endsWith(".partial"))).toEqual([]);
});
