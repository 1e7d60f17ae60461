// A container's memory and processor time as the kernel counts them, cgroup v1 and v2. `docker stats` takes a second per call; these files
// take microseconds, and are read at once: nothing lies on a disk. Read-only; anything unreadable is undefined, never a guess.

import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What the kernel says of one container's memory. */
export interface MemoryReading {
  /** Usage less inactive file cache: what a lower cap would have to hold (page cache alone fills any cap). */
  workingSetBytes: number;
  usageBytes: number;
  /** Processes killed for memory in this cgroup since it was made. */
  oomKills: number;
}

/** Where the kernel's control groups are mounted. */
const CGROUP_ROOT = "/sys/fs/cgroup";

/**
 * Reads a container's memory.
 * @param pid its first process; 0 when it does not run
 */
export function readMemory(pid: number): MemoryReading | undefined {
  if (pid <= 0) return undefined;
  try {
    const groups = readFileSync(`/proc/${pid}/cgroup`, "utf8");
    const v1 = /^\d+:memory:(.+)$/m.exec(groups)?.[1];
    return v1 === undefined ? readV2(/^0::(.+)$/m.exec(groups)?.[1] ?? "/") : readV1(v1);
  } catch {
    return undefined;
  }
}

function readV1(path: string): MemoryReading {
  const group = join(CGROUP_ROOT, "memory", path);
  const [usage, stat, oom] = ["memory.usage_in_bytes", "memory.stat", "memory.oom_control"].map((name) =>
    readFileSync(join(group, name), "utf8"),
  );
  return buildReading(Number(usage), readKey(stat, "total_inactive_file"), readKey(oom, "oom_kill"));
}

function readV2(path: string): MemoryReading {
  const group = join(CGROUP_ROOT, path);
  const [usage, stat, events] = ["memory.current", "memory.stat", "memory.events"].map((name) =>
    readFileSync(join(group, name), "utf8"),
  );
  return buildReading(Number(usage), readKey(stat, "inactive_file"), readKey(events, "oom_kill"));
}

function buildReading(usageBytes: number, inactiveFileBytes: number, oomKills: number): MemoryReading {
  return { usageBytes, workingSetBytes: Math.max(0, usageBytes - inactiveFileBytes), oomKills };
}

function readKey(text: string | undefined, key: string): number {
  return Number(new RegExp(`^${key} (\\d+)$`, "m").exec(text ?? "")?.[1] ?? 0);
}

/**
 * Reads how much processor time a container has taken since its control group was made, in microseconds.
 * @param pid its first process; 0 when it does not run
 */
export function readCpuTime(pid: number): number | undefined {
  if (pid <= 0) return undefined;
  try {
    const groups = readFileSync(`/proc/${pid}/cgroup`, "utf8");
    const v1 = /^\d+:(?:cpu,)?cpuacct(?:,cpu)?:(.+)$/m.exec(groups)?.[1];
    if (v1 !== undefined)
      return Number(readFileSync(join(CGROUP_ROOT, "cpuacct", v1, "cpuacct.usage"), "utf8")) / 1_000;
    const path = /^0::(.+)$/m.exec(groups)?.[1] ?? "/";
    return readKey(readFileSync(join(CGROUP_ROOT, path, "cpu.stat"), "utf8"), "usage_usec");
  } catch {
    return undefined;
  }
}
