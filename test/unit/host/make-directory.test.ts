// Directories where none can be: what the kernel shows as files is refused at once, and nothing looks for its end for ever.

import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { ReferenceSorter } from "../../../agent/backup/objects/object-references.ts";
import { openDirectoryTarget } from "../../../agent/backup/objects/restore-objects.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import { takeLock } from "../../../agent/host/files/lock.ts";
import {
  findPlaceFault,
  isKernelPlace,
  makeDirectory,
  makeDirectorySync,
} from "../../../agent/host/files/make-directory.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-make-"));
});
afterEach(() => rmSync(root, { recursive: true }));

test("every level is made with its mode, and one that is there is fine", async () => {
  await makeDirectory(join(root, "a/b/c"), 0o700);
  await makeDirectory(join(root, "a/b/c"), 0o700);
  expect(statSync(join(root, "a/b")).mode & 0o777).toBe(0o700);
});

test.each(["/proc/x", "/proc/x/y/z", "/proc/self/fd/x"])("%s is refused, and said why", async (path) => {
  await expect(makeDirectory(path, 0o700)).rejects.toThrow(/ cannot be made: \/proc.* is the kernel's: name another/);
});

test.each(["/proc/x", "/proc/x/y/z"])("nor is a lock of an agent looked for in %s for ever", (directory) => {
  const holder = { pid: process.pid, command: "test", since: "now" };
  expect(() => takeLock({ directory, name: "vm1", what: "vm1", holder })).toThrow("cannot be made");
});

test("at once or not, the same is made", () => {
  makeDirectorySync(join(root, "a/b/c"), 0o700);
  makeDirectorySync(join(root, "a/b/c"), 0o700);
  expect(statSync(join(root, "a/b")).mode & 0o777).toBe(0o700);
  writeFileSync(join(root, "file"), "");
  expect(() => makeDirectorySync(join(root, "file/x"), 0o700)).toThrow("ENOTDIR");
});

test("a file in the way, and a link that leads nowhere, are the kernel's errors", async () => {
  writeFileSync(join(root, "file"), "");
  symlinkSync(join(root, "nowhere"), join(root, "link"));
  await expect(makeDirectory(join(root, "file/x"), 0o700)).rejects.toMatchObject({ code: "ENOTDIR" });
  await expect(makeDirectory(join(root, "link/x"), 0o700)).rejects.toThrow("EEXIST");
});

test("what a link leads to counts, and not its own name", async () => {
  symlinkSync("/proc/self", join(root, "elsewhere"));
  expect(await findPlaceFault(join(root, "elsewhere/x/y"))).toMatch(/^nothing can be stored in .*elsewhere\/x\/y: /);
  expect(await findPlaceFault(join(root, "new/deep"))).toBeUndefined();
  expect(
    ["/proc", "/sys/x", "/dev/x", "/dev/shmem", "/dev/shm", "/dev/shm/x", "/process/x", "/var/dev"].filter(
      isKernelPlace,
    ),
  ).toEqual(["/proc", "/sys/x", "/dev/x", "/dev/shmem"]);
});

test("a restore, a spool and a repository there end with it", async () => {
  await expect(openDirectoryTarget("/proc/x").expectEmpty()).rejects.toThrow("nothing can be stored in /proc/x");
  await expect(ReferenceSorter.open("/proc/x")).rejects.toThrow("cannot be made");
  const folder = { node: "vm1", service: "pg", store: "data" };
  await expect(openLocalRepository("far", "/proc/x").create(folder, "a.dump")).rejects.toThrow("cannot be made");
});
