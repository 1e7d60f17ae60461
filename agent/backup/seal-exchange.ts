// What a backup and the thread that works for it say to each other; the bytes lie in memory that both see. Types only.

import type { OpenedFile } from "./opened-meter.ts";

/** What the thread is started with: batches come in a ring of so many. */
export interface ThreadStart {
  input: Uint8Array<SharedArrayBuffer>;
  batchBytes: number;
  inputs: number;
  work: SealStart | OpenStart;
}

/** It seals what comes, into a ring of its own. */
export interface SealStart {
  kind: "seal";
  /** The payload's key. */
  key: Uint8Array;
  output: Uint8Array<SharedArrayBuffer>;
  outputs: number;
}

/** It opens what was sealed, and measures what comes out. */
export interface OpenStart {
  kind: "open";
  /** What the file begins with, and its payload's key. */
  head: Uint8Array;
  key: Uint8Array;
}

/** One batch, which lies in its place of the input. */
export interface BatchOrder {
  number: number;
  bytes: number;
  isLast: boolean;
}

/** It was taken, or lies sealed in its place of the output. */
export interface BatchAnswer {
  bytes: number;
  /** All that came out; with the last one. */
  opened?: OpenedFile;
  /** Why it does not open. */
  fault?: string;
}
