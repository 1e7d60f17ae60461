// Keeps what a process knows out of core files: its values would lie in them as they are. Called first by main.ts; the
// processes that it starts inherit it, also over exec (core(5), "coredump_filter"). It never fails.

import { writeFileSync } from "node:fs";

/** Which mappings a core file holds, as a bit mask of the kernel's. */
const CORE_FILTER_FILE = "/proc/self/coredump_filter";

/** A core file of this process holds none of its memory from now on, whatever limit or handler the host has. */
export function keepMemoryOutOfCores(): void {
  try {
    writeFileSync(CORE_FILTER_FILE, "0");
  } catch {
    // No such file (another system) or no right to it: the unit's LimitCORE=0 stays, and orca doctor looks at the host.
  }
}
