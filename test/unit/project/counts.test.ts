// Whatever counts says "1 service" and "2 services": shared/text/count.ts words every count, and no text does it by itself.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { describeCount } from "../../../shared/text/count.ts";

const ROOT = join(import.meta.dirname, "../../..");
const THINGS =
  "agent|backup|byte|character|commit|container|cpu|day|error|generation|image|key|layer|line|manifest|message|node|parent|pid|" +
  "problem|record|recipient|release|restart|row|secret|service|share|table|time|turn|volume|warning|wave";
/** A figure that is put before a plural; a constant, and one within "more than", is known to be no 1. */
const BY_HAND = new RegExp(String.raw`\$\{(?![A-Z_]+\})[^{}]*\} (?:more |of its )?(?:${THINGS})s\b`);
const PLURAL_S = /=== 1 \? "" : "s"/;

test("a count is worded for one and for many", () => {
  expect([0, 1, 2].map((count) => describeCount(count, "service"))).toEqual(["0 services", "1 service", "2 services"]);
  expect([1, 3].map((count) => describeCount(count, "repository", "repositories"))).toEqual([
    "1 repository",
    "3 repositories",
  ]);
});

test("no text of the program words a count by hand", () => {
  const files = ["agent", "shared"].flatMap((room) =>
    readdirSync(join(ROOT, room), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts"))
      .map((path) => join(room, path)),
  );
  const found = files.flatMap((path) =>
    readFileSync(join(ROOT, path), "utf8")
      .split("\n")
      .filter((line) => BY_HAND.test(line) || (PLURAL_S.test(line) && !path.endsWith("text/count.ts")))
      .map((line) => `${path}: ${line.trim()}`),
  );
  expect(found.filter((line) => !line.startsWith("agent/cli/plan/"))).toEqual([]);
});
