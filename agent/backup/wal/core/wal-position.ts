// Positions in PostgreSQL's write-ahead log: numbers of bytes since the beginning, as the server writes them (`0/3000028`), and the names
// of its segments (PostgreSQL, "WAL Internals"). Used by all of wal/. Pure.

/** A position; bytes since the beginning of a cluster's log. */
export type WalPosition = bigint;

const LOG_BYTES = 2n ** 32n;

/** Reads a position as the server writes it; undefined for a text that is none. */
export function parsePosition(text: string): WalPosition | undefined {
  const found = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(text);
  if (found === null) return undefined;
  return BigInt(`0x${found[1]}`) * LOG_BYTES + BigInt(`0x${found[2]}`);
}

/** As the server writes it. */
export function formatPosition(position: WalPosition): string {
  const write = (part: bigint): string => part.toString(16).toUpperCase();
  return `${write(position / LOG_BYTES)}/${write(position % LOG_BYTES)}`;
}

/** A timeline as names have it: eight digits of base 16. */
export function nameTimeline(timeline: number): string {
  return timeline.toString(16).toUpperCase().padStart(8, "0");
}

/** Where the segment begins that has a position. */
export function startOfSegment(position: WalPosition, segmentBytes: number): WalPosition {
  return position - (position % BigInt(segmentBytes));
}

/** The name of the segment that has a position: `000000010000000000000003`. */
export function nameSegment(timeline: number, position: WalPosition, segmentBytes: number): string {
  const number = position / BigInt(segmentBytes);
  const perLog = LOG_BYTES / BigInt(segmentBytes);
  const write = (part: bigint): string => part.toString(16).toUpperCase().padStart(8, "0");
  return `${nameTimeline(timeline)}${write(number / perLog)}${write(number % perLog)}`;
}

/** Where a segment begins and whose it is, by its name; undefined for another file. */
export function parseSegment(name: string, segmentBytes: number): { timeline: number; start: WalPosition } | undefined {
  const found = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/.exec(name);
  if (found === null) return undefined;
  const [, timeline = "", log = "", number = ""] = found;
  const perLog = LOG_BYTES / BigInt(segmentBytes);
  const start = (BigInt(`0x${log}`) * perLog + BigInt(`0x${number}`)) * BigInt(segmentBytes);
  return { timeline: Number.parseInt(timeline, 16), start };
}
