// An agent whose state directory lies on a file system that is really full, at its very first start.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";

let directory = "";

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-full-state-"));
  mkdirSync(join(directory, "disk"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", join(directory, "disk")]);
  const manifests = join(directory, "orca", "manifests", "full");
  mkdirSync(manifests, { recursive: true });
  writeFileSync(join(manifests, "web.toml"), buildManifest());
});
afterAll(() => {
  execFileSync("umount", [join(directory, "disk")]);
  rmSync(directory, { recursive: true });
});

test("the first start on a full disk says which path, what to free and that it is tried again, and no stack", async () => {
  const state = join(directory, "disk", "state");
  expect(() => writeFileSync(join(directory, "disk", "ballast"), Buffer.alloc(128 * 1024))).toThrow("ENOSPC");
  const orca = new OrcaProcess(["up", directory, "--state", state, "--listen", "127.0.0.1:0", "--once"]);
  expect(await orca.exited).toBe(1);
  expect(orca.output).toContain(`the disk of its state directory ${state} is full (free: 0 B of 64 KiB`);
  expect(orca.output).toMatch(/No container was touched\. Free some space: .*systemd starts the agent again/);
  expect(orca.output).not.toMatch(/^ +at /m);
  const unread = "it ends before it reads anything";
  await expectNoSecretLeft({ node: "full", stateDir: state, texts: { output: orca.output }, unread });
});
