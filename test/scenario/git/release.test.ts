// scripts/release in a clone of its own: what it refuses, what it makes, that a second run makes nothing, and that one that was cut
// short is finished.

import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { VERSION } from "../../../shared/version.ts";
import { ROOT } from "../../builders/data/readme.ts";

const SHIPPED = ["scripts/release", "package.json", "package-lock.json", "shared/version.ts"];
const CHANGES =
  "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- One thing.\n\n## 0.0.1 — 2026-01-01\n\n- An old thing.\n";
const IDENTITY = { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" };
const ENVIRONMENT = {
  ...process.env,
  ...IDENTITY,
  GIT_AUTHOR_NAME: "jane",
  GIT_AUTHOR_EMAIL: "jane@example.com",
  GIT_COMMITTER_NAME: "jane",
  GIT_COMMITTER_EMAIL: "jane@example.com",
};
let clone: string;

function git(...words: string[]): string {
  return execFileSync("git", words, { cwd: clone, env: ENVIRONMENT, encoding: "utf8" }).trim();
}

function release(): { code: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(join(clone, "scripts/release"), [], {
    env: ENVIRONMENT,
    encoding: "utf8",
  });
  return { code: status, output: stdout + stderr };
}

function write(path: string, text: string): void {
  mkdirSync(dirname(join(clone, path)), { recursive: true });
  writeFileSync(join(clone, path), text);
}

function read(path: string): string {
  return readFileSync(join(clone, path), "utf8");
}

function commitAll(): void {
  git("add", "-A");
  git("commit", "-q", "-m", "change");
}

beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), "orca-release-"));
  for (const path of SHIPPED) cpSync(join(ROOT, path), join(clone, path), { recursive: true });
  write("CHANGELOG.md", CHANGES);
  git("init", "-q", "-b", "main");
  commitAll();
});
afterEach(() => rmSync(clone, { recursive: true }));

test("it dates the changes, commits and tags; a second run changes nothing", () => {
  expect(release()).toMatchObject({ code: 0, output: expect.stringContaining(`release: v${VERSION} is `) });
  const today = new Date().toISOString().slice(0, 10);
  expect(read("CHANGELOG.md")).toBe(
    CHANGES.replace("## [Unreleased]\n", `## [Unreleased]\n\n## ${VERSION} — ${today}\n`),
  );
  expect([git("log", "-1", "--format=%s"), git("cat-file", "-t", `v${VERSION}`)]).toEqual([
    `release: ${VERSION}`,
    "tag",
  ]);
  expect(git("status", "--porcelain")).toBe("");
  const before = git("rev-parse", "HEAD", `v${VERSION}`);
  expect(release()).toEqual({ code: 0, output: `release: v${VERSION} is made already\n` });
  expect(git("rev-parse", "HEAD", `v${VERSION}`)).toBe(before);
});

test("one that was cut short before its tag is finished by the next run, without a second commit", () => {
  release();
  git("tag", "-d", `v${VERSION}`);
  const head = git("rev-parse", "HEAD");
  expect(release().code).toBe(0);
  expect([git("rev-parse", "HEAD"), git("rev-parse", `v${VERSION}^{commit}`)]).toEqual([head, head]);
});

test.each<[string, () => void, RegExp]>([
  ["a tree that is not clean", () => write("new.txt", "x"), /tree is not clean/],
  [
    "versions that differ",
    () => (write("shared/version.ts", 'export const VERSION = "9.9.9";\n'), commitAll()),
    /shared\/version\.ts says 9\.9\.9/,
  ],
  [
    "nothing to release",
    () => (write("CHANGELOG.md", CHANGES.replace(/### Added\n\n- One thing\.\n\n/, "")), commitAll()),
    /says nothing below Unreleased/,
  ],
  ["no such section", () => (write("CHANGELOG.md", "# Changelog\n"), commitAll()), /has no line/],
  [
    "a tag on another commit",
    () => (git("tag", `v${VERSION}`), write("more.txt", "x"), commitAll()),
    /is another commit: raise the version/,
  ],
  [
    "more changes after the section was dated",
    () => (write("CHANGELOG.md", CHANGES.replace("## 0.0.1", `## ${VERSION}`)), commitAll()),
    /raise the version/,
  ],
])("it refuses %s, and makes nothing", (_what, prepare, said) => {
  prepare();
  const before = [git("rev-parse", "HEAD"), git("tag"), read("CHANGELOG.md")];
  expect(release()).toMatchObject({ code: 1, output: expect.stringMatching(said) });
  expect([git("rev-parse", "HEAD"), git("tag"), read("CHANGELOG.md")]).toEqual(before);
});
