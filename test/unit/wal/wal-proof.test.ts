// What the proof of a base makes of a log: where a record begins and ends, back to which moments a repository leads, and that a base whose
// log is at fault later still serves a moment before that.

import { describe, expect, it } from "vitest";

import type { BackupRecord } from "../../../agent/backup/core/backup-record.ts";
import { findMissing, listBasesBefore } from "../../../agent/backup/wal/core/choose-base.ts";
import { findReach } from "../../../agent/backup/wal/core/log-reach.ts";
import { listWalObjects, nameWalObject } from "../../../agent/backup/wal/core/wal-object.ts";
import { formatPosition } from "../../../agent/backup/wal/core/wal-position.ts";
import { endsBefore, findHeader } from "../../../agent/backup/wal/core/wal-record.ts";

const SEGMENT = 2 ** 24;
const at = (segment: number): bigint => BigInt(segment) * BigInt(SEGMENT);

function base(segment: number, verifications: BackupRecord["verifications"] = []): BackupRecord {
  const [start, stop] = [formatPosition(at(segment)), formatPosition(at(segment) + 256n)];
  const wal = { systemId: "7", timeline: 1, segmentBytes: SEGMENT, start, stop };
  const size = { bytes: 1, sha256: "0".repeat(64) };
  return {
    version: 1,
    node: "n",
    service: "pg",
    store: "db",
    engine: "postgres-base",
    name: `base${segment}`,
    files: [{ file: "f", kind: "base", content: "base", plain: size, stored: size, facts: { wal } }],
    trigger: "schedule",
    startedMs: segment * 1_000,
    endedMs: segment * 1_000 + 10,
    image: "i",
    recipients: [],
    restoreWith: [],
    verifications,
  };
}

const list = (segments: readonly number[]) =>
  listWalObjects(
    segments.map((segment) =>
      nameWalObject({
        timeline: 1,
        from: at(segment),
        to: at(segment + 1),
        segmentBytes: SEGMENT,
        shippedMs: segment * 1_000 + 500,
        encrypted: false,
      }),
    ),
    SEGMENT,
  );

describe("where a record is", () => {
  it("begins after the header of its page, aligned", () => {
    expect(findHeader(at(3), SEGMENT)).toBe(at(3) + 40n);
    expect(findHeader(at(3) + 8_192n, SEGMENT)).toBe(at(3) + 8_192n + 24n);
    expect(findHeader(at(3) + 8_185n, SEGMENT)).toBe(at(3) + 8_192n + 24n);
    expect(findHeader(at(3) + 101n, SEGMENT)).toBe(at(3) + 104n);
  });

  it("ends before a position only where all of it is before that, page headers among it", () => {
    const header = at(3) + 8_192n - 96n;
    const ends = (bytes: number, end: bigint): boolean => endsBefore(header, { bytes, segmentBytes: SEGMENT }, end);
    expect(ends(96, at(3) + 8_192n)).toBe(true);
    expect(ends(97, at(3) + 8_192n)).toBe(false);
    expect(ends(97, at(3) + 8_192n + 24n)).toBe(false);
    expect(ends(97, at(3) + 8_192n + 25n)).toBe(true);
  });

  it("is none where its length is none", () => {
    expect(endsBefore(at(3) + 40n, { bytes: 0, segmentBytes: SEGMENT }, at(4))).toBe(true);
  });
});

describe("back to which moments a repository leads", () => {
  it("is one span where the log goes on from base to base, however long nothing happened", () => {
    const reach = findReach([base(9), base(2)], () => list([2, 3, 4, 5, 6, 7, 8, 9, 10]));
    expect(reach).toEqual({ spans: [{ fromMs: 2_010, untilMs: 10_500 }], gaps: [] });
  });

  it("has a gap, with its segments, and another span after it", () => {
    const reach = findReach([base(9), base(2)], () => list([2, 3, 6, 7, 8, 9, 10]));
    expect(reach.spans).toEqual([
      { fromMs: 2_010, untilMs: 3_500 },
      { fromMs: 9_010, untilMs: 10_500 },
    ]);
    const [first, last] = ["000000010000000000000004", "000000010000000000000005"];
    expect(reach.gaps).toEqual([{ from: "0/4000000", to: "0/6000000", first, last }]);
  });

  it("is nowhere with a base of which the log is not whole", () => {
    expect(findReach([base(2)], () => []).spans).toEqual([]);
    expect(findMissing(base(2), list([3]))).toEqual({ from: at(2), to: at(3) });
    expect(findMissing(base(2), list([2]))).toBeUndefined();
  });
});

it("a base serves a moment although its log is at fault somewhere, and none where it is itself", () => {
  const bad = { atMs: 1, verdict: "bad" as const, detail: "d" };
  const names = (verifications: BackupRecord["verifications"]): string[] =>
    listBasesBefore([base(2, verifications)], 10_000).map(({ name }) => name);
  expect(names([{ ...bad, reach: "0/3000000" }])).toEqual(["base2"]);
  expect(names([bad])).toEqual([]);
  expect(names([bad, { ...bad, verdict: "good" }])).toEqual(["base2"]);
});
