// The audit log on a real file system that is really full: a tmpfs of its own.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { systemClock } from "../../../agent/host/os/clock.ts";
import { AuditLog } from "../../../agent/report/audit/audit-log.ts";
import { type AuditEntry, ChainWalk } from "../../../agent/report/audit/audit-chain.ts";

const ENTRY: AuditEntry = { actor: { kind: "user", uid: 0 }, action: "act", what: { service: "web" }, result: "ok" };

let directory = "";

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-full-"));
  mkdirSync(join(directory, "disk"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", join(directory, "disk")]);
});
afterAll(() => {
  execFileSync("umount", [join(directory, "disk")]);
  rmSync(directory, { recursive: true });
});

test("acts are refused while it is full, lines wait, and all are there once there is room", async () => {
  const path = join(directory, "disk", "audit.jsonl");
  let trouble: string | undefined;
  const log = new AuditLog({ path, clock: systemClock, onTrouble: (message) => (trouble = message) });
  await log.record({ ...ENTRY, action: "first" });
  const ballast = join(directory, "disk", "ballast");
  expect(() => {
    for (let count = 0; count < 100; count += 1) writeFileSync(`${ballast}${count}`, Buffer.alloc(4_096));
  }).toThrow("ENOSPC");
  const big = { ...ENTRY, message: "x".repeat(2_000) };
  const results: string[] = [];
  for (let count = 0; count < 10; count += 1) {
    results.push(
      await log.record(big).then(
        () => "written",
        (error: Error) => error.message,
      ),
    );
  }
  const refused = results.at(-1);
  expect(refused).toContain("ENOSPC");
  expect(trouble).toContain("no space left");
  log.append({ ...big, action: "waits" });
  for (let count = 0; count < 100; count += 1) rmSync(`${ballast}${count}`, { force: true });
  await log.record({ ...ENTRY, action: "last" });
  await log.close();
  expect(trouble).toBeUndefined();
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  const walk = new ChainWalk([log.head]);
  for (const line of lines) walk.push(line);
  expect(walk.end()).toEqual({ ok: true, head: log.head });
  const actions = lines.map((line) => (JSON.parse(line) as AuditEntry).action);
  expect(actions.slice(-2)).toEqual(["waits", "last"]);
});
