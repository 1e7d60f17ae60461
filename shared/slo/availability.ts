// How the time of a service was: up, down or unknown; what was lost of nodes, and incidents. Kept by host/store/, counted by report/,
// told by gossip/. Types, and the arithmetic of spans. Pure.

/** The window that `slo.availability` is about: rolling 30 days. */
export const WINDOW_MS = 30 * 86_400_000;
/** Times are kept in buckets of so long. */
export const BUCKET_MS = 3_600_000;

/** How long it was what, in milliseconds. */
export interface Times {
  upMs: number;
  downMs: number;
  unknownMs: number;
}

/** Nothing counted. */
export const NO_TIMES: Times = { upMs: 0, downMs: 0, unknownMs: 0 };

/** A stretch of time by the wall clock. */
export interface Span {
  fromMs: number;
  toMs: number;
}

/** A stretch in which this agent did not look, and what its peers say of it. */
export interface Gap extends Span {
  id: number;
  /** The services that it is unknown of. */
  services: readonly string[];
  /** What of it counts as down; undefined where nobody has said so. */
  down: Span | undefined;
}

/** When a node was dead for another, by that one's wall clock; without an end it is so still. */
export interface LostNode {
  node: string;
  fromMs: number;
  toMs?: number | undefined;
}

/** A service was not as it should be, from then on until it had settled again. */
export interface Incident {
  service: string;
  beganMs: number;
  /** Undefined while it goes on. */
  endedMs: number | undefined;
  /** How long it took by a clock that does not jump; while it goes on, so far. */
  tookMs: number;
  /** The state that it was first seen in. */
  state: string;
}

/** What is known of a service's time. */
export interface ServiceTimes extends Times {
  service: string;
  /** The last one; undefined where there was none. */
  incident: Incident | undefined;
}

/** The sum of both. */
export function addTimes(left: Times, right: Times): Times {
  return {
    upMs: left.upMs + right.upMs,
    downMs: left.downMs + right.downMs,
    unknownMs: left.unknownMs + right.unknownMs,
  };
}

/** Cuts a span at the borders of buckets; answers the beginning of each bucket and how much of it lies in the span. */
export function splitSpan({ fromMs, toMs }: Span): { hourMs: number; lengthMs: number }[] {
  const parts: { hourMs: number; lengthMs: number }[] = [];
  for (let atMs = fromMs; atMs < toMs;) {
    const hourMs = Math.floor(atMs / BUCKET_MS) * BUCKET_MS;
    const endMs = Math.min(toMs, hourMs + BUCKET_MS);
    parts.push({ hourMs, lengthMs: endMs - atMs });
    atMs = endMs;
  }
  return parts;
}

/** What both have in common; undefined where that is nothing. */
function intersect(left: Span, right: Span): Span | undefined {
  const fromMs = Math.max(left.fromMs, right.fromMs);
  const toMs = Math.min(left.toMs, right.toMs);
  return toMs > fromMs ? { fromMs, toMs } : undefined;
}

/**
 * What of a gap counts as down by what other nodes say: from the first moment in it at which one of them held this node for dead to the
 * last. Whoever boots again and again in between serves nothing either.
 */
export function judgeGap(gap: Gap, lost: readonly LostNode[]): Span | undefined {
  const said = lost.flatMap(({ fromMs, toMs = gap.toMs }) => intersect(gap, { fromMs, toMs }) ?? []);
  const all = gap.down === undefined ? said : [...said, gap.down];
  if (all.length === 0) return undefined;
  return { fromMs: Math.min(...all.map(({ fromMs }) => fromMs)), toMs: Math.max(...all.map(({ toMs }) => toMs)) };
}
