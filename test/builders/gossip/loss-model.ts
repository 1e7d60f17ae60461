// What loss-lab.ts does to real streams, done to simulated ones: the simulator is worth as much as the two agree.

import type { Message } from "../../../agent/gossip/core/message.ts";
import { EventHeap, seedRng } from "../../../scripts/lab/gossip/event-heap.ts";
import { Streams } from "../../../scripts/lab/gossip/gossip-streams.ts";
import { countPayload } from "../../../scripts/lab/gossip/gossip-wire.ts";
import type { LossTrial } from "./loss-lab.ts";

/** Between two namespaces of one machine, with what the two ends take to write and read, in milliseconds. */
const DELAY_MS = [0.1, 0.3] as const;

/** Sends messages over simulated streams that lose packets; answers how long each took, in order. */
export function simulateLoss({ loss, streams: count, isLinear, everyMs, forMs }: LossTrial, seed: number): number[] {
  const rng = seedRng(seed);
  const heap = new EventHeap();
  const delaysMs: number[] = [];
  let nowMs = 0;
  const after = (delayMs: number, act: () => void): void => heap.push(nowMs + delayMs, act);
  const streams = new Streams({
    isLinear,
    nowMs: () => nowMs,
    repeated: () => undefined,
    bytesOf: countPayload,
    after,
    isLost: () => rng() < loss,
    latencyMs: () => DELAY_MS[0] + rng() * (DELAY_MS[1] - DELAY_MS[0]),
    isUp: () => true,
    wake: (_name, act) => act(),
    received: (_name, _id, message: Message) => {
      if (message.t === "hint") delaysMs.push(nowMs - Number(message.revision));
    },
    ended: () => undefined,
  });
  const sayOn = (from: string, id: number): void =>
    after(everyMs * (0.5 + rng()), () => {
      if (nowMs > forMs) return;
      streams.send(from, id, { t: "hint", revision: String(nowMs) });
      sayOn(from, id);
    });
  for (let stream = 0; stream < count; stream += 1) {
    const id = streams.open("a", "b");
    sayOn("a", id);
    sayOn("b", id);
  }
  while (heap.size > 0 && heap.nextMs < forMs + 15_000) {
    nowMs = heap.nextMs;
    heap.pop()?.();
  }
  return delaysMs.toSorted((left, right) => left - right);
}
