// How records lie in the pages of PostgreSQL's log (access/xlog_internal.h): whether one that was not replayed goes on after what is
// stored, or is no record. Pure; used by the proof of a base.

import type { WalPosition } from "./wal-position.ts";

const PAGE_BYTES = 8_192n;
/** What each page begins with, and the first of a segment. */
const SHORT_BYTES = 24n;
const LONG_BYTES = 40n;
/** Records begin at multiples of it. */
const ALIGNED = 8n;
/** A record's own header: nothing shorter is one. */
const LEAST_BYTES = 24;

/** Where the next record begins after a position at which one has ended; it begins with its length. */
export function findHeader(at: WalPosition, segmentBytes: number): WalPosition {
  return skipPageHeader(((at + ALIGNED - 1n) / ALIGNED) * ALIGNED, segmentBytes);
}

function skipPageHeader(at: WalPosition, segmentBytes: number): WalPosition {
  if (at % PAGE_BYTES !== 0n) return at;
  return at + (at % BigInt(segmentBytes) === 0n ? LONG_BYTES : SHORT_BYTES);
}

/** True where all of what would be a record is before the end: a server that did not replay it has found it damaged. */
export function endsBefore(
  header: WalPosition,
  { bytes, segmentBytes }: { bytes: number; segmentBytes: number },
  end: WalPosition,
): boolean {
  if (bytes < LEAST_BYTES) return true;
  let [at, left] = [header, BigInt(bytes)];
  while (left > 0n && at < end) {
    at = skipPageHeader(at, segmentBytes);
    const room = PAGE_BYTES - (at % PAGE_BYTES);
    const part = left < room ? left : room;
    at += part;
    left -= part;
  }
  return left === 0n && at <= end;
}
