// Durations as people write them: `500ms 10s 5m 6h 7d`. Used by every schema; holds milliseconds inside.
// Never rounds: what it prints parses back to the same number.

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type Unit = keyof typeof UNIT_MS;

/** One number and one unit; the pattern is also what `orca schema` shows to editors. */
export const DURATION_PATTERN = /^(0|[1-9]\d{0,12})(ms|s|m|h|d)$/;

/**
 * Parses a duration.
 * @param text such as `"10s"`
 * @returns milliseconds, or undefined when the text is not a duration
 */
export function parseDuration(text: string): number | undefined {
  const match = DURATION_PATTERN.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * UNIT_MS[match[2] as Unit];
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
  const bare = /^(\d+)$/.exec(text.trim());
  if (bare !== null) return `add a unit, for example "${bare[1]}s"`;
  const compound = [...text.matchAll(/(\d+)\s*(ms|s|m|h|d)/g)];
  if (compound.length > 1) {
    const total = compound.reduce((sum, part) => sum + Number(part[1]) * UNIT_MS[part[2] as Unit], 0);
    return `write it in one unit: "${formatDuration(total)}"`;
  }
  const spelled = /^(\d+)\s*(sec|secs|second|seconds|min|mins|minute|minutes|hour|hours|hr|day|days)$/i.exec(
    text.trim(),
  );
  if (spelled !== null) return `write "${spelled[1]}${(spelled[2] ?? "s").charAt(0).toLowerCase()}"`;
  return 'write a whole number and a unit: "500ms", "10s", "5m", "6h" or "7d"';
}
