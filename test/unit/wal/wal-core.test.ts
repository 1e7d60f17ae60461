// The log of a PostgreSQL as positions and names: what a restore reads, what is missing, what may go; by seeds.

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import {
  findGaps,
  followObjects,
  listSparePieces,
  listWalObjects,
  nameWalObject,
} from "../../../agent/backup/wal/core/wal-object.ts";
import {
  formatPosition,
  nameSegment,
  parsePosition,
  parseSegment,
} from "../../../agent/backup/wal/core/wal-position.ts";

const SEGMENT = 2 ** 20;
const BYTES = BigInt(SEGMENT);

describe("positions", () => {
  it.each([
    ["0/3000028", 0x3000028n],
    ["16/B374D848", 0x16_b374_d848n],
    ["FFFFFFFF/FFFFFFFF", 0xffff_ffff_ffff_ffffn],
  ])("reads and writes %s", (text, position) => {
    expect(parsePosition(text)).toBe(position);
    expect(formatPosition(position)).toBe(text);
  });

  it.each(["", "3000028", "0/", "0/1/2", "0/G"])("takes %j for none", (text) =>
    expect(parsePosition(text)).toBeUndefined(),
  );

  it("names segments as the server does", () => {
    // select pg_walfile_name('16/B374D848') on a server with segments of 16 MiB.
    expect(nameSegment(1, 0x16_b374_d848n, 2 ** 24)).toBe("0000000100000016000000B3");
    expect(parseSegment("0000000A00000016000000B3", 2 ** 24)).toEqual({ timeline: 10, start: 0x16_b300_0000n });
    expect(parseSegment("00000002.history", 2 ** 24)).toBeUndefined();
  });
});

/** Shipments one after the other, as a stream makes them: pieces of an open segment, and it whole once it is closed. */
const stream = fc
  .array(fc.record({ bytes: fc.integer({ min: 1, max: 3 * SEGMENT }), twice: fc.boolean() }), {
    minLength: 1,
    maxLength: 30,
  })
  .map((steps) => {
    const names: string[] = [];
    let [at, shippedMs] = [0n, 1_000];
    const ship = (from: bigint, to: bigint): void => {
      shippedMs += 1_000;
      names.push(nameWalObject({ timeline: 1, from, to, segmentBytes: SEGMENT, shippedMs, encrypted: true }));
    };
    for (const { bytes, twice } of steps) {
      const received = at + BigInt(bytes);
      while (at < received) {
        const start = at - (at % BYTES);
        const isClosed = start + BYTES <= received;
        // A shipment whose end was not heard is made once more.
        if (twice && !isClosed) ship(at, at + (received - at + 1n) / 2n);
        ship(isClosed ? start : at, isClosed ? start + BYTES : received);
        at = isClosed ? start + BYTES : received;
      }
    }
    return { names, end: at };
  });

describe("objects", () => {
  it("say by their names what they are", () => {
    const name = nameWalObject({
      timeline: 1,
      from: 5n,
      to: 9n,
      segmentBytes: SEGMENT,
      shippedMs: 123,
      encrypted: false,
    });
    expect(name).toBe("000000010000000000000000.00000005-00000009.19700101T000000123Z.wal.zst");
    expect(listWalObjects([name, `${name}.age`, "x", `${name}.tmp`], SEGMENT)).toMatchObject([
      { from: 5n, to: 9n, shippedMs: 123, encrypted: false },
      { encrypted: true },
    ]);
  });

  it("are followed to the end, in whatever order they are listed, also without spare pieces", () => {
    fc.assert(
      fc.property(stream, fc.boolean(), ({ names, end }, shuffled) => {
        const objects = listWalObjects(shuffled ? names.toReversed() : names, SEGMENT);
        const followed = followObjects(objects, { from: 0n, sinceMs: 0, segmentBytes: SEGMENT });
        expect(followed.end).toBe(end);
        expect(findGaps(objects, { from: 0n, to: end })).toEqual([]);
        const spare = new Set(listSparePieces(objects, SEGMENT));
        const left = objects.filter(({ name }) => !spare.has(name));
        expect(followObjects(left, { from: 0n, sinceMs: 0, segmentBytes: SEGMENT }).end).toBe(end);
      }),
    );
  });

  it("that are missing are told, and nothing is followed past them", () => {
    fc.assert(
      fc.property(stream, fc.nat(), ({ names, end }, choice) => {
        const objects = listWalObjects(names, SEGMENT);
        const spare = new Set(listSparePieces(objects, SEGMENT));
        const needed = objects.filter(({ name }) => !spare.has(name));
        const gone = needed[choice % needed.length];
        if (gone === undefined) return;
        const left = needed.filter(({ from, to }) => to <= gone.from || from >= gone.to);
        expect(findGaps(left, { from: 0n, to: end }).length).toBeGreaterThan(0);
        const followed = followObjects(left, { from: 0n, sinceMs: 0, segmentBytes: SEGMENT });
        expect(followed.end <= gone.from).toBe(true);
      }),
    );
  });

  it("that were shipped before the base count not: they are of another history", () => {
    const make = (from: bigint, to: bigint, shippedMs: number): string =>
      nameWalObject({ timeline: 1, from, to, segmentBytes: SEGMENT, shippedMs, encrypted: false });
    const objects = listWalObjects([make(0n, BYTES, 1_000), make(BYTES, 2n * BYTES, 2_000)], SEGMENT);
    expect(followObjects(objects, { from: BYTES, sinceMs: 1_500, segmentBytes: SEGMENT }).end).toBe(2n * BYTES);
    expect(followObjects(objects, { from: 0n, sinceMs: 1_500, segmentBytes: SEGMENT }).end).toBe(0n);
  });
});
