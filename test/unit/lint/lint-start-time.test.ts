// The time that a release is given against the time that it is given to come up.

import { expect, test } from "vitest";

import { lintFiles, lintShort } from "../../builders/git/repository.ts";

const FILE = "manifests/vm-a/app.toml";

function manifest(health: string, update: string): string {
  return `image = "app:1"\nresources = { memory = "64MiB" }\n[health]\ntcp = { port = 80 }\n${health}\n[update]\n${update}\n`;
}

test.each([
  ['start_period = "10m"', 'healthy_within = "2m"'],
  ['start_period = "100s"', 'healthy_within = "2m"'],
  ['start_period = "1m"', 'healthy_within = "2m"\nsettle = "90s"'],
])("a release that is given less than it may take is refused: %s, %s", async (health, update) => {
  expect(await lintShort({ [FILE]: manifest(health, update) })).toEqual([
    "error healthy-within vm-a/app:7:1 update.healthy_within",
  ]);
});

test("it says what each of them is, and what to write", async () => {
  const problems = await lintFiles({ [FILE]: manifest('start_period = "10m"', 'healthy_within = "2m"') });
  const problem = problems.find(({ severity }) => severity === "error");
  expect(problem?.message).toBe(
    "a release must be good within 2m, and may take 630s for that: health.start_period 10m and update.settle 30s",
  );
  expect(problem?.hint).toBe("write 630s or more, or leave healthy_within out: then it follows the two");
});

test.each([
  ['start_period = "10m"', ""],
  ['start_period = "10m"', 'healthy_within = "630s"'],
  ["", 'healthy_within = "10s"'],
  ['start_period = "90s"', 'healthy_within = "2m"'],
])("no contradiction: %s, %s", async (health, update) => {
  expect(await lintShort({ [FILE]: manifest(health, update) })).toEqual([]);
});

test("a release that settles before its second check is told of, and what to write", async () => {
  const files = { [FILE]: manifest('interval = "1m"', 'settle = "30s"') };
  expect(await lintShort(files)).toEqual(["warning settle-short vm-a/app:7:1 update.settle"]);
  const problem = (await lintFiles(files)).find(({ code }) => code === "settle-short");
  expect(`${problem?.message}; ${problem?.hint}`).toBe(
    "a release settles after 30s, and is checked every 1m: one good check would record it as good; write 1m or more, or a shorter health.interval",
  );
});

test.each([
  ['interval = "30s"', ""],
  ['interval = "1m"', 'settle = "0s"'],
])("it settles after several checks, or by choice after one: %s, %s", async (health, update) => {
  expect(await lintShort({ [FILE]: manifest(health, update) })).toEqual([]);
});
