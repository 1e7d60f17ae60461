// The gate: counts and looks at what goes through, and says at the end whether it is a backup. An exit code other than 0, a
// wrong beginning, a missing end or too few bytes make it none: nothing is published then (behaviour.md, section 6).

import { createHash, type Hash } from "node:crypto";

import { describeSize } from "../../shared/text/size.ts";
import type { DumpEnd, DumpForm } from "./dump-port.ts";

/** As much of the end is kept as any form's last line is long. */
const TAIL_BYTES = 256;

/** Bytes, and their SHA-256. */
export interface Measured {
  bytes: number;
  sha256: string;
}

/** Bytes and digest of what went through. */
export class Meter {
  readonly #hash: Hash = createHash("sha256");
  #bytes = 0;

  take(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
  }

  /** What has gone through so far. */
  read(): Measured {
    return { bytes: this.#bytes, sha256: this.#hash.copy().digest("hex") };
  }
}

/** Looks at a dump while it goes through. */
export class Gate {
  readonly #form: DumpForm;
  #bytes = 0;
  readonly #headBytes: number;
  #head = Buffer.alloc(0);
  #tail = Buffer.alloc(0);

  constructor(form: DumpForm) {
    this.#form = form;
    this.#headBytes = Math.max(0, ...form.heads.map(({ at, text }) => at + text.length));
  }

  take(chunk: Uint8Array): void {
    this.#bytes += chunk.length;
    const missing = this.#headBytes - this.#head.length;
    if (missing > 0) this.#head = Buffer.concat([this.#head, chunk.subarray(0, missing)]);
    if (this.#form.tail === "") return;
    const end = chunk.length >= TAIL_BYTES ? chunk.subarray(-TAIL_BYTES) : Buffer.concat([this.#tail, chunk]);
    this.#tail = Buffer.from(end.subarray(-TAIL_BYTES));
  }

  /** What went through, or why that is no backup. */
  judge(end: DumpEnd): { warning: string | undefined } | string {
    const bytes = this.#bytes;
    const { heads, tail, minBytes, warnCodes } = this.#form;
    const said = end.stderr.trim();
    const words = said === "" ? "" : `: ${said}`;
    if (end.outOfMemory) return `the kernel ended it for memory: raise backups.memory${words}`;
    if (end.exitCode !== 0 && !warnCodes.includes(end.exitCode))
      return `it ended with exit code ${end.exitCode}${words}`;
    if (bytes === 0) return `it wrote nothing${words}`;
    const hasHead = heads.some(({ at, text }) => this.#head.toString("latin1", at, at + text.length) === text);
    if (heads.length > 0 && !hasHead) return `what it wrote does not begin as such a dump does${words}`;
    if (bytes < minBytes)
      return `it wrote ${describeSize(bytes)}, and a whole one has at least ${describeSize(minBytes)}${words}`;
    if (tail !== "" && !this.#tail.toString("utf8").trimEnd().includes(tail)) return `its end is missing${words}`;
    return { warning: end.exitCode === 0 ? undefined : `exit code ${end.exitCode}${words}` };
  }
}
