// Where a path really leads, also where there is nothing yet: a link that dangles today must not be judged by its own name.

import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { readRealPath } from "../../../agent/host/files/host-facts.ts";

const root = realpathSync(mkdtempSync(join(tmpdir(), "orca-real-")));

beforeAll(() => {
  mkdirSync(join(root, "data/real"), { recursive: true });
  symlinkSync("/var/lib/orca-of-nobody/state", join(root, "data/dangling"));
  symlinkSync("../outside/none", join(root, "data/up"));
  symlinkSync(root, join(root, "data/link"));
  symlinkSync("loop", join(root, "data/loop"));
  symlinkSync("first", join(root, "data/second"));
  symlinkSync("dangling", join(root, "data/first"));
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

test.each([
  ["what is there", "data/real", "data/real"],
  ["what is behind a link", "data/link/data/real", "data/real"],
  ["what is not there", "data/none/deep", "data/none/deep"],
  ["what is not there behind a link", "data/link/none/deep", "none/deep"],
  ["a link to what is not there", "data/dangling", "/var/lib/orca-of-nobody/state"],
  ["what would be below such a link", "data/dangling/deep", "/var/lib/orca-of-nobody/state/deep"],
  ["a link upwards to what is not there", "data/up", "outside/none"],
  ["links to links to what is not there", "data/second/x", "/var/lib/orca-of-nobody/state/x"],
])("%s", async (_what, path, real) => {
  expect(await readRealPath(join(root, path))).toBe(real.startsWith("/") ? real : join(root, real));
});

test("a circle of links leads nowhere", async () => {
  expect(await readRealPath(join(root, "data/loop"))).toBeUndefined();
});
