// One direction of a simulated stream, as Linux's TCP sends it: when it repeats what was not acknowledged, and what waits meanwhile.
// Pure; for gossip-streams.ts. test/fleet/loss.test.ts holds it to the kernel.

import type { Message } from "../../../agent/gossip/core/message.ts";

/** What is sent: a message, or the end of the stream. */
export type Said = Message | "fin";

/** One packet: what of it is whole once it has arrived. */
export interface Segment {
  said: Said[];
  bytes: number;
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
  /** How many segments may be on their way, and up to how many that doubles with each round trip. */
  window: number;
  threshold: number;
  /** The first time is a probe of the tail (TLP), which costs no patience. */
  isProbed: boolean;
  dueMs: number;
  isArmed: boolean;
}

const NONE: readonly Segment[] = [];
const NOTHING_LEARNT = { overtaken: NONE, delayMs: 0 };
/** What one packet carries. */
const SEGMENT_BYTES = 1_400;
/** TCP_RTO_MIN, and TCP_RTO_MAX. */
export const RTO_MS = 200;
const MOST_RTO_MS = 120_000;
/** Two jiffies at 250 a second: what a probe waits beyond two round trips, and RACK for what was overtaken. */
const MOMENT_MS = 8;
/** So many timeouts in a row are not doubled where net.ipv4.tcp_thin_linear_timeouts is set, */
const LINEAR_TIMEOUTS = 6;
/** and fewer segments than this are on their way. */
const THIN_SEGMENTS = 4;
/** TCP_INIT_CWND, and what CUBIC leaves of a window after a loss. */
const FIRST_WINDOW = 10;
const LEFT_AFTER_LOSS = 0.7;
const LEAST_WINDOW = 2;

/** A direction on which nothing was sent yet. */
export function beginLane(from: string, to: string): Lane {
  return {
    from,
    to,
    queue: [],
    flight: [],
    orders: 0,
    echoMs: 0,
    rtt: undefined,
    timeouts: 0,
    doublings: 0,
    recoverOrder: undefined,
    window: FIRST_WINDOW,
    threshold: Infinity,
    isProbed: false,
    dueMs: Infinity,
    isArmed: false,
  };
}

/** Takes a message to be sent: with others that are said at the same moment or wait too it fills packets. */
export function addMessage(lane: Lane, said: Said, { bytes, nowMs }: { bytes: number; nowMs: number }): void {
  const last = lane.flight.at(-1);
  const isOpen = last !== undefined && (last.sends === 0 || (last.sends === 1 && last.sentMs === nowMs));
  let segment = isOpen ? last : addSegment(lane);
  let left = bytes;
  for (;;) {
    const taken = Math.min(left, SEGMENT_BYTES - segment.bytes);
    segment.bytes += taken;
    left -= taken;
    if (left === 0) break;
    segment = addSegment(lane);
  }
  segment.said.push(said);
}

function addSegment(lane: Lane): Segment {
  lane.orders += 1;
  const segment: Segment = {
    said: [],
    bytes: 0,
    order: lane.orders,
    sends: 0,
    sentMs: 0,
    arrived: false,
    isLost: false,
    isSacked: false,
    isMissed: false,
  };
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

/** Takes what may go out now: first what is held for lost, then what is new. */
export function takeDue(lane: Lane, atLeast = 0): readonly Segment[] {
  const [first] = lane.flight;
  if (first === undefined) return NONE;
  // As nearly always: what is due alone goes out, whatever the window.
  if (lane.flight.length === 1) return first.isMissed || first.sends === 0 ? [first] : NONE;
  const due = lane.flight.filter(({ isMissed, sends }) => isMissed || sends === 0);
  if (due.length === 0) return due;
  return due.slice(0, Math.max(atLeast, Math.floor(lane.window) - countOnTheirWay(lane)));
}

/**
 * The sender hears what has arrived.
 * @param isDirect by the answer to what came just now: a round trip is twice that time
 * @returns what was overtaken by something sent later: it is held for lost after a moment, in a recovery at once
 */
export function learn(
  lane: Lane,
  nowMs: number,
  isDirect: boolean,
): { overtaken: readonly Segment[]; delayMs: number } {
  // As nearly always: the one packet on its way has not arrived.
  if (lane.flight.length === 1 && lane.flight[0]?.arrived === false) return NOTHING_LEARNT;
  const gap = lane.flight.findIndex(({ arrived }) => !arrived);
  const before = countOnTheirWay(lane);
  const done = lane.flight.splice(0, gap === -1 ? lane.flight.length : gap);
  const delayMs = lane.recoverOrder === undefined ? MOMENT_MS : 0;
  if (done.length > 0) {
    grow(lane, done.length, before);
    acknowledge(lane, done, { nowMs, isDirect });
  }
  return { overtaken: sack(lane), delayMs };
}

/** Holds segments for lost that were overtaken; answers what goes out for it. */
export function miss(lane: Lane, segments: readonly Segment[]): readonly Segment[] {
  for (const segment of segments) segment.isMissed = true;
  if (lane.recoverOrder === undefined) beginRecovery(lane);
  return takeDue(lane, 1);
}

function beginRecovery(lane: Lane): void {
  lane.recoverOrder = lane.flight.findLast(({ sends }) => sends > 0)?.order;
  lane.threshold = Math.max(LEAST_WINDOW, Math.floor(lane.window * LEFT_AFTER_LOSS));
  lane.window = lane.threshold;
}

/** A window grows where it was used. */
function grow(lane: Lane, acknowledged: number, onTheirWay: number): void {
  if (lane.window < lane.threshold) {
    if (lane.window < 2 * onTheirWay) lane.window += acknowledged;
  } else if (lane.window <= onTheirWay) lane.window += acknowledged / lane.window;
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
  lane.timeouts = 0;
  lane.doublings = 0;
  lane.isProbed = false;
  const sent = countSent(lane);
  if (sent === 0) lane.dueMs = Infinity;
  else lane.dueMs = nowMs + (lane.recoverOrder === undefined ? probeMs(lane, sent === 1) : timeoutMs(lane));
}

/** What was overtaken by something that was sent later. */
function sack(lane: Lane): readonly Segment[] {
  if (lane.flight.length < 2) return NONE;
  let newestMs = -1;
  for (const segment of lane.flight) {
    if (!segment.arrived || segment.isSacked) continue;
    segment.isSacked = true;
    newestMs = Math.max(newestMs, segment.sentMs);
  }
  if (newestMs < 0) return NONE;
  return lane.flight.filter(({ isLost, isMissed, sentMs }) => isLost && !isMissed && sentMs <= newestMs);
}

/** The timer has run out: what goes out once more. */
export function runOut(lane: Lane, nowMs: number, isLinear: boolean): Segment | undefined {
  const sent = lane.flight.filter(({ sends, isSacked }) => sends > 0 && !isSacked);
  if (lane.recoverOrder === undefined && !lane.isProbed) {
    lane.isProbed = true;
    lane.dueMs = nowMs + timeoutMs(lane);
    return sent.at(-1);
  }
  if (lane.timeouts === 0) beginRecovery(lane);
  lane.window = 1;
  lane.timeouts += 1;
  for (const segment of sent) segment.isMissed = true;
  if (isLinear && countSent(lane) < THIN_SEGMENTS && lane.timeouts <= LINEAR_TIMEOUTS) lane.doublings = 0;
  else lane.doublings += 1;
  lane.dueMs = nowMs + timeoutMs(lane);
  return sent[0];
}

function countOnTheirWay({ flight }: Lane): number {
  let sent = 0;
  for (const { sends, isSacked, isMissed } of flight) if (sends > 0 && !isSacked && !isMissed) sent += 1;
  return sent;
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
