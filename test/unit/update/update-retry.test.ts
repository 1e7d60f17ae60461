// `orca update --retry`: what has failed is forgotten once the audit log has who asked for it; without an agent the person is told.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { showUpdates } from "../../../agent/cli/agent/update-command.ts";
import { parseRecord, printRecord, type UpdateOutcome } from "../../../agent/update/core/update-record.ts";
import { listPlaces } from "../../../agent/update/places.ts";
import { TestReport, UID } from "../../builders/node/report.ts";

let root: string;
let said: string[];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-retry-"));
  said = [];
  const places = listPlaces(root);
  mkdirSync(places.versions, { recursive: true });
  mkdirSync(dirname(places.record), { recursive: true });
  const outcome: UpdateOutcome = {
    version: "1.4.2",
    sha256: "a",
    result: "failed",
    reason: "it did not come up",
    atMs: 1,
  };
  writeFileSync(
    places.record,
    printRecord([outcome], { ...outcome, version: "1.4.1", sha256: "b", result: "confirmed" }),
  );
  vi.spyOn(process.stderr, "write").mockImplementation((text) => said.push(String(text)) > 0);
  vi.spyOn(process.stdout, "write").mockImplementation(() => true);
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(root, { recursive: true });
});

const listVersions = (): string[] =>
  parseRecord(readFileSync(listPlaces(root).record, "utf8")).map(({ version }) => version);

test("the audit log has who asked for it, and then it is forgotten", async () => {
  const report = await new TestReport().start();
  try {
    expect(await showUpdates({ retry: true, root, socket: report.socketPath })).toBe(0);
    const lines = readFileSync(join(report.stateDir, "audit.jsonl"), "utf8").trim().split("\n");
    expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({
      actor: { kind: "user", uid: UID },
      action: "update-retry",
      what: { versions: "1.4.2" },
    });
    expect([listVersions(), said]).toEqual([["1.4.1"], []]);
    // Nothing has failed any more: nobody needs to write that down.
    expect(await showUpdates({ retry: true, root, socket: join(root, "none.sock") })).toBe(0);
    expect(said).toEqual([]);
  } finally {
    await report.dispose();
  }
});

test("without an agent it works all the same, and the person is told that nobody wrote it down", async () => {
  expect(await showUpdates({ retry: true, root, socket: join(root, "none.sock") })).toBe(0);
  expect(listVersions()).toEqual(["1.4.1"]);
  expect(said.join("")).toContain("this is not in the audit log");
});

test("an audit log that cannot be written keeps what is known", async () => {
  const report = await new TestReport().start();
  try {
    rmSync(join(report.stateDir, "audit.jsonl"));
    mkdirSync(join(report.stateDir, "audit.jsonl"));
    const asked = showUpdates({ retry: true, root, socket: report.socketPath });
    await expect(asked).rejects.toThrow("nothing was done");
    expect(listVersions()).toEqual(["1.4.1", "1.4.2"]);
  } finally {
    await report.dispose();
  }
});
