// Streams between simulated hosts, as TCP behaves: in order, what is lost comes later and holds up what is behind it, an end is
// heard after everything that was sent before, and a host that knows nothing of a stream answers with a reset. When a sender
// repeats what is in gossip-sending.ts.

import type { Message } from "../../../agent/gossip/core/message.ts";
import {
  addMessage,
  beginLane,
  type Lane,
  learn,
  miss,
  noteSent,
  runOut,
  type Said,
  type Segment,
  takeDue,
} from "./gossip-sending.ts";

/** The world that streams run through. */
export interface Ground {
  readonly nowMs: () => number;
  readonly after: (delayMs: number, act: () => void) => void;
  readonly isLost: (from: string, to: string) => boolean;
  readonly latencyMs: () => number;
  readonly isUp: (name: string) => boolean;
  /** Does something in a process: now, or when it is woken. */
  readonly wake: (name: string, act: () => void) => void;
  readonly received: (name: string, stream: number, message: Message) => void;
  readonly ended: (name: string, stream: number) => void;
  /** A packet with so many bytes in it went out once more. */
  readonly repeated: (bytes: number) => void;
  readonly bytesOf: (message: Message) => number;
  /** net.ipv4.tcp_thin_linear_timeouts of every host. */
  readonly isLinear: boolean;
}

interface Stream {
  id: number;
  lanes: readonly [Lane, Lane];
  /** Whether the end that sends on each lane still holds it. */
  open: [boolean, boolean];
}

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
    this.#streams.set(id, { id, lanes: [beginLane(from, to), beginLane(to, from)], open: [true, true] });
    return id;
  }

  /** Sends; false where the sender does not hold it any more. */
  send(from: string, id: number, message: Message): boolean {
    const stream = this.#streams.get(id);
    if (stream === undefined || !isOpen(stream, from)) return false;
    this.#transmit(stream, laneOf(stream, from), message);
    return true;
  }

  /** One end closes. */
  close(name: string, id: number): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || !closeEnd(stream, name)) return;
    if (isOver(stream)) this.#streams.delete(id);
    else this.#transmit(stream, laneOf(stream, name), "fin");
  }

  /** A process ends: its kernel closes all it held. With `silent` the host has lost power, and nobody is told. */
  closeAll(name: string, silent: boolean): void {
    for (const stream of this.#streams.values()) {
      if (silent) closeEnd(stream, name);
      else if (isOpen(stream, name)) this.close(name, stream.id);
    }
  }

  #transmit(stream: Stream, lane: Lane, message: Said): void {
    const { bytesOf, nowMs } = this.#ground;
    addMessage(lane, message, { bytes: message === "fin" ? 0 : bytesOf(message), nowMs: nowMs() });
    this.#putAll(stream, lane, takeDue(lane));
  }

  #putAll(stream: Stream, lane: Lane, segments: readonly Segment[]): void {
    for (const segment of segments) this.#put(stream, lane, segment);
  }

  #put(stream: Stream, lane: Lane, segment: Segment): void {
    const { isLost, nowMs, repeated } = this.#ground;
    if (segment.sends > 0) repeated(segment.bytes);
    const gone = isLost(lane.from, lane.to);
    noteSent(lane, segment, { nowMs: nowMs(), isLost: gone });
    if (gone) this.#arm(stream, lane);
    else this.#fly(stream, lane, segment);
  }

  /** The one timer of a direction. It is only set where something was lost: in all other cases it would be taken back. */
  #arm(stream: Stream, lane: Lane): void {
    const { after, nowMs, isLinear } = this.#ground;
    if (lane.isArmed || lane.dueMs === Infinity) return;
    lane.isArmed = true;
    const dueMs = lane.dueMs;
    after(Math.max(0, dueMs - nowMs()), () => {
      lane.isArmed = false;
      if (lane.flight.length === 0 || !this.#streams.has(stream.id)) return;
      // It was put off meanwhile, or brought forward.
      if (lane.dueMs <= nowMs()) {
        const again = runOut(lane, nowMs(), isLinear);
        if (again !== undefined) this.#put(stream, lane, again);
      }
      this.#arm(stream, lane);
    });
  }

  #fly(stream: Stream, lane: Lane, segment: Segment): void {
    const { after, latencyMs, isLost } = this.#ground;
    const { sentMs } = segment;
    after(latencyMs(), () => {
      // The timestamp that is echoed is that of what came in order, or once more.
      if (lane.queue[0] === segment || segment.arrived) lane.echoMs = sentMs;
      if (!segment.arrived) {
        segment.arrived = true;
        this.#deliver(stream, lane);
      }
      // Whatever comes says too what has arrived in the other direction.
      const back = stream.lanes[0] === lane ? stream.lanes[1] : stream.lanes[0];
      this.#learn(stream, back, false);
      if (isLost(lane.to, lane.from)) this.#arm(stream, lane);
      else this.#learn(stream, lane, true);
    });
  }

  #learn(stream: Stream, lane: Lane, isDirect: boolean): void {
    if (lane.flight.length === 0) return;
    const { overtaken, delayMs } = learn(lane, this.#ground.nowMs(), isDirect);
    this.#putAll(stream, lane, takeDue(lane));
    if (overtaken.length === 0) return;
    const sends = overtaken.map((segment) => segment.sends);
    this.#ground.after(delayMs, () => {
      const missed = overtaken.filter((segment, index) => segment.isLost && segment.sends === sends[index]);
      if (missed.length > 0 && this.#streams.has(stream.id)) this.#putAll(stream, lane, miss(lane, missed));
    });
  }

  #deliver(stream: Stream, lane: Lane): void {
    const { isUp, wake, received } = this.#ground;
    while (lane.queue[0]?.arrived === true)
      for (const said of lane.queue.shift()?.said ?? []) {
        if (!isOpen(stream, lane.to)) {
          if (isUp(lane.to) && said !== "fin") this.#reset(stream, lane.from);
          continue;
        }
        wake(lane.to, () => {
          if (!isOpen(stream, lane.to)) return;
          if (said === "fin") this.#end(stream, lane.to);
          else received(lane.to, stream.id, said);
        });
      }
  }

  #reset(stream: Stream, name: string): void {
    const { after, latencyMs, wake } = this.#ground;
    after(latencyMs(), () => wake(name, () => this.#end(stream, name)));
  }

  #end(stream: Stream, name: string): void {
    if (!closeEnd(stream, name)) return;
    if (isOver(stream)) this.#streams.delete(stream.id);
    this.#ground.ended(name, stream.id);
  }
}

function isOpen({ lanes, open }: Stream, name: string): boolean {
  return (lanes[0].from === name && open[0]) || (lanes[1].from === name && open[1]);
}

/** Answers whether that end held it until now. */
function closeEnd(stream: Stream, name: string): boolean {
  if (!isOpen(stream, name)) return false;
  stream.open[stream.lanes[0].from === name ? 0 : 1] = false;
  return true;
}

function isOver({ open }: Stream): boolean {
  return !open[0] && !open[1];
}

function laneOf(stream: Stream, from: string): Lane {
  return stream.lanes[0].from === from ? stream.lanes[0] : stream.lanes[1];
}
