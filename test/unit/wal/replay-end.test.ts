// What is said of a log's end, and that a log of somebody else is none: a restore must not call what is missing nothing.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { findEarlyEnd } from "../../../agent/backup/restore/early-end.ts";
import { describeEnd, findForeign } from "../../../agent/backup/restore/replay-end.ts";

const SEGMENT = 2 ** 24;
const range = { systemId: "7714211355254398989", segmentBytes: SEGMENT };

function segmentAt(position: bigint, systemId = 7714211355254398989n): Buffer {
  const bytes = Buffer.alloc(8_192);
  bytes.writeBigUInt64LE(position, 8);
  bytes.writeBigUInt64LE(systemId, 24);
  return bytes;
}

describe("an object of a log", () => {
  const from = 4n * BigInt(SEGMENT);

  it("is taken where its header says what its name says, and where it has none", () => {
    expect(findForeign(segmentAt(from), { from }, range)).toBeUndefined();
    expect(findForeign(segmentAt(0n), { from: from + 96n }, range)).toBeUndefined();
    expect(findForeign(Buffer.alloc(31), { from }, range)).toBeUndefined();
  });

  it("is refused where it was renamed, or is another server's", () => {
    expect(findForeign(segmentAt(3n * BigInt(SEGMENT)), { from }, range)).toBe(
      "the log at 0/3000000, and not at 0/4000000",
    );
    expect(findForeign(segmentAt(from, 9n), { from }, range)).toContain("the log of the server 9");
  });
});

describe("the end of a log", () => {
  const atMs = Date.UTC(2026, 11, 1, 7, 34, 11);

  it("is said to be all only where all of it until the moment is known to be stored", () => {
    const end = 0x3000060n;
    expect(describeEnd({ end, knownMs: atMs, atMs })).toContain("ends at 0/3000060, with no commit between");
    const early = describeEnd({ end, knownMs: atMs - 16_000, atMs });
    expect(early).toContain("whole until 2026-12-01T07:33:55.000Z");
    expect(early).toContain("between that and 2026-12-01T07:34:11.000Z is NOT restored");
    expect(early).not.toContain("no commit");
  });

  it("is no end where a whole record is stored after what the server could replay", async () => {
    const directory = mkdtempSync(join(tmpdir(), "orca-early-end-"));
    const bytes = Buffer.alloc(SEGMENT);
    bytes.writeUInt32LE(64, 40);
    writeFileSync(join(directory, "000000010000000000000003"), bytes);
    const start = 3n * BigInt(SEGMENT);
    const log = { directory, timeline: 1, segmentBytes: SEGMENT, shippedMs: 0, isCut: false, remove: async () => {} };
    const judge = (stored: bigint) => findEarlyEnd({ ...log, end: start + stored }, start + 40n);
    expect(await judge(4_096n)).toBe(
      "the log cannot be replayed in the segment 000000010000000000000003: it ends at 0/3000028, and 0/3001000 is stored",
    );
    expect([await judge(43n), await judge(60n)]).toEqual([undefined, undefined]);
    rmSync(directory, { recursive: true });
  });
});
