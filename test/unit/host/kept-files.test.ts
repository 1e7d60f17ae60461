// The agent's smaller files as they may be found: every entry by itself, and a counter that never goes back.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";

import { BootCounter } from "../../../agent/gossip/boot-counter.ts";
import { readHistory } from "../../../agent/report/status/history-file.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-kept-files-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const ENTRY = { fields: { image: "app:1" }, actions: [], transitions: [{ atMs: 1, to: "healthy", reason: "it is" }] };

test("an entry of the history of another shape costs itself, whatever version wrote the file", () => {
  const path = join(directory, "report.json");
  const told = { told: {}, sent: {}, since: {}, recent: [1] };
  const services = { good: { ...ENTRY, soon: 1 }, bad: { ...ENTRY, actions: [null] }, worse: 7 };
  for (const version of [1, 2, "three"]) {
    writeFileSync(path, JSON.stringify({ version, services, alerts: told }));
    const read = readHistory(path, undefined);
    expect([Object.keys(read.services), read.alerts]).toEqual([["good"], told]);
  }
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), (content) => {
      writeFileSync(path, content);
      expect(Object.values(readHistory(path, undefined).services).every(({ actions }) => Array.isArray(actions))).toBe(
        true,
      );
    }),
    { numRuns: 200 },
  );
});

test("the counter of starts goes on where it stood, also behind a later version's words, and never back", async () => {
  const file = join(directory, "gossip-boot");
  const counter = new BootCounter(directory, () => 1_796_000_000_000);
  expect(await counter.raise()).toBe(1);
  writeFileSync(file, "41\n");
  expect(await counter.raise()).toBe(42);
  writeFileSync(file, '42 {"later":true}\n');
  expect(await counter.raise()).toBe(43);
  for (const damaged of ["", "\0\0\0\n", "-5\n", "12"]) {
    writeFileSync(file, damaged);
    expect(await counter.raise()).toBe(1_796_000_001);
    expect(readFileSync(file, "utf8")).toBe("1796000001\n");
  }
});
