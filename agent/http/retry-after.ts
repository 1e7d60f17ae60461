// How long a server asks to be left alone. Pure: read by whoever asks a server and is refused for now.

/** Whatever a server says, nobody keeps a node from its source for longer. */
const LONGEST_WAIT_MS = 900_000;

/** Reads Retry-After: seconds, or a date. Undefined where it says neither. */
export function parseRetryAfter(
  value: string | undefined,
  nowMs: number,
  longestMs = LONGEST_WAIT_MS,
): number | undefined {
  if (value === undefined) return undefined;
  const isDate = /[A-Za-z]/.test(value);
  const waitMs = isDate ? Date.parse(value) - nowMs : /^\d+$/.test(value.trim()) ? Number(value) * 1_000 : Number.NaN;
  return Number.isFinite(waitMs) ? Math.min(longestMs, Math.max(0, waitMs)) : undefined;
}
