// Directories that may lie deep are made by agent/host/files/make-directory.ts alone: Node's own way never ends below /proc and its like.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const RECURSIVE = /\bmkdir(?:Sync)?\([^;]*?recursive: true/;

test("no other file of the program makes the directories above one by itself", () => {
  expect(RECURSIVE.test("await mkdir(dirname(path), {\n  recursive: true })")).toBe(true);
  const found = readdirSync(join(ROOT, "agent"), { recursive: true, encoding: "utf8" }).filter(
    (path) => path.endsWith(".ts") && RECURSIVE.test(readFileSync(join(ROOT, "agent", path), "utf8")),
  );
  expect(found).toEqual([]);
});
