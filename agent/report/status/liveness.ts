// Is the loop alive? What `/healthz` answers. Pure.

/** The loop turns every 30 s at the latest; two intervals without a turn mean that it stands still. */
const ALIVE_MS = 60_000;

/**
 * Judges the loop.
 * @param turnedMs when a turn was last completed, on the clock that never jumps; undefined before the first
 * @param trouble why the last turn failed, and fault why the newest inputs could not be built while the loop goes on
 */
export function judgeLiveness(
  turnedMs: number | undefined,
  nowMs: number,
  { trouble, fault }: { trouble: string | undefined; fault?: string | undefined },
): { ok: boolean; message: string } {
  if (turnedMs === undefined) return { ok: false, message: "no turn of the loop has been completed yet" };
  const ageMs = nowMs - turnedMs;
  const seconds = Math.round(ageMs / 1_000);
  const beside = fault === undefined ? "" : `; but ${fault}`;
  if (ageMs <= ALIVE_MS) return { ok: true, message: `ok: the last turn ended ${seconds} s ago${beside}` };
  const why = trouble === undefined ? "" : `: ${trouble}`;
  return { ok: false, message: `no turn of the loop has been completed for ${seconds} s${why}` };
}
