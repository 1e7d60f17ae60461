// How far long work is: one line on a terminal that changes, with rate and time left; a line now and then elsewhere.

import { expect, test } from "vitest";

import { TransferProgress } from "../../../agent/cli/bundle/transfer-progress.ts";

const MIB = 2 ** 20;

function run(isTTY: boolean, steps: number): string[] {
  const written: string[] = [];
  let nowMs = 0;
  const output = { isTTY, write: (text: string) => written.push(text) };
  const progress = new TransferProgress(output, { doing: "writing", totalBytes: 100 * MIB }, () => nowMs);
  for (let step = 0; step < steps; step += 1) {
    nowMs += 1_000;
    progress.add(2 * MIB);
  }
  progress.end();
  return written;
}

test("on a terminal it is one line, which is gone at the end", () => {
  const written = run(true, 25);
  expect(written).toHaveLength(26);
  expect(written[24]).toBe(
    "\r\u001B[Kwriting: [############............] 50 %, 50 MiB of about 100 MiB, 2 MiB/s, 25 s left",
  );
  expect(written[25]).toBe("\r\u001B[K");
});

test("elsewhere it is a line every ten seconds, without a bar", () => {
  expect(run(false, 25)).toEqual([
    "writing: 20 %, 20 MiB of about 100 MiB, 2 MiB/s, 40 s left\n",
    "writing: 40 %, 40 MiB of about 100 MiB, 2 MiB/s, 30 s left\n",
  ]);
});

test("more than was estimated is no more than all", () => {
  expect(run(false, 60).at(-1)).toBe("writing: 100 %, 120 MiB of about 120 MiB, 2 MiB/s, 0 s left\n");
});
