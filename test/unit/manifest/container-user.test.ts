// Who a container runs as, looked up as the engine does it.

import { expect, test } from "vitest";

import { findContainerUser, resolveUser } from "../../../agent/apply/container-user.ts";
import { USER_IMAGE } from "../../builders/engine/user-image.ts";

const PASSWD = USER_IMAGE.files["/etc/passwd"];
const GROUP = USER_IMAGE.files["/etc/group"];

test.each([
  ["app", { uid: 4021, gid: 4022 }],
  ["app:readers", { uid: 4021, gid: 4055 }],
  ["app:77", { uid: 4021, gid: 77 }],
  ["4021", { uid: 4021, gid: 4022 }],
  ["99", { uid: 99, gid: 0 }],
  ["99:apps", { uid: 99, gid: 4022 }],
  ["99:98", { uid: 99, gid: 98 }],
  ["root", { uid: 0, gid: 0 }],
  [":readers", { uid: 0, gid: 4055 }],
  ["nobody", undefined],
  ["app:nobody", undefined],
  ["99999999999", undefined],
])("%s", (user, expected) => {
  expect(resolveUser(user, PASSWD, GROUP)).toEqual(expected);
});

test("an image without such files knows numbers alone; lines that make no sense are passed over", () => {
  expect(resolveUser("app", "", "")).toBeUndefined();
  expect(resolveUser("1000:1000", "", "")).toEqual({ uid: 1000, gid: 1000 });
  const odd = ":x:5:5::/:\napp\napp:x::1::/:\napp:x:-1:1::/:\r\n# app:x:7:7\napp:x:4021:4022::/home/app:/bin/sh\r\n";
  expect(resolveUser("app", odd, "")).toEqual({ uid: 4021, gid: 4022 });
});

test("nothing is read of a container that runs as root, and no group file without a group", async () => {
  const reads: string[] = [];
  const open = (user: string): Parameters<typeof findContainerUser>[0] => ({
    inspectContainer: async () => ({ user }) as never,
    readFile: async (_id, path) => {
      reads.push(path);
      return Buffer.from(USER_IMAGE.files[path as "/etc/passwd"]);
    },
  });
  for (const user of ["", "0", "0:0"]) expect(await findContainerUser(open(user), "id")).toEqual({ uid: 0, gid: 0 });
  expect(reads).toEqual([]);
  expect(await findContainerUser(open("app"), "id")).toEqual({ uid: 4021, gid: 4022 });
  expect(reads).toEqual(["/etc/passwd"]);
  await findContainerUser(open("app:readers"), "id");
  expect(reads.slice(1)).toEqual(["/etc/passwd", "/etc/group"]);
});

test("a container that is gone is said, and nothing is guessed", async () => {
  const reader = { inspectContainer: async () => undefined, readFile: async () => undefined };
  await expect(findContainerUser(reader, "abc")).rejects.toThrow("there is no such container");
});
