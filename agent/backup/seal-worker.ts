// The thread that encrypts a backup: takes one batch after the other, seals it, digests what came out, and says so. Started by
// seal-stream.ts, and an entry of its own in the bundle.

import { createHash } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";

import { countSealed, PayloadSealer } from "./age-stream.ts";
import type { SealAnswer, SealOrder, SealStart } from "./seal-exchange.ts";

const { key, head, input, output, batchBytes, inputs, outputs } = workerData as SealStart;
const sealer = new PayloadSealer(key);
const hash = createHash("sha256").update(head);
let total = head.length;

parentPort?.on("message", ({ number, bytes, isLast }: SealOrder) => {
  const from = (number % inputs) * batchBytes;
  const to = (number % outputs) * countSealed(batchBytes);
  const sealed = output.subarray(to, to + countSealed(bytes));
  sealer.seal(input.subarray(from, from + bytes), sealed, isLast);
  hash.update(sealed);
  total += sealed.length;
  const answer: SealAnswer = { bytes: sealed.length };
  parentPort?.postMessage(isLast ? { ...answer, file: { bytes: total, sha256: hash.digest("hex") } } : answer);
});
