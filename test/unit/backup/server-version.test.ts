// Which servers take which dumps, and what the heads of dumps say of the server that wrote them.

import { expect, test } from "vitest";

import {
  nameMysqlVersion,
  readMysqlVersion,
  readRedisVersion,
  refuseVersion,
} from "../../../agent/backup/core/server-version.ts";
import { readArchiveHead } from "../../../agent/backup/engines/postgres-archive.ts";

test.each([
  ["PostgreSQL", "15.18", "15.2", undefined],
  ["PostgreSQL", "15.18", "16.1", undefined],
  ["PostgreSQL", "16.1", "15.18", "which is older"],
  ["Redis", "7.0.15", "7.0.2", undefined],
  ["Redis", "7.2.0", "7.0.15", "which is older"],
  ["Redis", "7.0.15", "8.0.0", undefined],
])("%s %s into %s: %s", (family, from, to, words) => {
  const said = refuseVersion({ family, text: from }, { family, text: to });
  if (words === undefined) expect(said).toBe(undefined);
  else expect(said).toContain(words);
});

test("MariaDB and MySQL take no dumps of each other, and no older one takes a newer one's", () => {
  const [mysql, maria] = [nameMysqlVersion("8.4.2"), nameMysqlVersion("10.11.6-MariaDB-0+deb12u1")];
  expect(refuseVersion(mysql, maria)).toBe(
    "the backup is of MySQL 8.4.2, and the service's image has MariaDB 10.11.6-MariaDB-0+deb12u1: give the service the image that the backup was made with",
  );
  expect(refuseVersion(maria, nameMysqlVersion("10.6.1-MariaDB"))).toContain("which is older");
  expect(refuseVersion(maria, nameMysqlVersion("11.4.2-MariaDB"))).toBe(undefined);
  expect(refuseVersion(undefined, maria)).toBe(undefined);
});

test("the heads say which server wrote them, and one that is none says nothing", () => {
  const sql =
    "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n-- Server version\t10.11.6-MariaDB-0+deb12u1\n";
  expect(readMysqlVersion(Buffer.from(sql))).toEqual({ family: "MariaDB", text: "10.11.6-MariaDB-0+deb12u1" });
  const rdb = Buffer.from("REDIS0010\xfa\x09redis-ver\x067.0.15\xfa\x0aredis-bits\xc0@", "latin1");
  expect(readRedisVersion(rdb)).toEqual({ family: "Redis", text: "7.0.15" });
  const none = Buffer.from("nothing of that kind");
  expect([readMysqlVersion(none), readRedisVersion(none), readArchiveHead(none)]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});
