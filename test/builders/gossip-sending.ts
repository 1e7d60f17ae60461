// One direction of a simulated stream, as Linux's TCP sends it: when it repeats what was not acknowledged, and what waits meanwhile.
// Pure; for gossip-streams.ts. test/fleet/loss.test.ts holds it to the kernel.

import type { Message } from "../../agent/gossip/core/message.ts";

/** What one message is while it is on its way. */
export interface Segment {
  message: Message | "fin";
  order: number;
  /** How often it went out, and when last. */
  sends: number;
  sentMs: number;
  arrived: boolean;
  /** It was lost when it went out last. Nothing is repeated that is only late: in a simulation that would be noise. */
  isLost: boolean;
  /** The sender knows that it arrived beyond a gap. */
  isSacked: boolean;
  /** The sender holds it for lost, and has not repeated it yet. */
  isMissed: boolean;
}

/** One direction of a stream. */
export interface Lane {
  from: string;
  to: string;
  /** What was sent and has not been delivered, in order. */
  queue: Segment[];
  /** What has not been acknowledged, in order. */
  flight: Segment[];
  orders: number;
  /** The receiver's side: when what came last in order was sent (the echoed timestamp). */
  echoMs: number;
  /** As tcp_rtt_estimator has it: the smoothed round trip, how far it varies, and the largest variation of this round. */
  rtt: { smoothMs: number; meanMs: number; mostMs: number; variesMs: number; untilOrder: number } | undefined;
  /** Timeouts in a row, and how often the time was doubled. */
  timeouts: number;
  doublings: number;
  /** What was sent until the last loss: until that is acknowledged there is no probe of the tail. */
  recoverOrder: number | undefined;
  /** Behind a timeout only one segment goes out; what is new waits until that is acknowledged. */
  isHeld: boolean;
  /** The first time is a probe of the tail (TLP), which costs no patience. */
  isProbed: boolean;
  dueMs: number;
  isArmed: boolean;
}

/** TCP_RTO_MIN, and TCP_RTO_MAX. */
export const RTO_MS = 200;
const MOST_RTO_MS = 120_000;
/** Two jiffies at 250 a second: what a probe waits beyond two round trips, and RACK for what was overtaken. */
export const MOMENT_MS = 8;
/** So many timeouts in a row are not doubled where net.ipv4.tcp_thin_linear_timeouts is set, */
const LINEAR_TIMEOUTS = 6;
/** and fewer segments than this are on their way. */
const THIN_SEGMENTS = 4;

/** A direction on which nothing was sent yet. */
export function beginLane(from: string, to: string): Lane {
  return {
    ...{ from, to, queue: [], flight: [], orders: 0, echoMs: 0, rtt: undefined, timeouts: 0, doublings: 0 },
    ...{ recoverOrder: undefined, isHeld: false, isProbed: false, dueMs: Infinity, isArmed: false },
  };
}

/** Takes a message to be sent. */
export function addSegment(lane: Lane, message: Segment["message"]): Segment {
  const order = (lane.orders += 1);
  const segment = { message, order, sends: 0, sentMs: 0, arrived: false, isLost: false, isSacked: false, isMissed: false };
  lane.queue.push(segment);
  lane.flight.push(segment);
  return segment;
}

/** A segment goes out now, and is lost or not. */
export function noteSent(lane: Lane, segment: Segment, { nowMs, isLost }: { nowMs: number; isLost: boolean }): void {
  const isNew = segment.sends === 0;
  segment.sends += 1;
  segment.sentMs = nowMs;
  segment.isMissed = false;
  // A copy that is on its way may still come.
  segment.isLost = isLost && (isNew || segment.isLost) && !segment.arrived;
  // Only what is new moves the timer; with a probe on its way, by the time of another.
  if (!isNew) return;
  const isAlone = countSent(lane) === 1;
  if (lane.recoverOrder === undefined)
    lane.dueMs = nowMs + probeMs(lane, isAlone) + (lane.isProbed ? timeoutMs(lane) : 0);
  else if (isAlone) lane.dueMs = nowMs + timeoutMs(lane);
}

/**
 * The sender hears what has arrived.
 * @param isDirect by the answer to what came just now: a round trip is twice that time
 * @returns what goes out now, and what does after a moment unless it is heard of till then
 */
export function learn(lane: Lane, nowMs: number, isDirect: boolean): { now: Segment[]; soon: Segment[] } {
  const gap = lane.flight.findIndex(({ arrived }) => !arrived);
  const done = lane.flight.splice(0, gap === -1 ? lane.flight.length : gap);
  const isRecovering = lane.recoverOrder !== undefined;
  if (done.length > 0) acknowledge(lane, done, { nowMs, isDirect });
  const overtaken = sack(lane);
  if (overtaken.length > 0 && !isRecovering) lane.recoverOrder = lane.flight.findLast(({ sends }) => sends > 0)?.order;
  const missed = done.length > 0 ? lane.flight.filter(({ isMissed, sends }) => isMissed || sends === 0) : [];
  if (isRecovering) return { now: [...new Set([...missed, ...overtaken])], soon: [] };
  return { now: missed, soon: overtaken };
}

function acknowledge(
  lane: Lane,
  done: readonly Segment[],
  { nowMs, isDirect }: { nowMs: number; isDirect: boolean },
): void {
  const [first] = done;
  const wasRepeated = done.some(({ sends }) => sends > 1);
  const sinceMs = nowMs - (wasRepeated || first === undefined ? lane.echoMs : first.sentMs);
  estimate(lane, isDirect ? 2 * sinceMs : sinceMs, done.at(-1)?.order ?? 0);
  const until = lane.recoverOrder;
  if (until !== undefined && (lane.flight[0]?.order ?? Infinity) > until) lane.recoverOrder = undefined;
  Object.assign(lane, { timeouts: 0, doublings: 0, isHeld: false, isProbed: false });
  const sent = countSent(lane);
  if (sent === 0) lane.dueMs = Infinity;
  else lane.dueMs = nowMs + (lane.recoverOrder === undefined ? probeMs(lane, sent === 1) : timeoutMs(lane));
}

/** What was overtaken by something that was sent later. */
function sack(lane: Lane): Segment[] {
  let newestMs = -1;
  for (const segment of lane.flight) {
    if (!segment.arrived || segment.isSacked) continue;
    segment.isSacked = true;
    newestMs = Math.max(newestMs, segment.sentMs);
  }
  if (newestMs < 0) return [];
  return lane.flight.filter(({ isLost, sentMs }) => isLost && sentMs <= newestMs);
}

/** The timer has run out: what goes out once more. */
export function runOut(lane: Lane, nowMs: number, isLinear: boolean): Segment | undefined {
  const sent = lane.flight.filter(({ sends, isSacked }) => sends > 0 && !isSacked);
  if (lane.recoverOrder === undefined && !lane.isProbed) {
    lane.isProbed = true;
    lane.dueMs = nowMs + timeoutMs(lane);
    return sent.at(-1);
  }
  lane.recoverOrder = lane.flight.findLast(({ sends }) => sends > 0)?.order;
  lane.isHeld = true;
  lane.timeouts += 1;
  for (const segment of sent) segment.isMissed = true;
  if (isLinear && countSent(lane) < THIN_SEGMENTS && lane.timeouts <= LINEAR_TIMEOUTS) lane.doublings = 0;
  else lane.doublings += 1;
  lane.dueMs = nowMs + timeoutMs(lane);
  return sent[0];
}

function countSent({ flight }: Lane): number {
  let sent = 0;
  for (const { sends } of flight) if (sends > 0) sent += 1;
  return sent;
}

function timeoutMs({ rtt, doublings }: Lane): number {
  const baseMs = rtt === undefined ? RTO_MS : rtt.smoothMs + rtt.variesMs;
  return Math.min(MOST_RTO_MS, baseMs * 2 ** doublings);
}

/** Alone, a segment may wait for its acknowledgement as long as a receiver may hold that back. */
function probeMs(lane: Lane, isAlone: boolean): number {
  return Math.min(timeoutMs(lane), 2 * (lane.rtt?.smoothMs ?? 0) + (isAlone ? RTO_MS : MOMENT_MS));
}

function estimate(lane: Lane, sampleMs: number, order: number): void {
  const { rtt, orders } = lane;
  if (rtt === undefined) {
    lane.rtt = { smoothMs: sampleMs, meanMs: 2 * sampleMs, mostMs: RTO_MS, variesMs: RTO_MS, untilOrder: orders };
    return;
  }
  const errorMs = sampleMs - rtt.smoothMs;
  rtt.smoothMs += errorMs / 8;
  // `meanMs` is four times the mean deviation. What came sooner than expected makes it grow more slowly.
  const growsMs = Math.abs(errorMs) - rtt.meanMs / 4;
  rtt.meanMs += errorMs < 0 && growsMs > 0 ? growsMs / 8 : growsMs;
  if (rtt.meanMs > rtt.mostMs) {
    rtt.mostMs = rtt.meanMs;
    rtt.variesMs = Math.max(rtt.variesMs, rtt.mostMs);
  }
  if (order < rtt.untilOrder) return;
  if (rtt.mostMs < rtt.variesMs) rtt.variesMs -= (rtt.variesMs - rtt.mostMs) / 4;
  rtt.untilOrder = orders;
  rtt.mostMs = RTO_MS;
}
