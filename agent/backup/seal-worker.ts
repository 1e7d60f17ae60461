// The thread that encrypts a backup, or looks at one that was written: takes one batch after the other, and says so. Started by
// batch-thread.ts, and an entry of its own in the bundle.

import { parentPort, workerData } from "node:worker_threads";

import { AgeFault } from "./age-open.ts";
import { countSealed, PayloadSealer } from "./age-stream.ts";
import { OpenedMeter } from "./opened-meter.ts";
import type { BatchAnswer, BatchOrder, OpenStart, SealStart, ThreadStart } from "./seal-exchange.ts";

type Work = (batch: Uint8Array, order: BatchOrder) => BatchAnswer;

const { input, batchBytes, inputs, work } = workerData as ThreadStart;
const carryOut = work.kind === "seal" ? createSeal(work) : createOpen(work);

parentPort?.on("message", (order: BatchOrder) => {
  const from = (order.number % inputs) * batchBytes;
  parentPort?.postMessage(carryOut(input.subarray(from, from + order.bytes), order));
});

function createSeal({ key, output, outputs }: SealStart): Work {
  const sealer = new PayloadSealer(key);
  return (batch, { number, isLast }) => {
    const to = (number % outputs) * countSealed(batchBytes);
    const sealed = output.subarray(to, to + countSealed(batch.length));
    return { bytes: sealer.seal(batch, sealed, isLast) };
  };
}

function createOpen(start: OpenStart): Work {
  const meter = new OpenedMeter(start);
  return (batch, { isLast }) => {
    try {
      meter.take(batch);
      return { bytes: batch.length, ...(isLast ? { opened: meter.read() } : {}) };
    } catch (error) {
      if (!(error instanceof AgeFault)) throw error;
      return { bytes: batch.length, fault: error.message };
    }
  };
}
