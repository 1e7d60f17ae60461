// Every rule of the plan says at its head which test holds it, and that test is there. That it fails without the rule was tried when
// the line was written: whoever changes a rule looks there first.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const RULES = "agent/plan/rules";

/** The comment before the first line of code. */
function readHead(path: string): string {
  return /^(?:\/\/[^\n]*\n)+/.exec(readFileSync(join(ROOT, path), "utf8"))?.[0] ?? "";
}

test.each(readdirSync(join(ROOT, RULES)))("%s is held by a test", (name) => {
  const held = [...readHead(`${RULES}/${name}`).matchAll(/^\/\/ Held by (\S+\.test\.ts)\.$/gm)].map(([, path]) => path);
  expect(held.length, "// Held by test/….test.ts.").toBeGreaterThan(0);
  expect(held.filter((path) => path === undefined || !existsSync(join(ROOT, path)))).toEqual([]);
});
