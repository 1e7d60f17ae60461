// Which of a node's files are kept when together they are more than an agent takes: the smallest, so that a large file costs
// its own service and no other. Used by every reader of a repository; holds no more than the limit.

import {
  faultOfTotal,
  type FileFault,
  LARGEST_NODE_BYTES,
  type ReadBytes,
} from "../../../shared/manifest/file-fault.ts";

/** Takes files one by one. */
export class FileBudget {
  readonly #kept = new Map<string, Uint8Array>();
  readonly #faults = new Map<string, FileFault>();
  #totalBytes = 0;

  /** Takes a file as it was read. */
  add(path: string, read: ReadBytes): void {
    if (!read.ok) {
      this.#faults.set(path, read.fault);
      return;
    }
    this.#kept.set(path, read.content);
    this.#totalBytes += read.content.length;
    while (this.#totalBytes > LARGEST_NODE_BYTES) this.#dropLargest();
  }

  /** What is kept, by path. */
  get files(): ReadonlyMap<string, Uint8Array> {
    return this.#kept;
  }

  /** What is not, and why. */
  get faults(): ReadonlyMap<string, FileFault> {
    return this.#faults;
  }

  #dropLargest(): void {
    let largest = "";
    for (const [path, { length }] of this.#kept) if (length > (this.#kept.get(largest)?.length ?? -1)) largest = path;
    this.#totalBytes -= this.#kept.get(largest)?.length ?? 0;
    this.#kept.delete(largest);
    this.#faults.set(largest, faultOfTotal());
  }
}
