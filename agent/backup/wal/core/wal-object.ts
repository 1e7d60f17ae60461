// What of a log lies in a repository: each shipment is an object that its name says all of: segment, range and when it was shipped. A
// closed segment is there whole, then its pieces may go. Pure; used by shipping, restores and retention.

import { startOfSegment, type WalPosition, parseSegment, nameSegment } from "./wal-position.ts";

/** One object of a log. */
export interface WalObject {
  name: string;
  /** The segment's own name. */
  segment: string;
  /** From here, and before there. */
  from: WalPosition;
  to: WalPosition;
  /** When it was shipped: what it holds was written before. Milliseconds since the epoch. */
  shippedMs: number;
  encrypted: boolean;
}

/** A range that is shipped. */
interface Shipment {
  timeline: number;
  from: WalPosition;
  to: WalPosition;
  segmentBytes: number;
  shippedMs: number;
  encrypted: boolean;
}

const ENDING = ".wal.zst";

/** `000000010000000000000003.00000000-00001a28.20261120T021701123Z.wal.zst.age`. */
export function nameWalObject({ timeline, from, to, segmentBytes, shippedMs, encrypted }: Shipment): string {
  const start = startOfSegment(from, segmentBytes);
  const write = (at: WalPosition): string => (at - start).toString(16).padStart(8, "0");
  const stamp = new Date(shippedMs).toISOString().replaceAll(/[-:.]/g, "");
  const segment = nameSegment(timeline, from, segmentBytes);
  return `${segment}.${write(from)}-${write(to)}.${stamp}${ENDING}${encrypted ? ".age" : ""}`;
}

/** Reads such a name; undefined for any other. */
function parseWalObject(name: string, segmentBytes: number): WalObject | undefined {
  const found =
    /^([0-9A-F]{24})\.([0-9a-f]{8})-([0-9a-f]{8})\.(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z\.wal\.zst(\.age)?$/.exec(
      name,
    );
  if (found === null) return undefined;
  const [, segment = "", first, last, year, month, day, hour, minute, second, milli, sealed] = found;
  const start = parseSegment(segment, segmentBytes)?.start;
  const shippedMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${milli}Z`);
  if (start === undefined || Number.isNaN(shippedMs)) return undefined;
  const [from, to] = [start + BigInt(`0x${first}`), start + BigInt(`0x${last}`)];
  if (to <= from || to - start > BigInt(segmentBytes)) return undefined;
  return { name, segment, from, to, shippedMs, encrypted: sealed !== undefined };
}

/** When an object of a log was shipped, or its index written, by its name alone; undefined for any other. */
export function parseWalStamp(name: string): number | undefined {
  const found = /\.(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z\.(?:wal|json)\.zst/.exec(name);
  if (found === null) return undefined;
  const [, year, month, day, hour, minute, second, milli] = found;
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${milli}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}

/** The objects among these names. */
export function listWalObjects(names: readonly string[], segmentBytes: number): WalObject[] {
  return names.flatMap((name) => parseWalObject(name, segmentBytes) ?? []);
}

/** True for a segment that is there in one object. */
function isWhole({ from, to }: WalObject, segmentBytes: number): boolean {
  return to - from === BigInt(segmentBytes);
}

/** The object that has all of a segment. */
export function findWhole(objects: readonly WalObject[], segment: string, segmentBytes: number): WalObject | undefined {
  return objects.findLast((entry) => entry.segment === segment && isWhole(entry, segmentBytes));
}

/**
 * The objects that a restore reads, in order, and how far they lead without a gap.
 * @param from where the base begins
 * @param sinceMs shipped before the base was begun, a piece is of what its segment brings whole later, or of another history
 */
export function followObjects(
  objects: readonly WalObject[],
  { from, sinceMs, segmentBytes }: { from: WalPosition; sinceMs: number; segmentBytes: number },
): { objects: WalObject[]; end: WalPosition } {
  const usable = objects.filter(({ shippedMs }) => shippedMs >= sinceMs);
  const bySegment = Map.groupBy(usable, ({ segment }) => segment);
  const starts = new Map(usable.map((entry) => [startOfSegment(entry.from, segmentBytes), entry.segment]));
  const found: WalObject[] = [];
  let end = startOfSegment(from, segmentBytes);
  for (;;) {
    const pieces = bySegment.get(starts.get(end) ?? "") ?? [];
    const whole = pieces.find((entry) => isWhole(entry, segmentBytes));
    if (whole === undefined) {
      // Pieces of a segment that is open lead into no other.
      const open = followPieces(pieces, end);
      return { objects: [...found, ...open], end: open.at(-1)?.to ?? end };
    }
    found.push(whole);
    end = whole.to;
  }
}

/** A shipment that was not heard to end was made once more, and is longer then. */
function followPieces(pieces: readonly WalObject[], start: WalPosition): WalObject[] {
  const found: WalObject[] = [];
  let end = start;
  for (;;) {
    const [next] = pieces
      .filter((entry) => entry.from <= end && entry.to > end)
      .toSorted((one, other) => (one.to > other.to ? -1 : 1));
    if (next === undefined) return found;
    found.push(next);
    end = next.to;
  }
}

/** Pieces of segments that are there whole: nobody reads them any more. */
export function listSparePieces(objects: readonly WalObject[], segmentBytes: number): string[] {
  const whole = objects.filter((entry) => isWhole(entry, segmentBytes));
  const known = new Map(whole.map(({ segment, shippedMs }) => [segment, shippedMs]));
  return objects
    .filter((entry) => !isWhole(entry, segmentBytes))
    .filter(({ segment, shippedMs }) => (known.get(segment) ?? Number.NEGATIVE_INFINITY) >= shippedMs)
    .map(({ name }) => name);
}

/** A range that is missing between what is there. */
export interface WalGap {
  from: WalPosition;
  to: WalPosition;
}

/** What is missing of a range that was shipped. */
export function findGaps(
  objects: readonly WalObject[],
  { from, to }: { from: WalPosition; to: WalPosition },
): WalGap[] {
  const gaps: WalGap[] = [];
  let at = from;
  const inOrder = objects.toSorted((one, other) => (one.from < other.from ? -1 : one.from > other.from ? 1 : 0));
  for (const entry of inOrder) {
    if (entry.to <= at) continue;
    if (entry.from >= to) break;
    if (entry.from > at) gaps.push({ from: at, to: entry.from });
    at = entry.to;
  }
  if (at < to) gaps.push({ from: at, to });
  return gaps;
}
