// Durations as people write them: `500ms 10s 5m 6h 7d`. Used by every schema; holds milliseconds inside.
// Never rounds: what it prints parses back to the same number.

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type Unit = keyof typeof UNIT_MS;

/** One number and one unit; the pattern is also what `orca schema` shows to editors. */
export const DURATION_PATTERN = /^(0|[1-9]\d{0,12})(ms|s|m|h|d)$/;

/** A hundred years: more is a slip of the pen, and sums of durations and times stay exact below it. */
const LONGEST_MS = 36_525 * UNIT_MS.d;

/** No text of a person is longer; patterns that look for what was meant need not be run on more. */
const LONGEST_TEXT = 64;

/**
 * Parses a duration.
 * @param text such as `"10s"`
 * @returns milliseconds, or undefined when the text is not a duration or is longer than a hundred years
 */
export function parseDuration(text: string): number | undefined {
  const match = DURATION_PATTERN.exec(text);
  if (match === null) return undefined;
  const durationMs = Number(match[1]) * UNIT_MS[match[2] as Unit];
  return durationMs <= LONGEST_MS ? durationMs : undefined;
}

/**
 * Prints a duration in the largest unit that divides it, so that it parses back to the same number.
 * @param durationMs whole milliseconds, 0 or more
 */
export function formatDuration(durationMs: number): string {
  for (const unit of ["d", "h", "m", "s"] as const) {
    if (durationMs >= UNIT_MS[unit] && durationMs % UNIT_MS[unit] === 0) return `${durationMs / UNIT_MS[unit]}${unit}`;
  }
  return durationMs === 0 ? "0s" : `${durationMs}ms`;
}

/** Prints an age or a wait for people: `850ms`, `12s`, `3m 20s`, `5h 12m`, `3d 4h`; at most two units, cut, not rounded. */
export function describeDuration(durationMs: number): string {
  const whole = Math.max(0, Math.trunc(durationMs));
  if (whole < 1_000) return `${whole}ms`;
  const units = ["d", "h", "m", "s"] as const;
  const first = units.findIndex((unit) => whole >= UNIT_MS[unit]);
  const unit = units[first] ?? "s";
  const rest = units[first + 1];
  const count = Math.trunc(whole / UNIT_MS[unit]);
  const left = rest === undefined ? 0 : Math.trunc((whole % UNIT_MS[unit]) / UNIT_MS[rest]);
  return left === 0 ? `${count}${unit}` : `${count}${unit} ${left}${rest}`;
}

/** What to write instead of a text that is no duration. */
export function suggestDuration(text: string): string {
  if (text.length > LONGEST_TEXT) return 'write a whole number and a unit: "500ms", "10s", "5m", "6h" or "7d"';
  if (DURATION_PATTERN.test(text)) return `write at most ${formatDuration(LONGEST_MS)}`;
  const bare = /^(\d+)$/.exec(text.trim());
  if (bare !== null) return `add a unit, for example "${bare[1]}s"`;
  const compound = [...text.matchAll(/(\d+)\s*(ms|s|m|h|d)/g)];
  const total = compound.reduce((sum, part) => sum + Number(part[1]) * UNIT_MS[part[2] as Unit], 0);
  if (compound.length > 1 && total <= LONGEST_MS) return `write it in one unit: "${formatDuration(total)}"`;
  const spelled =
    /^0*(\d+)\s*(ms|millis|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|wks?|weeks?)$/i.exec(
      text.trim(),
    );
  const written = spelled === null ? "" : spellUnit(spelled[1] ?? "", spelled[2] ?? "");
  if (parseDuration(written) !== undefined) return `write "${written}"`;
  return 'write a whole number and a unit: "500ms", "10s", "5m", "6h" or "7d"';
}

function spellUnit(count: string, word: string): string {
  const lower = word.toLowerCase();
  if (lower.startsWith("mil") || lower === "ms") return `${count}ms`;
  return lower.startsWith("w") ? `${Number(count) * 7}d` : `${count}${lower.charAt(0)}`;
}
