// A packed listing comes in pieces, which a repository fills again as soon as the next is asked for.

import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";

import { expect, test } from "vitest";

import { unpackLines } from "../../../agent/backup/objects/object-listing.ts";

test("a listing of many pieces unpacks, although each is filled again", async () => {
  const lines = Array.from({ length: 40_000 }, () => randomBytes(40).toString("hex"));
  const packed = gzipSync(`${lines.join("\n")}\n`);
  async function* read(): AsyncIterable<Uint8Array> {
    for (let at = 0; at < packed.length; at += 100_000) {
      const piece = Uint8Array.from(packed.subarray(at, at + 100_000));
      yield piece;
      piece.fill(0);
    }
  }
  const found: string[] = [];
  for await (const line of unpackLines(read())) found.push(line);
  expect(found).toEqual(lines);
});
