// Buffers of streams that went through are garbage outside of the heap, of which the runtime lets 64 MiB and more come together before it
// collects them. Work that moves gigabytes asks it to collect the young ones now and then, which takes about a millisecond.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const EVERY_BYTES = 16 * 2 ** 20;

let collect: ((options: object) => void) | undefined;

/** Counts what went through. */
export class YoungGarbage {
  #bytes = 0;

  /** So many bytes more went through. */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < EVERY_BYTES) return;
    this.#bytes = 0;
    collect ??= findCollect();
    collect({ type: "minor" });
  }
}

/** The flag may be set at any time; a context that is made afterwards has the function. */
function findCollect(): (options: object) => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as (options: object) => void;
}
