// What a backup and the thread that encrypts it say to each other; the bytes lie in memory that both see. Types only.

/** What the thread is started with. */
export interface SealStart {
  /** The payload's key. */
  key: Uint8Array;
  /** What the file begins with: it is digested too. */
  head: Uint8Array;
  /** Batches that come, and sealed ones, in rings of so many. */
  input: Uint8Array<SharedArrayBuffer>;
  output: Uint8Array<SharedArrayBuffer>;
  batchBytes: number;
  inputs: number;
  outputs: number;
}

/** One batch, which lies in its place of the input. */
export interface SealOrder {
  number: number;
  bytes: number;
  isLast: boolean;
}

/** It lies sealed in its place of the output. */
export interface SealAnswer {
  bytes: number;
  /** With the last one. */
  file?: SealedFile;
}

/** The whole file, from its first byte on. */
export interface SealedFile {
  bytes: number;
  sha256: string;
}
