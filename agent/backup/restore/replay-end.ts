// Whether a log that was fetched is the one that its names say, and what is known of its end once it was replayed: what is missing is never
// said to be nothing. Called by replay-log.ts and restore-base.ts. Pure.

import type { BaseRange } from "../wal/core/choose-base.ts";
import type { WalObject } from "../wal/core/wal-object.ts";
import { formatPosition, startOfSegment, type WalPosition } from "../wal/core/wal-position.ts";

/** The header that begins a segment (PostgreSQL, access/xlog_internal.h: XLogLongPageHeaderData), little-endian as on every host of Orca. */
const HEADER = { address: 8, systemId: 24, bytes: 32 };

/** What of another log, or of another part of it, an object holds; undefined where it is right, or has no header to tell. */
export function findForeign(
  bytes: Buffer,
  { from }: Pick<WalObject, "from">,
  { systemId, segmentBytes }: Pick<BaseRange, "systemId" | "segmentBytes">,
): string | undefined {
  if (from !== startOfSegment(from, segmentBytes) || bytes.length < HEADER.bytes) return undefined;
  const address = bytes.readBigUInt64LE(HEADER.address);
  if (address !== from) return `the log at ${formatPosition(address)}, and not at ${formatPosition(from)}`;
  const server = bytes.readBigUInt64LE(HEADER.systemId).toString();
  return server === systemId ? undefined : `the log of the server ${server}, and not of ${systemId}`;
}

/**
 * What is said of a moment after all that is stored.
 * @param knownMs everything that was committed until then is stored
 */
export function describeEnd({ end, knownMs, atMs }: { end: WalPosition; knownMs: number; atMs: number }): string {
  const [moment, known] = [new Date(atMs).toISOString(), new Date(knownMs).toISOString()];
  const stored = `the log that is stored ends at ${formatPosition(end)}`;
  if (knownMs >= atMs) return `${stored}, with no commit between that and ${moment}`;
  return `${stored} and is whole until ${known}: what was committed between that and ${moment} is NOT restored, because it was not stored`;
}
