// Two runs of the docker lane on one machine do not meet: no test names a port of the machine or a node by itself. Ports come from
// findPort, names from nameForRun.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

const LANE = fileURLToPath(new URL("../../docker/", import.meta.url));

/** What would be taken twice by two runs. */
const FIXED = [
  /127\.0\.0\.1:(?!0\b)\d{2,5}/,
  /localhost:\d{4,5}/,
  /["'`=](?:orca-)?t-[a-z]/,
  /["'`]\/run\/orca\/agent\.sock/,
];

function findFixed(text: string): string[] {
  return FIXED.flatMap((pattern) => pattern.exec(text)?.[0] ?? []);
}

test.each(readdirSync(LANE, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".test.ts")))(
  "%s takes nothing that there is once",
  (name) => expect(findFixed(readFileSync(join(LANE, name), "utf8"))).toEqual([]),
);

test("and what would be taken twice is seen", () => {
  for (const text of [
    'listen = "127.0.0.1:17073"',
    'const NODE = "t-agent";',
    '"--name", "orca-t-planted"',
    "localhost:8080",
  ])
    expect([text, findFixed(text).length]).toEqual([text, 1]);
});
