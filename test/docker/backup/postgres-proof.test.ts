// What a proof says of a real PostgreSQL beyond that it can be restored: the rows of the source, orphans that Git allows, extensions, and
// the false alarms that other tools have raised, which must not be raised here. In this process: no agent is needed for it.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import type { BackupRequest, VerifyRequest } from "../../../agent/backup/backup-exchange.ts";
import type { BackupRecord } from "../../../agent/backup/core/backup-record.ts";
import { postgres } from "../../../agent/backup/engines/postgres.ts";
import { findAdvice } from "../../../agent/backup/engines/source-program.ts";
import type { StoreSettings } from "../../../agent/backup/engines/store-engine.ts";
import { makeBackup } from "../../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import { openSource } from "../../../agent/backup/store-source.ts";
import { verifyBackup } from "../../../agent/backup/verify/verify-backup.ts";
import type { Expectations, Verdict } from "../../../agent/backup/verify/restore-box.ts";
import { openEngine } from "../../../agent/docker/engine.ts";

const SOCKET = "/var/run/docker.sock";
const IMAGE = "orca-test/postgres:1";
const BARE = "orca-test/postgres-proof-bare:1";
const directory = mkdtempSync(join(tmpdir(), "orca-proof-"));
const engine = openEngine(SOCKET);
const folder = { node: "proof", service: "pg", store: "db" };
const place = join(directory, "backups", "proof", "pg", "db");
const NO_EXPECTATIONS: Expectations = { extensions: [], schemas: [], queries: [], allowed: [] };
let container = "";

function docker(...parameters: string[]): string {
  return execFileSync("docker", parameters, { encoding: "utf8", maxBuffer: 2 ** 28 });
}

function psql(query: string, database = "app"): string {
  return docker("exec", container, "psql", "-h", "/tmp", "-U", "postgres", "-Atqc", query, database).trim();
}

function settings(own: Partial<StoreSettings> = {}): StoreSettings {
  const common = { command: undefined, exec: false, volumes: [], minBytes: undefined, password: undefined };
  return { user: "postgres", databases: undefined, ...common, ...own };
}

async function make(own: Partial<StoreSettings> = {}): Promise<BackupRecord> {
  const request = {
    folder,
    settings: settings(own),
    container,
    isStopped: false,
    memoryBytes: 256 * 2 ** 20,
    memoryDirectory: join(directory, "memory"),
  } as BackupRequest;
  const source = openSource(request, await engine.oneShots.findImage(container), engine.oneShots);
  const order = { folder, engine: "postgres", trigger: "asked" as const, image: IMAGE, recipients: [] };
  const { record } = await makeBackup(
    { ...order, keepUntilMs: undefined, describeRestore: () => [] },
    {
      repositories: [
        { name: "local", open: () => Promise.resolve(openLocalRepository("local", join(directory, "backups"))) },
      ],
      nowMs: () => Date.now(),
      listParts: () => postgres.listParts(source),
    },
  );
  return record;
}

function prove(
  record: BackupRecord,
  expectations: Partial<Expectations> = {},
  more: Partial<VerifyRequest> = {},
): Promise<Verdict> {
  const request = {
    kind: "verify" as const,
    folder,
    engine: "postgres",
    settings: settings(),
    backup: record.name,
    socket: SOCKET,
    image: undefined,
    memoryBytes: 256 * 2 ** 20,
    timeoutMs: 120_000,
    lockDirectory: join(directory, "locks"),
    spool: join(directory, "spool"),
    identities: [],
    expectations: { ...NO_EXPECTATIONS, ...expectations },
    repository: { kind: "local" as const, name: "local", directory: join(directory, "backups") },
  };
  return verifyBackup({ ...request, ...more }, engine);
}

/** Puts other bytes in place of a file of a backup, with a digest that is right. */
function replace(record: BackupRecord, content: string, bytes: Buffer): void {
  const found = record.files.find((file) => file.content === content);
  if (found === undefined) throw new Error(`there is no ${content}`);
  writeFileSync(join(place, found.file), bytes);
  const measured = { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  const { facts: _facts, ...rest } = found;
  rewrite(record, {
    files: record.files.map((file) => (file === found ? { ...rest, plain: measured, stored: measured } : file)),
  });
}

function rewrite(record: BackupRecord, own: Partial<BackupRecord>): void {
  writeFileSync(join(place, `${record.name}.manifest.json`), JSON.stringify({ ...record, ...own }));
}

beforeAll(() => {
  container = docker("run", "-d", "-m", "256m", "-e", "POSTGRES_DB=app", IMAGE).trim();
  const bare = docker("create", IMAGE).trim();
  docker("commit", bare, BARE);
  docker("rm", bare);
});

afterAll(() => {
  docker("rm", "-fv", container);
  docker("rmi", "-f", BARE);
  engine.close();
  rmSync(directory, { recursive: true });
});

beforeEach(() => {
  rmSync(place, { recursive: true, force: true });
});

test("the server comes up", async () => {
  await expect
    .poll(
      () => {
        try {
          return psql("select 1");
        } catch {
          return "";
        }
      },
      { timeout: 60_000 },
    )
    .toBe("1");
  psql(
    "create table p (id int primary key); insert into p select generate_series(1, 500); create table c (p int, q int)",
  );
  psql("create role job; create table owned (id int); alter table owned owner to job");
});

test("rows are counted in the dump's own snapshot, while others write, and a restore must have them", async () => {
  const writer = execFileSync.bind(undefined, "docker");
  const inserting = setInterval(
    () =>
      void writer([
        "exec",
        container,
        "psql",
        "-h",
        "/tmp",
        "-U",
        "postgres",
        "-qc",
        "insert into c values (1, 1)",
        "app",
      ]),
    50,
  );
  const record = await make();
  clearInterval(inserting);
  const app = record.files.find(({ content }) => content === "app");
  expect(app?.facts?.rows).toMatchObject({ "public.p": 500, "public.owned": 0 });
  expect(app?.facts?.entries).toBeGreaterThan(5);
  expect(await prove(record)).toMatchObject({
    verdict: "good",
    detail: expect.stringContaining("of the source") as string,
  });
  const facts = { ...app?.facts, rows: { ...app?.facts?.rows, "public.p": 501 } };
  rewrite(record, { files: record.files.map((file) => (file.content === "app" ? { ...file, facts } : file)) });
  expect(await prove(record)).toEqual({ verdict: "bad", detail: "app: public.p had 501 rows and has 500 here" });
  rewrite(record, {
    files: record.files.map((file) =>
      file.content === "app" ? { ...file, facts: { ...app?.facts, entries: 99 } } : file,
    ),
  });
  expect(await prove(record)).toMatchObject({ verdict: "bad", detail: expect.stringContaining("99 were") as string });
});

test("an orphan is no finding where Git allows it, and is one again when that has expired", async () => {
  psql("truncate c; set session_replication_role = replica; insert into c values (7000, null)");
  psql(
    "alter table c add constraint hard foreign key (p) references p not valid; update pg_constraint set convalidated = true where conname = 'hard'",
  );
  const record = await make();
  expect(await prove(record)).toMatchObject({
    verdict: "bad",
    detail: expect.stringContaining("foreign key") as string,
  });
  const entry = { from: "public.c.p", to: "public.p.id", owner: "product", expiresMs: Date.now() + 86_400_000 };
  expect(await prove(record, { allowed: [entry] })).toMatchObject({
    verdict: "good",
    detail: expect.stringContaining("orphans of public.c.p → public.p.id are allowed by product") as string,
  });
  const other = { ...entry, from: "public.c.q" };
  expect(await prove(record, { allowed: [other] })).toMatchObject({
    verdict: "bad",
    detail: "rows have no parent by the foreign key hard, public.c.p → public.p.id: it cannot be made",
  });
  expect(await prove(record, { allowed: [{ ...entry, expiresMs: Date.now() - 1 }] })).toMatchObject({ verdict: "bad" });
  psql("update pg_constraint set convalidated = false where conname = 'hard'");
  const unchecked = await make();
  expect(await prove(unchecked)).toMatchObject({ verdict: "bad" });
  expect(await prove(unchecked, { allowed: [entry] })).toMatchObject({ verdict: "good" });
  psql("alter table c drop constraint hard; truncate c");
  const sound = await make();
  expect(await prove(sound, { allowed: [{ ...entry, expiresMs: Date.now() - 1 }] })).toMatchObject({
    verdict: "good",
    detail: expect.stringContaining("public.c.p → public.p.id of product has expired, and counts no more") as string,
  });
  expect((await prove(sound, { allowed: "files/fk.toml is not there" })).detail).toContain("counts for nothing");
});

test("an extension that the image lacks is a finding of its own and no bad backup; one that the dump lacks is bad", async () => {
  expect(await prove(await make(), { extensions: ["pg_trgm"] })).toEqual({
    verdict: "bad",
    detail: "the extension pg_trgm is not in it",
  });
  psql("create extension pg_trgm");
  const record = await make();
  expect(await prove(record, { extensions: ["pg_trgm"] })).toMatchObject({ verdict: "good" });
  const started = docker(
    "run",
    "-d",
    "--entrypoint",
    "sh",
    IMAGE,
    "-c",
    "rm $(find / -name pg_trgm.control 2>/dev/null)",
  ).trim();
  docker("wait", started);
  docker("commit", "--change", 'ENTRYPOINT ["docker-entrypoint.sh"]', "--change", 'CMD ["postgres"]', started, BARE);
  docker("rm", started);
  const words =
    "the server that it is restored into has no extension pg_trgm: name an image that has it as verify.image";
  expect(await prove(record, {}, { image: BARE })).toEqual({
    verdict: "unknown",
    detail: `app: restore pre-data: ${words}`,
  });
  psql("drop extension pg_trgm");
  expect(await prove(await make(), { extensions: ["pg_trgm"] }, { image: BARE })).toEqual({
    verdict: "unknown",
    detail: words,
  });
});

test("false alarms of others: a schema public in the dump, a job's role, bytes that are no UTF-8", async () => {
  psql("create database raw encoding 'SQL_ASCII' template template0 locale 'C'");
  psql(String.raw`create table t as select convert_from('\xff'::bytea, 'SQL_ASCII') as x`, "raw");
  const record = await make();
  expect(await prove(record)).toMatchObject({ verdict: "good" });
  const dump = execFileSync("docker", [
    "exec",
    container,
    "pg_dump",
    "-h",
    "/tmp",
    "-U",
    "postgres",
    "-Fc",
    "-n",
    "public",
    "app",
  ]);
  replace(record, "app", dump);
  expect(await prove(record)).toMatchObject({ verdict: "good" });
  psql("drop database raw", "postgres");
});

test("a dump of a newer format is bad, unless it is restored with an image that somebody has named", async () => {
  const record = await make();
  const found = record.files.find(({ content }) => content === "app");
  const bytes = readFileSync(join(place, found?.file ?? ""));
  bytes[6] = 99;
  replace(record, "app", bytes);
  expect(await prove(record)).toMatchObject({
    verdict: "bad",
    detail: expect.stringContaining("unsupported version") as string,
  });
  expect(await prove(record, {}, { image: IMAGE })).toMatchObject({ verdict: "unknown" });
});

test("an empty database is none: a backup without one is bad", async () => {
  const record = await make();
  rewrite(record, { files: record.files.filter(({ kind }) => kind === "globals") });
  expect(await prove(record)).toEqual({ verdict: "bad", detail: "it holds no database" });
});

test("a server that trusts nobody is read with a password by one who may only read; refused, it says what is to be run there", async () => {
  docker(
    "exec",
    container,
    "sh",
    "-c",
    "sed -i 's/trust$/scram-sha-256/; s/^local.*/local all all trust/' /var/lib/postgresql/data/pg_hba.conf",
  );
  psql("select pg_reload_conf()");
  const refused = await make({ user: "reader", password: "wrong", databases: ["app"] }).catch(
    (error: unknown) => error,
  );
  expect(String(refused)).toContain("look at the server");
  expect(findAdvice(refused)?.join("\n")).toMatch(
    /create role "reader" login password[\s\S]*grant pg_read_all_data[\s\S]*host "app" "reader" 127\.0\.0\.1\/32 scram-sha-256/,
  );
  expect(psql("select count(*) from pg_roles where rolname = 'reader'")).toBe("0");
  const password = String.raw`p:w\ "'x`;
  psql(`create role reader login password '${password.replaceAll("'", "''")}'; grant pg_read_all_data to reader`);
  const record = await make({ user: "reader", password });
  expect(readdirSync(join(directory, "memory"))).toEqual([]);
  const globals = record.files.find(({ kind }) => kind === "globals");
  expect(readFileSync(join(place, globals?.file ?? ""), "utf8")).not.toContain("SCRAM-SHA-256");
  // The role that read it has no power, and the server that it is restored into has the source's own superuser.
  expect(await prove(record, {}, { settings: settings({ user: "reader" }) })).toMatchObject({ verdict: "good" });
});
