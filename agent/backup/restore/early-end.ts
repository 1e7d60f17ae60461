// Whether a server that replays a log ended before the log does: then what it could not replay is damaged. Called by what restores a base, and
// by what proves one, on what replay-log.ts has fetched.

import { open } from "node:fs/promises";
import { join } from "node:path";

import { formatPosition, nameSegment, startOfSegment, type WalPosition } from "../wal/core/wal-position.ts";
import { endsBefore, findHeader } from "../wal/core/wal-record.ts";
import type { FetchedLog } from "./replay-log.ts";

/** A record begins with its length. */
const LENGTH_BYTES = 4;

/** Why the replay ended before what is stored does; undefined where nothing but the beginning of one more record is after it. */
export async function findEarlyEnd(
  { directory, end, timeline, segmentBytes }: FetchedLog,
  at: WalPosition,
): Promise<string | undefined> {
  const header = findHeader(at, segmentBytes);
  if (header + BigInt(LENGTH_BYTES) > end) return undefined;
  const name = nameSegment(timeline, header, segmentBytes);
  const file = await open(join(directory, name), "r");
  try {
    const length = Buffer.alloc(LENGTH_BYTES);
    await file.read(length, 0, LENGTH_BYTES, Number(header - startOfSegment(header, segmentBytes)));
    if (!endsBefore(header, { bytes: length.readUInt32LE(), segmentBytes }, end)) return undefined;
  } finally {
    await file.close();
  }
  return `the log cannot be replayed in the segment ${name}: it ends at ${formatPosition(at)}, and ${formatPosition(end)} is stored`;
}
