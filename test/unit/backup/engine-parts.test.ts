// The parts of the engines that are pure: heads of archives, marks that are no part of a dump, what a tar says while it goes through,
// names, refusals, and foreign keys that a restore could not make.

import { pack } from "tar-stream";
import { describe, expect, test } from "vitest";

import { isBackupName } from "../../../agent/backup/core/backup-name.ts";
import { Gate } from "../../../agent/backup/dump-gate.ts";
import { runHooks } from "../../../agent/backup/hooks.ts";
import { mysql } from "../../../agent/backup/engines/mysql.ts";
import { describeMysqlAccess, isMysqlAccessFault } from "../../../agent/backup/engines/mysql-access.ts";
import { describePostgresAccess, isAccessFault } from "../../../agent/backup/engines/postgres-access.ts";
import { readEntryCount } from "../../../agent/backup/engines/postgres-archive.ts";
import { compareRows } from "../../../agent/backup/engines/postgres-words.ts";
import { postgres } from "../../../agent/backup/engines/postgres.ts";
import { dropMark, redis } from "../../../agent/backup/engines/redis.ts";
import type { StoreSettings } from "../../../agent/backup/engines/store-engine.ts";
import { TarFacts } from "../../../agent/backup/engines/tar-facts.ts";
import { files as volumes } from "../../../agent/backup/engines/volume-files.ts";
import { describeUnplaced } from "../../../agent/backup/restore/data-places.ts";
import { describeNow, parseMoment } from "../../../agent/cli/backup/restore-command.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";
import { Allowlist, readRefusedKeys } from "../../../agent/backup/verify/postgres-orphans.ts";
import type { RestoreStatus } from "../../../shared/state/restore.ts";
import type { HookPlan } from "../../../shared/state/backup.ts";

async function* pieces(bytes: Buffer, size: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function collect(output: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of output) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}

/** As pg_dump writes it: a sign, then four bytes. */
function int(value: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt32LE(Math.abs(value), 1);
  bytes[0] = value < 0 ? 1 : 0;
  return bytes;
}

function string(text: string): Buffer {
  return Buffer.concat([int(text.length), Buffer.from(text)]);
}

function head(minor: number, entries: number): Buffer {
  const compression = minor >= 15 ? Buffer.from([1]) : int(-1);
  const times = Array.from({ length: 7 }, () => int(3));
  const start = Buffer.concat([Buffer.from("PGDMP"), Buffer.from([1, minor, 0, 4, 8, 1])]);
  return Buffer.concat([start, compression, ...times, string("app"), string("15.1"), string("15.1"), int(entries)]);
}

test.each([14, 15, 16])("the entries of an archive of the format 1.%i are read from its head", (minor) => {
  expect(readEntryCount(head(minor, 321))).toBe(321);
});

test.each([
  ["cut", head(14, 5).subarray(0, 60)],
  ["of another kind", Buffer.from("<html>".repeat(99))],
  ["empty", Buffer.alloc(0)],
])("a head that is %s has none", (_name, bytes) => expect(readEntryCount(bytes)).toBe(undefined));

describe("a snapshot of Redis", () => {
  const snapshot = Buffer.concat([Buffer.from("REDIS0010 anything"), Buffer.from([0xff]), Buffer.alloc(8, 7)]);
  const mark = Buffer.from("0123456789abcdef0123456789abcdef01234567");

  test.each([1, 7, 4_096])("loses the mark that follows it, in pieces of %i bytes", async (size) => {
    expect(await collect(dropMark(pieces(Buffer.concat([snapshot, mark]), size)))).toEqual(snapshot);
    expect(await collect(dropMark(pieces(snapshot, size)))).toEqual(snapshot);
  });

  test("that was cut is none", async () => {
    await expect(collect(dropMark(pieces(snapshot.subarray(0, -3), 5)))).rejects.toThrow("end is missing");
  });
});

test("a tar is counted and a few of its files are remembered, whatever the pieces it comes in; other bytes pass", async () => {
  const archive = pack();
  archive.entry({ name: "d/", type: "directory" });
  for (let at = 0; at < 50; at += 1) archive.entry({ name: `d/${at}` }, `content ${at}`);
  archive.entry({ name: "d/strange\nname" }, "x");
  archive.finalize();
  const bytes = await collect(archive);
  const seen: unknown[] = [];
  for (const size of [100, 512, 1_000_000]) {
    const facts = new TarFacts(pieces(bytes, size));
    expect(await collect(facts.output)).toEqual(bytes);
    seen.push(facts.read());
    expect(facts.read().entries).toBe(52);
    expect(facts.read().samples).toHaveLength(20);
  }
  expect(seen[1]).toEqual(seen[0]);
  expect(seen[2]).toEqual(seen[0]);
  const strange = new TarFacts(pieces(Buffer.alloc(4_096, 1), 512));
  expect(await collect(strange.output)).toEqual(Buffer.alloc(4_096, 1));
  expect(strange.read()).toEqual({});
});

test.each<[string, string, boolean]>([
  ["postgres", "pg_dump_20261120_0217", true],
  ["postgres", "pg_dump_20261120_021733", true],
  ["postgres", "backup_20261120_0217", false],
  ["postgres", "pg_dump_20261320_0217", false],
  ["postgres", "pg_dump_20260230_0217", false],
  ["postgres", "pg_dump_20261120_2560", false],
  ["postgres", "pg_dump_latest", false],
  ["mysql", "mysql_dump_20261120_0217", true],
  ["redis", "redis_20261120_0217", true],
  ["files", "files_20261120_0217", true],
  ["command", "backup_20261120_0217", true],
])("of %s the name %s is one: %s", (engine, name, isOne) => {
  expect(isBackupName(engine, name)).toBe(isOne);
});

test("a form may have several beginnings, and one that is not at the start", () => {
  const end = { exitCode: 0, stderr: "", outOfMemory: false };
  const judge = (bytes: Buffer): unknown => {
    const form = {
      heads: [
        { at: 0, text: "-- My" },
        { at: 4, text: "ustar" },
      ],
      tail: "",
      minBytes: 1,
      warnCodes: [1],
    };
    const gate = new Gate(form);
    for (let at = 0; at < bytes.length; at += 3) gate.take(bytes.subarray(at, at + 3));
    return gate.judge(end);
  };
  expect(judge(Buffer.from("-- MySQL dump"))).toEqual({ warning: undefined });
  expect(judge(Buffer.from("xxxxustar"))).toEqual({ warning: undefined });
  expect(judge(Buffer.from("ustarxxxx"))).toContain("does not begin");
});

test("rows are compared in statements of a length that the kernel takes", () => {
  const rows = Object.fromEntries(
    Array.from({ length: 2_000 }, (_value, at) => [`${"s".repeat(63)}.${"t".repeat(59)}${at}`, at]),
  );
  const statements = [...compareRows(rows)];
  expect(statements).toHaveLength(10);
  for (const statement of statements) expect(statement.length).toBeLessThan(131_072);
  expect([...compareRows({ "public.o'brien": 3 })][0]).toContain("('public.o''brien',3)");
  expect([...compareRows({})]).toEqual([]);
});

test("keys that a restore could not make are read with their columns, quoted or not", () => {
  const said = `pg_restore: error: could not execute query: ERROR:  insert or update on table "c" violates foreign key constraint "c_p_fkey"
DETAIL:  Key (p)=(7) is not present in table "p".
Command was: ALTER TABLE ONLY public.c
    ADD CONSTRAINT c_p_fkey FOREIGN KEY (p) REFERENCES public.p(id);


pg_restore: error: could not execute query: ERROR:  insert or update on table "Big C" violates foreign key constraint "Own Key"
DETAIL:  Key (a, "B")=(7, 8) is not present in table "p".
Command was: ALTER TABLE ONLY "My S"."Big C"
    ADD CONSTRAINT "Own Key" FOREIGN KEY (a, "B") REFERENCES public.p(x, "Y");


pg_restore: warning: errors ignored on restore: 2`;
  expect(readRefusedKeys(said)).toEqual({
    ignored: 2,
    keys: [
      { name: "c_p_fkey", from: "public.c.p", to: "public.p.id" },
      { name: "Own Key", from: "My S.Big C.a,B", to: "public.p.x,Y" },
    ],
  });
  expect(readRefusedKeys("")).toEqual({ keys: [], ignored: undefined });
});

test("an entry counts until the end of its day, and says so when it is over", () => {
  const entry = { from: "a.b.c", to: "d.e.f", owner: "product", expiresMs: 1_000 };
  const key = { name: "k", from: "a.b.c", to: "d.e.f" };
  expect(new Allowlist([entry], 999).allows(key)).toBe(true);
  const expired = new Allowlist([entry], 1_000);
  expect(expired.allows(key)).toBe(false);
  expect(expired.notes).toEqual(["a.b.c → d.e.f of product has expired, and counts no more"]);
  expect(new Allowlist([entry], 0).allows({ ...key, to: "d.e.g" })).toBe(false);
});

test.each([
  ['FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "x"', true],
  ['FATAL:  password authentication failed for user "x"', true],
  ["connection to server at 127.0.0.1, port 5432 failed: fe_sendauth: no password supplied", true],
  ["ERROR:  permission denied for table t", true],
  ["connection refused", false],
])("PostgreSQL that says %s refuses: %s", (said, refuses) => expect(isAccessFault(said)).toBe(refuses));

test.each([
  ["ERROR 1045 (28000): Access denied for user", true],
  ["ERROR 2002 (HY000): Can't connect to server", false],
])("MariaDB that says %s refuses: %s", (said, refuses) => expect(isMysqlAccessFault(said)).toBe(refuses));

test("a wrong password where connect names one is said first, before what makes a role", () => {
  const settings = { user: "shop", databases: undefined, passwordPath: "/prod/pg/SHOP" };
  const wrong = 'FATAL:  password authentication failed for user "shop"';
  const first = /^the value of \/prod\/pg\/SHOP is not shop's password: set the one that the server has/;
  expect(describePostgresAccess(settings, wrong)[0]).toMatch(first);
  expect(describePostgresAccess(settings, wrong).join()).toContain("create role");
  expect(describePostgresAccess({ ...settings, passwordPath: undefined }, wrong)[0]).toMatch(/^in the server/);
  expect(describePostgresAccess(settings, "no pg_hba.conf entry for host")[0]).toMatch(/^in the server/);
  expect(describeMysqlAccess(settings, "ERROR 1045 (28000): Access denied for user")[0]).toMatch(first);
  expect(describeMysqlAccess(settings, "ERROR 1142 (42000): SELECT command denied")[0]).toMatch(/^in the server/);
});

test("a bucket is brought back into an empty place, and that is said with its name", () => {
  const plan = buildStorePlan({ service: "s3", engine: "objects" });
  expect(describeUnplaced(plan)).toContain("orca backup restore s3 --into s3://BUCKET");
});

test.each(["2027-02-30", "2027-02-30T02:17Z", "2027-13-01", "tomorrow"])("%s is no time", (text) => {
  expect(() => parseMoment(text)).toThrow(`${text} is no time`);
});

test("a time is one of UTC, or of its zone", () => {
  expect(parseMoment("2028-02-29")).toBe(Date.UTC(2028, 1, 29));
  expect(parseMoment("2026-11-20T23:30-02:00")).toBe(Date.UTC(2026, 10, 21, 1, 30));
});

test("how far a restore is, is said at once; when it ends, once that can be known", () => {
  const progress = { doing: "restores", doneBytes: 100, totalBytes: 1_000, sinceMs: 0 };
  const at = (nowMs: number, doneBytes = 100): string =>
    describeNow({ stage: "filling", to: "v", progress: { ...progress, doneBytes } } as RestoreStatus, nowMs);
  expect(at(500)).toBe("restores: 100 B of 1000 B, 200 B/s");
  expect(at(10_000, 1)).not.toContain("done in");
  expect(at(10_000)).toBe("restores: 100 B of 1000 B, 10 B/s, done in about 1m 30s");
});

test("hooks end at the first that matters, and one that may fail is passed over", async () => {
  const ran: string[] = [];
  const run = async ([program = ""]: readonly string[]): Promise<{ exitCode: number; output: string }> => {
    ran.push(program);
    if (program === "hangs") throw new Error("no end within 5000ms");
    return { exitCode: program === "fails" ? 3 : 0, output: "why\n" };
  };
  const hook = (program: string, onError: HookPlan["onError"]): HookPlan => ({
    argv: [program],
    timeoutMs: 5_000,
    onError,
  });
  const [failed, hung] = ["fails ended with exit code 3: why", "hangs: no end within 5000ms"];
  expect(await runHooks([hook("fails", "continue"), hook("hangs", "continue"), hook("works", "abort")], run)).toEqual({
    fault: `${failed}; ${hung}`,
  });
  expect(await runHooks([hook("fails", "abort"), hook("works", "abort")], run)).toEqual({
    refused: failed,
    fault: failed,
  });
  expect(await runHooks([hook("hangs", "abort")], run)).toEqual({ refused: hung, fault: hung });
  expect(ran).toEqual(["fails", "hangs", "works", "fails", "hangs"]);
});

test("what restores a backup without Orca ends at the first error, and decrypts where it has to", () => {
  const measured = { bytes: 1, sha256: "0".repeat(64) };
  const file = (name: string, kind: "database" | "globals" | "keys" | "files", content: string) => ({
    file: name,
    kind,
    content,
    plain: measured,
    stored: measured,
  });
  const settings: StoreSettings = {
    user: "owner",
    databases: undefined,
    command: undefined,
    exec: false,
    volumes: [{ name: "mail", target: "/srv/mail" }],
    minBytes: undefined,
    password: undefined,
  };
  const [createdb, restore] = postgres.describeRestore(settings, [file("x.dump.age", "database", "app")], true);
  expect(createdb).toBe("createdb -h 127.0.0.1 -U owner -T template0 -- app");
  expect(restore).toMatch(/^age -d -i KEY x\.dump\.age \| pg_restore .*--exit-on-error -d app$/);
  const lines = mysql.describeRestore(
    settings,
    [file("a.sql", "globals", "accounts"), file("d.sql", "database", "d")],
    false,
  );
  expect(lines).toEqual([
    "cat d.sql | mariadb -h 127.0.0.1 -u owner -p",
    "cat a.sql | mariadb -h 127.0.0.1 -u owner -p",
  ]);
  const ofMysql = { ...file("d.sql", "database", "d"), facts: { client: "mysql" } };
  expect(mysql.describeRestore(settings, [ofMysql], false)).toEqual(["cat d.sql | mysql -h 127.0.0.1 -u owner -p"]);
  expect(redis.describeRestore(settings, [file("r.rdb", "keys", "all")], false)[0]).toBe("cat r.rdb > dump.rdb");
  expect(volumes.describeRestore(settings, [file("v.tar", "files", "/srv/mail")], false)[0]).toContain(
    "docker run --rm -i -v mail:/srv/mail IMAGE tar --extract",
  );
});
