// The audit log on disk: crashes, a full disk, a log that was cut or vanishes. What it was before is on the chain or is missed.

import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { AuditLog, type AuditOptions } from "../../../agent/report/audit/audit-log.ts";
import { type AuditEntry, type AuditVerdict, ChainWalk } from "../../../agent/report/audit/audit-chain.ts";
import type { AuditHead } from "../../../shared/document/audit-head.ts";
import { listSegments, segmentPath } from "../../../agent/host/files/audit-segments.ts";
import { readHead } from "../../../agent/report/audit/audit-recover.ts";
import { NOW_MS } from "../../builders/node/turns.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

const ENTRY: AuditEntry = {
  actor: { kind: "user", uid: 1000 },
  action: "restart",
  what: { service: "web" },
  result: "ok",
};

function walk(lines: readonly string[], anchors: readonly AuditHead[] = []): AuditVerdict {
  const chain = new ChainWalk(anchors);
  for (const line of lines) if (!chain.push(line)) break;
  return chain.end();
}

describe("the file", () => {
  const clock = new FakeClock(NOW_MS);
  let directory = "";
  let path = "";
  let logs: AuditLog[] = [];
  let troubles: (string | undefined)[] = [];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "orca-audit-"));
    path = join(directory, "state", "audit.jsonl");
    [logs, troubles] = [[], []];
  });
  afterEach(async () => {
    for (const log of logs) await log.close();
    rmSync(directory, { recursive: true });
  });

  function openLog(parts: Partial<AuditOptions> = {}): AuditLog {
    const log = new AuditLog({ path, clock, onTrouble: (message) => troubles.push(message), ...parts });
    logs.push(log);
    return log;
  }
  const readLines = (): string[] => readFileSync(path, "utf8").split("\n").slice(0, -1);
  const actions = (): string[] => readLines().map((line) => (JSON.parse(line) as AuditEntry).action);
  async function verify(): Promise<AuditVerdict> {
    const head = await readHead(path);
    return walk(readLines(), head === undefined ? [] : [head]);
  }

  test("goes on where the agent before has ended, readable by root alone", async () => {
    const first = openLog();
    await first.record(ENTRY);
    await first.close();
    const second = openLog();
    await second.open();
    expect(second.head.seq).toBe(1);
    const line = await second.record({ ...ENTRY, action: "pause" });
    expect(line).toMatchObject({ seq: 2, prev: first.head.hash, at: "2026-11-21T12:00:00.000Z" });
    expect(await verify()).toEqual({ ok: true, head: second.head });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("lines that come all at once stay in order and whole", async () => {
    const log = openLog();
    const all = Array.from({ length: 200 }, (_, index) => ({ ...ENTRY, action: `act-${index}` }));
    const written = all.map(async (entry, index) => (index % 2 === 0 ? log.append(entry) : log.record(entry)));
    await Promise.all(written);
    await log.close();
    expect(actions()).toEqual(all.map(({ action }) => action));
    expect((await verify()).ok).toBe(true);
  });

  test("a line that was torn by a crash is moved aside and noted, and the chain goes on", async () => {
    const first = openLog();
    await first.record(ENTRY);
    await first.close();
    appendFileSync(path, '{"action":"rest');
    const second = openLog();
    await second.record({ ...ENTRY, action: "after" });
    await second.close();
    expect(actions().toSorted()).toEqual(["after", "audit-repair", "restart"]);
    expect((await verify()).ok).toBe(true);
    const aside = readdirSync(join(directory, "state")).filter((name) => name.startsWith("audit.jsonl.torn-"));
    expect(aside).toHaveLength(1);
    expect(readFileSync(join(directory, "state", aside[0] ?? ""), "utf8")).toBe('{"action":"rest');
  });

  test.each([
    ["zeros after a power cut", Buffer.alloc(5_000)],
    ["zeros with a line break", Buffer.concat([Buffer.alloc(100), Buffer.from("\n")])],
    ["half a line longer than what is looked at first", Buffer.from("x".repeat(600 * 1024))],
  ])("%s are moved aside too", async (_what, torn) => {
    const first = openLog();
    await first.record(ENTRY);
    await first.close();
    appendFileSync(path, torn);
    const second = openLog();
    await second.open();
    await second.close();
    expect(actions()).toEqual(["restart", "audit-repair"]);
    expect((await verify()).ok).toBe(true);
  });

  test("a last line that was edited stays, so that the chain shows it after any number of restarts", async () => {
    const first = openLog();
    await first.record(ENTRY);
    await first.record(ENTRY);
    await first.close();
    writeFileSync(path, readFileSync(path, "utf8").replace(/"restart"(?![^]*"restart")/, '"paused!"'));
    for (let round = 0; round < 3; round += 1) {
      const next = openLog();
      await next.record({ ...ENTRY, action: "later" });
      await next.close();
    }
    expect(await verify()).toMatchObject({ ok: false, line: 2, message: expect.stringContaining("edited") as string });
  });

  test("lines cut off the end while no agent ran are a gap for good", async () => {
    const first = openLog();
    for (const action of ["one", "two", "three"]) await first.record({ ...ENTRY, action });
    await first.close();
    const [one = ""] = readLines();
    truncateSync(path, one.length + 1);
    expect(await verify()).toMatchObject({ ok: false, line: 2 });
    const second = openLog();
    await second.record({ ...ENTRY, action: "later" });
    await second.close();
    expect(actions()).toContain("audit-gap");
    expect(await verify()).toMatchObject({ ok: false, line: 2 });
  });

  test.each([["alone"], ["with its head"]])(
    "a log that vanishes under the agent (%s) is begun anew, and the chain shows what is missing",
    async (how) => {
      const log = openLog();
      await log.record(ENTRY);
      rmSync(path);
      await expect.poll(() => existsSync(`${path}.head`)).toBe(true);
      await expect.poll(() => existsSync(`${path}.head`)).toBe(true);
      if (how !== "alone") rmSync(`${path}.head`);
      const line = await log.record({ ...ENTRY, action: "later" });
      expect(line.seq).toBe(2);
      expect(existsSync(path)).toBe(true);
      expect(await verify()).toMatchObject({ ok: false, line: 1 });
    },
  );

  test("on a full disk acts are refused, lines wait in order, and the file stays whole", async () => {
    let full = true;
    const log = openLog({ openFile: async (place) => failing(await open(place, "a+"), () => full) });
    log.append({ ...ENTRY, action: "one" });
    await expect(log.record({ ...ENTRY, action: "refused" })).rejects.toThrow("ENOSPC");
    log.append({ ...ENTRY, action: "two" });
    // The file is real and takes its time, also while the clock is moved: what is waited for is the word of the next try.
    const retry = async (): Promise<string | undefined> => {
      await clock.advance(5_000);
      return troubles.at(-1);
    };
    await expect.poll(retry, { timeout: 40_000 }).toContain("2 lines wait");
    expect(readLines()).toEqual([]);
    // Between a try and its undoing there is a beginning of a line.
    await expect.poll(() => statSync(path).size, { timeout: 40_000 }).toBe(0);
    full = false;
    await clock.advance(5_000);
    await log.record({ ...ENTRY, action: "three" });
    expect(troubles.at(-1)).toBeUndefined();
    expect(actions()).toEqual(["one", "two", "three"]);
    expect((await verify()).ok).toBe(true);
  });

  test("what waits is bounded, and what was lost is said", async () => {
    let full = true;
    const log = openLog({ openFile: async (place) => failing(await open(place, "a+"), () => full) });
    for (let count = 0; count < 10_500; count += 1) log.append(ENTRY);
    // The file is real, and takes real time to refuse.
    while (troubles.at(-1) === undefined) await clock.advance(100);
    full = false;
    await clock.advance(5_000);
    await log.record({ ...ENTRY, action: "last" });
    const lost = readLines()
      .map((line) => JSON.parse(line) as AuditEntry)
      .find(({ action }) => action === "audit-lost");
    const lines = Number(lost?.what["lines"]);
    expect(lines).toBeGreaterThan(490);
    // Whatever is not there is counted: the lines themselves, the one that says how many were lost, and the last one.
    expect(readLines()).toHaveLength(10_500 - lines + 2);
    expect((await verify()).ok).toBe(true);
  });

  describe("that has grown large", () => {
    const readAll = async (): Promise<string[]> =>
      [...(await listSegments(path)), path].flatMap((file) => readFileSync(file, "utf8").split("\n").slice(0, -1));
    const verifyAll = async (): Promise<AuditVerdict> => {
      const head = await readHead(path);
      return walk(await readAll(), head === undefined ? [] : [head]);
    };

    test("is put aside whole, and the chain goes on in a new one; also over restarts", async () => {
      for (let run = 0; run < 5; run += 1) {
        const log = openLog({ rotateBytes: 2_000 });
        for (let count = 0; count < 10; count += 1) await log.record(ENTRY);
        await log.close();
      }
      expect((await listSegments(path)).length).toBeGreaterThan(4);
      expect(statSync(path).size).toBeLessThan(2_500);
      expect((await readAll()).length).toBe(50);
      expect(await verifyAll()).toMatchObject({ ok: true, head: { seq: 50 } });
      // Nothing of it may be taken away or edited.
      const [, second = ""] = await listSegments(path);
      const content = readFileSync(second, "utf8");
      writeFileSync(second, content.replace("restart", "restore"));
      expect((await verifyAll()).ok).toBe(false);
      rmSync(second);
      expect((await verifyAll()).ok).toBe(false);
      writeFileSync(second, content);
      expect((await verifyAll()).ok).toBe(true);
    });

    test("and was cut off between the two goes on from its last line; a file that somebody took is missed", async () => {
      const log = openLog();
      for (let count = 0; count < 3; count += 1) await log.record(ENTRY);
      await log.close();
      renameSync(path, segmentPath(path, 3));
      const next = openLog();
      await next.record(ENTRY);
      await next.close();
      expect(await verifyAll()).toMatchObject({ ok: true, head: { seq: 4 } });
      rmSync(path);
      const last = openLog();
      await last.open();
      await last.record(ENTRY);
      expect(actions()).toEqual(["audit-gap", "restart"]);
      expect((await verifyAll()).ok).toBe(false);
    });
  });

  test("a link in the log's place is not followed", async () => {
    const log = openLog();
    await log.record(ENTRY);
    await log.close();
    rmSync(path);
    const victim = join(directory, "victim");
    writeFileSync(victim, "precious");
    symlinkSync(victim, path);
    await expect(openLog().record(ENTRY)).rejects.toThrow("ELOOP");
    expect(readFileSync(victim, "utf8")).toBe("precious");
  });
});

/** A file on a disk that is full while `isFull` says so; half of what is written gets there, as it does. */
function failing(file: FileHandle, isFull: () => boolean): FileHandle {
  const append = file.appendFile.bind(file);
  file.appendFile = async (data, options) => {
    if (!isFull()) return append(data, options);
    await append((data as string).slice(0, 10));
    throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
  };
  return file;
}
