// The other kinds of stores on the real ones: MariaDB, Redis, volumes and commands, made, proved and restored into place by a real agent;
// what is damaged in ways that digests do not show is found out, and what is whole raises no alarm.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { docker } from "../../builders/node/postgres-node.ts";
import { PASSWORD, STORES_NODE, StoresNode } from "../../builders/node/stores-node.ts";

const node = new StoresNode();
const { orca, findContainer, findNewest, listJobs, readStore, maria, redisCli } = node;

async function make(service: string, store: string): Promise<string> {
  const { output, code } = await orca("backup", "run", service, store);
  expect(code, output).toBe(0);
  return output;
}

async function verify(service: string, store: string): Promise<{ code: number | null; said: string }> {
  const { code, output } = await orca("backup", "verify", service, store);
  return { code, said: output.trim().split("\n").at(-1) ?? "" };
}

/** A damaged file whose digest is right, so that only a restore can find it; it is gone when the work is done. */
async function withDamage(
  place: { service: string; store: string; ending: string },
  change: (bytes: Buffer) => Buffer,
  work: () => Promise<void>,
): Promise<void> {
  await make(place.service, place.store);
  const { record, read } = findNewest(place.service, place.store);
  const { files, ...rest } = read();
  const damaged = files.find(({ file }) => file.endsWith(place.ending) && !file.includes("accounts"));
  const path = join(record, "..", damaged?.file ?? "");
  const bytes = change(readFileSync(path));
  const measured = { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  writeFileSync(path, bytes);
  const changed = files.map((file) => (file === damaged ? { ...file, plain: measured, stored: measured } : file));
  writeFileSync(record, JSON.stringify({ ...rest, files: changed }));
  await work();
  for (const { file } of files) rmSync(join(record, "..", file));
  rmSync(record);
}

beforeAll(() => node.write());

afterAll(() => node.dispose());

test("the stores come up, and something is in them", async () => {
  await node.begin();
  await expect.poll(async () => (await orca("status")).code, { timeout: 120_000, interval: 1_000 }).toBe(0);
  maria(
    "use shop; create table item (id int primary key); insert into item values (1), (2); create table line (item int, foreign key (item) references item (id)); insert into line values (1); create view best as select * from item",
  );
  redisCli("set", "lasting", "1");
  const mail = findContainer("mail");
  docker(
    "exec",
    mail,
    "sh",
    "-c",
    "echo letter > /srv/mail/inbox; chown 1234:4321 /srv/mail/inbox; ln -s inbox /srv/mail/new",
  );
  docker("exec", mail, "sh", "-c", "for i in $(seq 60); do echo $i > /srv/index/$i; done");
});

test("a MariaDB with a password is dumped and proved; the password is in no argument, variable, log or file", async () => {
  const dumps: string[] = [];
  const watching = setInterval(() => {
    for (const id of listJobs().split("\n").filter(Boolean)) {
      try {
        dumps.push(docker("inspect", id), docker("top", id, "-eo", "args"));
      } catch {
        // It has ended meanwhile.
      }
    }
  }, 100);
  await make("maria", "db");
  clearInterval(watching);
  expect(dumps.join("")).not.toContain(JSON.stringify(PASSWORD).slice(1, -1));
  expect(dumps.join("")).not.toContain(PASSWORD);
  expect((await readStore("maria", "db")).backups[0]?.files.map((file) => file.replace(/.*_\d{4,6}/, ""))).toEqual([
    ".accounts.sql",
    ".sql",
  ]);
  expect(await verify("maria", "db")).toMatchObject({
    code: 0,
    said: expect.stringMatching(/: good: restored shop with 2 tables in /) as string,
  });
  expect(listJobs()).toBe("");
});

test.each<[string, (bytes: Buffer) => Buffer, RegExp]>([
  ["cut in the middle", (bytes) => bytes.subarray(0, bytes.length * 0.6), /: bad: shop: its end is missing/],
  [
    "cut between two statements",
    (bytes) => bytes.subarray(0, bytes.indexOf("-- Dump completed")),
    /: bad: shop: its end/,
  ],
  [
    "changed by a bit in a statement",
    (bytes) => {
      const at = bytes.indexOf("CREATE TABLE `item`") + 3;
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      return bytes;
    },
    /: bad: shop: restore: ERROR 1064/,
  ],
  [
    "nearly empty",
    () => Buffer.from("-- MariaDB dump\n-- Dump completed\n"),
    /: bad: shop: of 3 tables and views it has 0/,
  ],
  [
    "of a newer server",
    (bytes) =>
      Buffer.from(
        bytes
          .toString()
          .replaceAll(/utf8mb4_general_ci|latin1_swedish_ci|utf8mb4_uca1400_ai_ci/g, "utf8mb4_9999_ci")
          .replaceAll(/CHARSET=\w+/g, "CHARSET=utf9mb9"),
      ),
    /: bad: shop: restore: ERROR/,
  ],
])("a MariaDB dump that is %s is found out, although its digest is right", async (_name, change, words) => {
  await withDamage({ service: "maria", store: "db", ending: ".sql" }, change, async () => {
    const { code, said } = await verify("maria", "db");
    expect(said).toMatch(words);
    expect(code).toBe(1);
  });
});

test("one orphan row in a MariaDB is found out, although a dump is loaded without looking", async () => {
  maria("use shop; set foreign_key_checks = 0; insert into line values (7)");
  await make("maria", "db");
  expect(await verify("maria", "db")).toMatchObject({
    code: 1,
    said: expect.stringContaining(": bad: shop: 1 row has no parent by the foreign key line_ibfk_1") as string,
  });
  maria("delete from shop.line where item = 7");
});

test("a MariaDB that refuses says what is to be run there, and Orca runs none of it", async () => {
  maria("create user dumper@'127.0.0.1' identified by 'x'");
  const path = join(node.directory, "maria.toml");
  const before = readFileSync(path, "utf8");
  writeFileSync(path, before.replace("connect = {", 'connect = { user = "dumper",'));
  await expect
    .poll(async () => (await orca("backup", "run", "maria", "db")).output, { timeout: 60_000, interval: 2_000 })
    .toMatch(/create user 'dumper'@'127\.0\.0\.1' identified by[\s\S]*grant select, show view/);
  expect(maria("show grants for dumper@'127.0.0.1'")).not.toContain("SELECT");
  writeFileSync(path, before);
});

test("a Redis with a password is dumped and proved, without what has expired since", async () => {
  redisCli("set", "passing", "1", "EX", "4");
  await make("cache", "keys");
  await expect.poll(() => redisCli("get", "passing"), { timeout: 10_000 }).toBe("");
  expect(await verify("cache", "keys")).toMatchObject({
    code: 0,
    said: expect.stringMatching(/: good: loaded 1 key of [12] in /) as string,
  });
});

test.each<[string, (bytes: Buffer) => Buffer, RegExp]>([
  ["cut", (bytes) => bytes.subarray(0, bytes.length - 12), /: bad: redis-check-rdb: /],
  [
    "changed by a bit",
    (bytes) => {
      bytes[bytes.length - 12] = (bytes[bytes.length - 12] ?? 0) ^ 1;
      return bytes;
    },
    /: bad: redis-check-rdb: /,
  ],
  [
    "of a newer version",
    (bytes) => Buffer.from(bytes.toString("latin1").replace(/^REDIS\d{4}/, "REDIS9999"), "latin1"),
    /: bad: redis-check-rdb: /,
  ],
])("a Redis dump that is %s is found out, although its digest is right", async (_name, change, words) => {
  await withDamage({ service: "cache", store: "keys", ending: ".rdb" }, change, async () => {
    const { code, said } = await verify("cache", "keys");
    expect(said).toMatch(words);
    expect(code).toBe(1);
  });
});

test("an empty Redis dump is whole by its form, and a finding where keys were there", async () => {
  redisCli("flushall");
  await make("cache", "keys");
  const empty = readFileSync(
    join(findNewest("cache", "keys").record, "..", findNewest("cache", "keys").read().files[0]?.file ?? ""),
  );
  expect(await verify("cache", "keys")).toMatchObject({ code: 0 });
  redisCli("set", "lasting", "1");
  await withDamage(
    { service: "cache", store: "keys", ending: ".rdb" },
    () => empty,
    async () => {
      expect((await verify("cache", "keys")).said).toContain(
        "bad: it is empty, and 1 key that never expire were there",
      );
    },
  );
});

test("volumes become one tar with owners and links, and stock tar makes them anew", async () => {
  await make("mail", "files");
  const { record, read } = findNewest("mail", "files");
  const path = join(record, "..", read().files[0]?.file ?? "");
  const listed = execFileSync("tar", ["--list", "--verbose", "--numeric-owner", "--file", path], { encoding: "utf8" });
  expect(listed).toMatch(/1234\/4321 .* srv\/mail\/inbox$/m);
  expect(listed).toMatch(/srv\/mail\/new -> inbox$/m);
  expect(await verify("mail", "files")).toMatchObject({
    code: 0,
    said: expect.stringMatching(/: good: listed 64 entries and compared 20 files in /) as string,
  });
});

test.each<[string, (bytes: Buffer) => Buffer, RegExp]>([
  ["cut", (bytes) => bytes.subarray(0, bytes.length * 0.5), /: bad: (?:\d+ entries are in it, and 64 were|list it: )/],
  [
    "of other content",
    (bytes) =>
      Buffer.from(
        bytes
          .toString("latin1")
          .replaceAll(/\n(\d+)\n?\0{400}/g, "$&")
          .replaceAll(/(\0)([1-9]\d?)\n\0/g, "$1x\n\0"),
        "latin1",
      ),
    /: bad: /,
  ],
])("a tar that is %s is found out, although its digest is right", async (_name, change, words) => {
  await withDamage({ service: "mail", store: "files", ending: ".tar" }, change, async () => {
    const { code, said } = await verify("mail", "files");
    expect(said).toMatch(words);
    expect(code).toBe(1);
  });
});

test("a command's output is the backup: beside the service or in it, with hooks around it; nobody can judge it further", async () => {
  await make("mail", "beside");
  await make("mail", "inside");
  const read = (store: string): string => {
    const newest = findNewest("mail", store);
    return readFileSync(join(newest.record, "..", newest.read().files[0]?.file ?? ""), "utf8");
  };
  expect(read("beside")).toBe("letter\n");
  expect(read("inside")).toBe("frozen\n");
  // The hook after it has run.
  expect(() => docker("exec", findContainer("mail"), "test", "-e", "/tmp/own")).toThrow("Command failed");
  expect(await verify("mail", "beside")).toMatchObject({
    code: 3,
    said: expect.stringContaining("cannot be judged: its bytes are what was written") as string,
  });
  expect(listJobs()).toBe("");
});

/** The volumes that a service runs with. */
function mounted(service: string): string[] {
  const format = "{{range .Mounts}}{{println .Name}}{{end}}";
  return docker("inspect", "-f", format, findContainer(service)).split("\n").filter(Boolean).toSorted();
}

test("a MariaDB is restored into place: accounts of that day, the root of today, events and views, and the old volume is as it was", async () => {
  maria(
    "create user clerk@'%' identified by 'of-that-day'; grant select on shop.* to clerk@'%'; create event shop.tick on schedule every 1 day do set @a = 1",
  );
  // A backup of a day on which root had another password.
  maria("set password for root@'%' = password('old')");
  await make("maria", "db");
  maria(`set password for root@'%' = password('${PASSWORD.replaceAll(/['\\]/g, String.raw`\$&`)}')`);
  expect(await verify("maria", "db")).toMatchObject({ code: 0 });
  maria("drop user clerk@'%'; drop table shop.line; delete from shop.item; create table shop.after_it (id int)");
  const { code, output } = await orca("backup", "restore", "maria");
  expect({ code, output }).toMatchObject({ code: 0 });
  expect(mounted("maria")).toEqual([`${STORES_NODE}-maria.r2`]);
  expect(maria("select count(*) from shop.best; select count(*) from shop.line").split("\n")).toEqual(["2", "1"]);
  expect(maria("select concat(event_name, ' ', status) from information_schema.events")).toBe("tick ENABLED");
  expect(maria("show grants for clerk@'%'")).toContain("GRANT SELECT ON `shop`.*");
  expect(maria("select count(*) from mysql.global_priv where user = 'orca_restore'")).toBe("0");
  expect(maria("show databases").split("\n")).not.toContain("orca_restore");
  const hashes =
    "select count(distinct json_value(priv, '$.authentication_string')) from mysql.global_priv where user = 'root' and host in ('localhost', '%')";
  expect(maria(hashes)).toBe("1");
  expect((await orca("backup", "restore", "maria", "--use", `${STORES_NODE}-maria`)).code).toBe(0);
  await expect.poll(() => maria("select count(*) from shop.after_it"), { timeout: 30_000 }).toBe("0");
});

test("a Redis with a log of commands is restored into place: what the log said since does not come back", async () => {
  redisCli("set", "lasting", "before");
  await make("cache", "keys");
  expect(await verify("cache", "keys")).toMatchObject({ code: 0 });
  redisCli("set", "lasting", "after");
  redisCli("set", "other", "1");
  const { code, output } = await orca("backup", "restore", "cache");
  expect({ code, output }).toMatchObject({ code: 0 });
  expect(mounted("cache")).toEqual([`${STORES_NODE}-cache.r2`]);
  expect([redisCli("get", "lasting"), redisCli("get", "other"), redisCli("config", "get", "appendonly")]).toEqual([
    "before",
    "",
    "appendonly\nyes",
  ]);
  // It is the service's own: it writes there, and reads it again.
  redisCli("set", "since", "1");
  docker("restart", findContainer("cache"));
  await expect.poll(() => redisCli("get", "since"), { timeout: 30_000 }).toBe("1");
});

test("two volumes are restored into place together, with owners and links, and go back together", async () => {
  await make("mail", "files");
  expect(await verify("mail", "files")).toMatchObject({ code: 0 });
  docker("exec", findContainer("mail"), "sh", "-c", "rm -r /srv/mail/* /srv/index/*; echo new > /srv/mail/after");
  const planned = await orca("backup", "restore", "mail", "--store", "files", "--dry-run");
  expect(planned.output).toContain(
    `make the volumes ${STORES_NODE}-mail.r2 beside ${STORES_NODE}-mail and ${STORES_NODE}-mail-index.r2 beside`,
  );
  expect((await orca("backup", "restore", "mail", "--store", "files")).code).toBe(0);
  expect(mounted("mail")).toEqual([`${STORES_NODE}-mail-index.r2`, `${STORES_NODE}-mail.r2`]);
  const look = "stat -c '%u:%g %a' /srv/mail/inbox; readlink /srv/mail/new; cat /srv/mail/new; ls /srv/index | wc -l";
  expect(docker("exec", findContainer("mail"), "sh", "-c", look).trim().split("\n")).toEqual([
    "1234:4321 644",
    "inbox",
    "letter",
    "60",
  ]);
  expect((await orca("backup", "restore", "mail", "--use", `${STORES_NODE}-mail`)).code).toBe(0);
  await expect
    .poll(() => mounted("mail"), { timeout: 30_000 })
    .toEqual([`${STORES_NODE}-mail`, `${STORES_NODE}-mail-index`]);
});

test("a command's backup has no restore of its own: the lines for a person are said", async () => {
  // The volume that went back into force has lost it.
  docker("exec", findContainer("mail"), "sh", "-c", "echo letter > /srv/mail/inbox");
  await make("mail", "beside");
  const { code, output } = await orca("backup", "restore", "mail", "--store", "beside", "--at", "2100-01-01");
  expect(code).toBe(1);
  expect(output).toContain("mail cannot be restored into place: its backup is what cat has written");
  expect(output).toMatch(/cat backup_\d+_\d+\.dump \| …/);
});
