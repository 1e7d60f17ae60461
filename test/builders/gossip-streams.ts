// Streams between simulated hosts, as TCP behaves: in order, what is lost comes later and holds up what is behind it, an end is
// heard after everything that was sent before, and a host that knows nothing of a stream answers with a reset.

import type { Message } from "../../agent/gossip/core/message.ts";

/** The world that streams run through. */
export interface Ground {
  readonly after: (delayMs: number, act: () => void) => void;
  readonly isLost: (from: string, to: string) => boolean;
  readonly latencyMs: () => number;
  readonly isUp: (name: string) => boolean;
  /** Does something in a process: now, or when it is woken. */
  readonly wake: (name: string, act: () => void) => void;
  readonly received: (name: string, stream: number, message: Message) => void;
  readonly ended: (name: string, stream: number) => void;
}

/** One direction of a stream: what was sent and has not been delivered, in order. */
interface Lane {
  from: string;
  to: string;
  queue: Segment[];
  /** What has not been acknowledged, in order. */
  flight: Segment[];
  /** After this time without an acknowledgement the first of them is sent again; it doubles each time. */
  rtoMs: number;
  /** The first time is a probe of the tail (TLP), which costs no patience. */
  isProbed: boolean;
  isArmed: boolean;
}

interface Segment {
  message: Message | "fin";
  /** Behind a timeout only the first segment is sent; what comes then waits until that is acknowledged. */
  isSent: boolean;
  arrived: boolean;
}

interface Stream {
  id: number;
  lanes: readonly [Lane, Lane];
  /** Ends that still hold it. */
  open: Set<string>;
}

export const RTO_MS = 200;
const MOST_RTO_MS = 120_000;

/** Every stream of a fleet. */
export class Streams {
  readonly #ground: Ground;
  readonly #streams = new Map<number, Stream>();
  #ids = 0;

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  /** Opens a stream; both ends are told by whoever asks. */
  open(from: string, to: string): number {
    const id = (this.#ids += 1);
    const lanes: [Lane, Lane] = [
      { from, to, queue: [], flight: [], rtoMs: RTO_MS, isProbed: false, isArmed: false },
      { from: to, to: from, queue: [], flight: [], rtoMs: RTO_MS, isProbed: false, isArmed: false },
    ];
    this.#streams.set(id, { id, lanes, open: new Set([from, to]) });
    return id;
  }

  /** Sends; false where the sender does not hold it any more. */
  send(from: string, id: number, message: Message): boolean {
    const stream = this.#streams.get(id);
    if (stream === undefined || !stream.open.has(from)) return false;
    this.#transmit(stream, laneOf(stream, from), message);
    return true;
  }

  /** One end closes. */
  close(name: string, id: number): void {
    const stream = this.#streams.get(id);
    if (stream?.open.delete(name) !== true) return;
    if (stream.open.size === 0) this.#streams.delete(id);
    else this.#transmit(stream, laneOf(stream, name), "fin");
  }

  /** A process ends: its kernel closes all it held. With `silent` the host has lost power, and nobody is told. */
  closeAll(name: string, silent: boolean): void {
    for (const stream of this.#streams.values()) {
      if (silent) stream.open.delete(name);
      else if (stream.open.has(name)) this.close(name, stream.id);
    }
  }

  #transmit(stream: Stream, lane: Lane, message: Message | "fin"): void {
    const entry = { message, isSent: false, arrived: false };
    lane.queue.push(entry);
    lane.flight.push(entry);
    if (lane.rtoMs === RTO_MS) this.#put(stream, lane, entry);
  }

  #put(stream: Stream, lane: Lane, entry: Segment): void {
    entry.isSent = true;
    if (this.#ground.isLost(lane.from, lane.to)) this.#arm(stream, lane);
    else this.#fly(stream, lane, entry);
  }

  /** The one timer of a direction: it sends the first segment again, ever later while nothing is acknowledged. */
  #arm(stream: Stream, lane: Lane): void {
    if (lane.isArmed) return;
    lane.isArmed = true;
    this.#ground.after(lane.rtoMs, () => {
      lane.isArmed = false;
      const [first] = lane.flight;
      if (first === undefined || !this.#streams.has(stream.id)) return;
      if (lane.isProbed) lane.rtoMs = Math.min(lane.rtoMs * 2, MOST_RTO_MS);
      lane.isProbed = true;
      this.#put(stream, lane, first);
      this.#arm(stream, lane);
    });
  }

  #fly(stream: Stream, lane: Lane, entry: Segment): void {
    const { after, latencyMs, isLost } = this.#ground;
    after(latencyMs(), () => {
      if (!entry.arrived) {
        entry.arrived = true;
        this.#askForEarlier(stream, lane, entry);
        this.#deliver(stream, lane);
      }
      if (isLost(lane.to, lane.from)) this.#arm(stream, lane);
      else this.#acknowledge(stream, lane);
    });
  }

  /** Everything up to the first gap has arrived, and the sender hears so. */
  #acknowledge(stream: Stream, lane: Lane): void {
    const gap = lane.flight.findIndex(({ arrived }) => !arrived);
    const done = lane.flight.splice(0, gap === -1 ? lane.flight.length : gap);
    if (done.length === 0) return;
    lane.rtoMs = RTO_MS;
    lane.isProbed = false;
    for (const entry of lane.flight) if (!entry.isSent) this.#put(stream, lane, entry);
  }

  /** What arrives beyond a gap makes the receiver say so, and the sender repeats what is missing at once (SACK and RACK). */
  #askForEarlier(stream: Stream, lane: Lane, entry: Segment): void {
    const { after, isLost, latencyMs } = this.#ground;
    const missing = lane.queue
      .slice(0, Math.max(0, lane.queue.indexOf(entry)))
      .filter(({ arrived, isSent }) => isSent && !arrived);
    if (missing.length === 0 || isLost(lane.to, lane.from)) return;
    after(latencyMs(), () => {
      for (const one of missing) if (!one.arrived && !isLost(lane.from, lane.to)) this.#fly(stream, lane, one);
    });
  }

  #deliver(stream: Stream, lane: Lane): void {
    const { isUp, wake, received } = this.#ground;
    while (lane.queue[0]?.arrived === true) {
      const message = lane.queue.shift()?.message;
      if (message === undefined) return;
      if (!stream.open.has(lane.to)) {
        if (isUp(lane.to) && message !== "fin") this.#reset(stream, lane.from);
        continue;
      }
      wake(lane.to, () => {
        if (!stream.open.has(lane.to)) return;
        if (message === "fin") this.#end(stream, lane.to);
        else received(lane.to, stream.id, message);
      });
    }
  }

  #reset(stream: Stream, name: string): void {
    const { after, latencyMs, wake } = this.#ground;
    after(latencyMs(), () => wake(name, () => this.#end(stream, name)));
  }

  #end(stream: Stream, name: string): void {
    if (!stream.open.delete(name)) return;
    if (stream.open.size === 0) this.#streams.delete(stream.id);
    this.#ground.ended(name, stream.id);
  }
}

function laneOf(stream: Stream, from: string): Lane {
  return stream.lanes[0].from === from ? stream.lanes[0] : stream.lanes[1];
}
