// Names that would collide with what every table has.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

import { systemClock } from "../../../agent/host/os/clock.ts";
import { DirectorySource } from "../../../agent/sources/directory/directory-source.ts";
import { isName } from "../../../shared/text/schema-leaf.ts";
import { buildManifest } from "../../builders/node/manifest.ts";

const root = mkdtempSync(join(tmpdir(), "orca-names-"));
afterEach(() => rmSync(root, { recursive: true, force: true }));

test("no name is a key that an empty table answers to", () => {
  const inherited = [...Object.getOwnPropertyNames(Object.prototype), "__proto__"];
  expect(inherited.filter((name) => isName(name))).toEqual([]);
});

test("a manifest called __proto__.toml is read and not lost", async () => {
  const directory = join(root, "orca", "manifests", "vm1");
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "__proto__.toml"), buildManifest());
  const source = new DirectorySource({ directory: root, node: "vm1", clock: systemClock });
  const reading = await source.read();
  if (reading.kind === "failed") throw new Error(JSON.stringify(reading.why));
  expect(Object.keys(reading.snapshot.manifests["vm1"] ?? {})).toEqual(["__proto__"]);
});
