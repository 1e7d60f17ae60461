// Two runs of the docker lane on one machine do not meet: no test names a port of the machine or a node by itself. Ports come from
// findPort, names from nameForRun.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

const TESTS = fileURLToPath(new URL("../../", import.meta.url));
/** The lane, and who makes nodes for it. */
const ROOMS = ["docker", "builders/engine", "builders/node"];
/** The one clears the name of its fixture before, the other's nodes have engines that are objects. */
const BESIDE = new Set(["builders/engine/kept-state.ts", "builders/node/node.ts"]);
const FILES = ROOMS.flatMap((room) =>
  readdirSync(join(TESTS, room), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(room, name)),
).filter((name) => !BESIDE.has(name));

/** What would be taken twice by two runs. */
const FIXED = [
  /127\.0\.0\.1:(?!0\b)\d{2,5}/,
  /localhost:\d{4,5}/,
  /["'`=](?:orca-)?t-[a-z]/,
  /["'`]\/run\/orca\/agent\.sock/,
  /\b(?:const|let) \w*NODE\w* = ["'`]/,
];

function findFixed(text: string): string[] {
  return FIXED.flatMap((pattern) => pattern.exec(text)?.[0] ?? []);
}

test.each(FILES)("%s takes nothing that there is once", (name) =>
  expect(findFixed(readFileSync(join(TESTS, name), "utf8"))).toEqual([]),
);

test("and what would be taken twice is seen", () => {
  for (const text of [
    'listen = "127.0.0.1:17073"',
    'const who = "t-agent";',
    'const STORES_NODE = "stores";',
    '"--name", "orca-t-planted"',
    "localhost:8080",
  ])
    expect([text, findFixed(text).length]).toEqual([text, 1]);
});
