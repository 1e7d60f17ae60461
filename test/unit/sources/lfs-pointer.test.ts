// Git LFS pointers, told from files that look like one.

import { expect, test } from "vitest";

import { isLfsPointer } from "../../../shared/manifest/lfs-pointer.ts";

const OID = `oid sha256:${"4d7a2146".repeat(8)}`;
const HEAD = "version https://git-lfs.github.com/spec/v1";

test.each([
  `${HEAD}\n${OID}\nsize 12345\n`,
  `${HEAD}\next-0-foo sha256:${"a".repeat(64)}\n${OID}\nsize 1\n`,
  `${HEAD}\r\n${OID}\r\nsize 12345\r\n`,
  `version https://hawser.github.com/spec/v1\n${OID}\nsize 1\n`,
])("a pointer: %j", (text) => {
  expect([isLfsPointer(text), isLfsPointer(Buffer.from(text))]).toEqual([true, true]);
});

test.each([
  "",
  "server { listen 80; }\n",
  `${HEAD}\n`,
  `# ${HEAD}\n${OID}\n`,
  `see\n${HEAD}\n${OID}\nsize 1\n`,
  `${HEAD}\noid sha256:short\nsize 1\n`,
  `${HEAD}\n${OID}\n${"x".repeat(1_024)}`,
])("a file: %j", (text) => {
  expect([isLfsPointer(text), isLfsPointer(Buffer.from(text))]).toEqual([false, false]);
});
