// What a process at rest needs not keep: garbage, code that ran once, and pages of the program's own files that only its start read.
// Called by daemon/resting-memory.ts. Held by test/unit/host/resident-memory.test.ts.

import { readFile } from "node:fs/promises";

import { findCFunction } from "./c-library.ts";

/** A part of a file that is mapped into this process and was never written to. */
export interface ProgramMapping {
  begin: number;
  bytes: number;
}

type MemoryAdvise = (begin: number, bytes: number, advice: number) => number;

/** The pages are not needed now (madvise(2)); of a file, they are read from its page cache again once somebody touches them. */
const MADV_DONTNEED = 4;

/** `begin-end perms offset device inode path`, as proc(5) has it of each mapping: private, not writable, of a file. */
const HEAD = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d*\s+\//;
/** No page was written to before it became read-only: such a page is not what lies in the file, and would be lost. */
const UNWRITTEN = /^Anonymous:\s+0 kB$/m;

/** The mappings whose pages can be dropped without loss. @param smaps what /proc/self/smaps says (proc(5)) */
export function listProgramMappings(smaps: string): ProgramMapping[] {
  return smaps.split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/).flatMap((text) => {
    const [, from, to] = HEAD.exec(text) ?? [];
    if (from === undefined || to === undefined || !UNWRITTEN.test(text)) return [];
    const begin = Number.parseInt(from, 16);
    return [{ begin, bytes: Number.parseInt(to, 16) - begin }];
  });
}

/** Collects garbage, and code that has not run for some collections; nothing without `--expose-gc`. Takes some 100 ms. */
function collectGarbage(): void {
  const collect = globalThis.gc as ((options: object) => void) | undefined;
  collect?.({ type: "major", execution: "sync", flavor: "last-resort" });
}

/** Gives back what can be had again; on a system without /proc or the native module only the garbage. Never rejects. */
export async function giveBackMemory(): Promise<void> {
  collectGarbage();
  try {
    const advise = await findCFunction<MemoryAdvise>("int madvise(uintptr_t begin, size_t bytes, int advice)");
    // A program's files stay mapped where they are until it ends.
    for (const { begin, bytes } of listProgramMappings(await readFile("/proc/self/smaps", "utf8")))
      advise(begin, bytes, MADV_DONTNEED);
  } catch {
    // The pages stay: that costs memory and nothing else.
  }
}
