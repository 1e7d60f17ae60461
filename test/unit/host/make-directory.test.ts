// Directories where none can be: what the kernel shows as files is refused at once, and nothing looks for its end for ever.

import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { ReferenceSorter } from "../../../agent/backup/objects/object-references.ts";
import { openDirectoryTarget } from "../../../agent/backup/objects/restore-objects.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import { writeRestores } from "../../../agent/backup/restore/restore-record.ts";
import { placeRepository } from "../../../agent/bundle/place-repository.ts";
import { UndoList } from "../../../agent/bundle/undo-list.ts";
import { FileStore } from "../../../agent/host/files/file-store.ts";
import { takeLock } from "../../../agent/host/files/lock.ts";
import {
  findPlaceFault,
  isKernelPlace,
  makeDirectory,
  makeDirectorySync,
} from "../../../agent/host/files/make-directory.ts";
import { type PruneMemory, writePruneState } from "../../../agent/prune/prune-state.ts";
import { AuditLog } from "../../../agent/report/audit/audit-log.ts";
import { GitStore } from "../../../agent/sources/git/store/git-store.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

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

test("nor do files of services, the audit log, the Git store, a bundle and what else the agent keeps there wait for ever", async () => {
  const troubles: string[] = [];
  const onTrouble = (message: string | undefined): void => void (message !== undefined && troubles.push(message));
  const audit = new AuditLog({ path: "/proc/x/audit.jsonl", clock: new FakeClock(), onTrouble });
  await audit.open();
  await audit.close();
  expect(troubles[0]).toContain("/proc/x cannot be made: /proc is the kernel's");
  await expect(new FileStore("/proc/x").load()).rejects.toThrow("cannot be made");
  const location = { url: "https://git.example/a.git", branch: "main" } as Parameters<typeof GitStore.create>[1];
  await expect(GitStore.create("/proc/x/git", location, undefined)).rejects.toThrow("cannot be made");
  const move = { directory: root, files: [], target: "/proc/x/orca", undo: new UndoList() };
  await expect(placeRepository(move)).rejects.toThrow("cannot be made");
  const memory: PruneMemory = { version: 1, accountedMs: 0, images: {} };
  await expect(writePruneState("/proc/x/prune.json", memory)).rejects.toThrow("cannot be made");
  await expect(writeRestores("/proc/x/restores.json", [])).rejects.toThrow("cannot be made");
});
