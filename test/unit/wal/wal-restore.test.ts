// Which base a restore to a moment takes, and which of the log it reads.

import { describe, expect, it } from "vitest";

import type { AreaSource } from "../../../agent/backup/repository/store-sources.ts";
import { findBase } from "../../../agent/backup/restore/find-base.ts";
import { cutObjects } from "../../../agent/backup/wal/core/choose-base.ts";
import { listWalObjects, nameWalObject } from "../../../agent/backup/wal/core/wal-object.ts";
import { formatPosition } from "../../../agent/backup/wal/core/wal-position.ts";
import type { BackupRecord } from "../../../agent/backup/core/backup-record.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";

const SEGMENT = 2 ** 24;
const plan = buildStorePlan({ wal: { base: "every 7d", shipMs: 1_000, slot: "orca", windowMs: 1 } });

function base(at: number, timeline = 1): BackupRecord {
  const position = BigInt(at) * BigInt(SEGMENT);
  const [start, stop] = [formatPosition(position), formatPosition(position + 256n)];
  const wal = { systemId: "7", timeline, segmentBytes: SEGMENT, start, stop };
  const size = { bytes: 1, sha256: "0".repeat(64) };
  return {
    version: 1,
    node: "n",
    service: "pg",
    store: "db",
    engine: "postgres-base",
    name: `base${at}`,
    files: [{ file: "f", kind: "base", content: "base", plain: size, stored: size, facts: { wal } }],
    trigger: "schedule",
    startedMs: at * 1_000,
    endedMs: at * 1_000 + 10,
    image: "i",
    recipients: [],
    restoreWith: [],
    verifications: [],
  };
}

function ship(segment: number, shippedMs: number, timeline = 1): string {
  const from = BigInt(segment) * BigInt(SEGMENT);
  return nameWalObject({
    timeline,
    from,
    to: from + BigInt(SEGMENT),
    segmentBytes: SEGMENT,
    shippedMs,
    encrypted: false,
  });
}

function source(name: string, records: BackupRecord[], names: string[]): (area: string) => AreaSource[] {
  const place = { kind: "directory" as const, name, directory: `/${name}` };
  return (area) => [
    { place, records: area === "base" ? records : [], names: area === "7/00000001" ? names : [], identities: [] },
  ];
}

const find = (list: (area: string) => AreaSource[], atMs: number | undefined, backup?: string) =>
  findBase((area) => Promise.resolve(list(area)), plan, { service: "pg", store: "db", atMs, backup });

describe("a restore to a moment", () => {
  const log = [ship(2, 2_500), ship(3, 3_500), ship(4, 4_500)];

  it("takes the newest base that was whole before it, on its own timeline", async () => {
    const list = source("local", [base(2), base(3), base(9)], log);
    expect(await find(list, 4_000)).toMatchObject({
      record: { name: "base3" },
      moment: { timeline: 1, systemId: "7" },
    });
    expect(await find(list, 2_900)).toMatchObject({ record: { name: "base2" } });
    expect(await find(list, 1_000)).toBeUndefined();
    // What was chosen is what is carried out.
    expect(await find(list, 4_000, "base2")).toMatchObject({ record: { name: "base2" } });
    expect(await find(list, 4_000, "pg_dump_20261120_0217")).toBeUndefined();
  });

  it("takes none whose log is not whole, and no repository that lacks it", async () => {
    const late = { ...base(3), files: base(3).files.map((file) => ({ ...file, facts: { wal: stopAt(9) } })) };
    expect(await find(source("local", [base(2), late], log), 4_000)).toMatchObject({ record: { name: "base2" } });
    const [one, two] = [source("one", [late], log), source("two", [base(2)], log)];
    expect(await find((area) => [...one(area), ...two(area)], 4_000)).toMatchObject({ record: { name: "base2" } });
    expect(await find(source("local", [base(2, 2)], log), 4_000)).toBeUndefined();
  });

  it("is asked for by a time alone, of a store whose log is streamed", async () => {
    const list = source("local", [base(2)], log);
    expect(await find(list, undefined)).toBeUndefined();
    const without = findBase((area) => Promise.resolve(list(area)), buildStorePlan(), {
      service: "pg",
      store: "db",
      atMs: 4_000,
    });
    expect(await without).toBeUndefined();
  });

  it("reads what was shipped after it too, for what was committed between, and all that the base needs", () => {
    const objects = listWalObjects(log, SEGMENT);
    const count = (atMs: number, stop: number): number =>
      cutObjects(objects, { atMs, stop: BigInt(stop) * BigInt(SEGMENT) }).length;
    expect([count(2_000, 2), count(2_600, 2), count(9_000, 2), count(2_000, 5)]).toEqual([2, 3, 3, 3]);
  });
});

function stopAt(segment: number): NonNullable<NonNullable<BackupRecord["files"][number]["facts"]>["wal"]> {
  const start = formatPosition(3n * BigInt(SEGMENT));
  return { systemId: "7", timeline: 1, segmentBytes: SEGMENT, start, stop: formatPosition(BigInt(segment * SEGMENT)) };
}
