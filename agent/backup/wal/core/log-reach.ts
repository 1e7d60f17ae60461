// Back to which moments the bases and the log of one repository lead: spans of time, and what of the log is missing. Pure.

import type { BackupRecord } from "../../core/backup-record.ts";
import { findMissing, followBase, listBases, nameLogArea, readBaseRange } from "./choose-base.ts";
import type { WalObject } from "./wal-object.ts";
import { formatPosition, nameSegment, type WalPosition } from "./wal-position.ts";

/** Any moment of a span can be restored to. */
interface ReachSpan {
  fromMs: number;
  /** When the newest of it was stored. */
  untilMs: number;
}

/** What is missing of a log: positions of the server, and the first and last segment that lacks something. */
interface ReachGap {
  from: string;
  to: string;
  first: string;
  last: string;
}

/** How far it leads. */
export interface LogReach {
  /** The oldest first. */
  spans: ReachSpan[];
  gaps: ReachGap[];
}

interface Chain extends ReachSpan {
  area: string;
  end: WalPosition;
}

/**
 * Follows every complete base of a repository.
 * @param listObjects the objects of a log area there
 */
export function findReach(
  records: readonly BackupRecord[],
  listObjects: (area: string, segmentBytes: number) => readonly WalObject[],
): LogReach {
  const chains: Chain[] = [];
  const gaps = new Map<string, ReachGap>();
  for (const record of listBases(records).toReversed()) {
    const range = readBaseRange(record);
    if (range === undefined) continue;
    const area = nameLogArea(range);
    const objects = listObjects(area, range.segmentBytes);
    const missing = findMissing(record, objects);
    if (missing !== undefined) {
      const { timeline, segmentBytes } = range;
      const [first, last] = [missing.from, missing.to - 1n].map((at) => nameSegment(timeline, at, segmentBytes));
      const [from, to] = [formatPosition(missing.from), formatPosition(missing.to)];
      gaps.set(`${area} ${from}`, { from, to, first: first ?? "", last: last ?? "" });
    }
    const followed = followBase(record, objects);
    if (followed?.isComplete !== true) continue;
    const untilMs = Math.max(record.endedMs, followed.objects.at(-1)?.shippedMs ?? 0);
    const before = chains.at(-1);
    // Nothing happened between, where the log of the one before leads to where this one begins.
    if (before?.area === area && before.end >= range.start) {
      before.untilMs = Math.max(before.untilMs, untilMs);
      before.end = followed.end > before.end ? followed.end : before.end;
    } else chains.push({ area, end: followed.end, fromMs: record.endedMs, untilMs });
  }
  return { spans: chains.map(({ fromMs, untilMs }) => ({ fromMs, untilMs })), gaps: [...gaps.values()] };
}
