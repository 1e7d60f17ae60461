// The output of a program as whoever reads it takes it: standard output piece by piece and no faster, the last of standard error beside it.

import type { Duplex } from "node:stream";

import { FrameSplitter } from "./streams.ts";

const STDERR_BYTES = 4_096;

/** A program that runs, whose output somebody reads. */
export interface OutputRun {
  output: AsyncIterable<Uint8Array>;
  ended: Promise<{ exitCode: number; stderr: string; outOfMemory: boolean }>;
  cancel(): Promise<void>;
}

/** What is being read. */
interface Reading {
  output: AsyncIterable<Uint8Array>;
  /** Resolves when there is no more, or nobody reads on. */
  done: Promise<void>;
  /** The last of it so far. */
  readonly stderr: string;
  /** Reads no further. */
  end(): void;
}

/** Reads multiplexed output. */
export function readOutput(stream: Duplex): Reading {
  const frames = new FrameSplitter();
  let stderr = Buffer.alloc(0);
  let drained: () => void = () => undefined;
  const done = new Promise<void>((resolve) => (drained = resolve));
  async function* read(): AsyncIterable<Uint8Array> {
    try {
      for await (const piece of stream as AsyncIterable<Buffer>) {
        for (const { stream: from, chunk } of frames.push(piece)) {
          if (from === "stdout") yield chunk;
          else stderr = Buffer.concat([stderr, chunk]).subarray(-STDERR_BYTES);
        }
      }
    } finally {
      drained();
    }
  }
  return {
    output: read(),
    done,
    get stderr() {
      return stderr.toString("utf8");
    },
    end() {
      stream.destroy();
      drained();
    },
  };
}
