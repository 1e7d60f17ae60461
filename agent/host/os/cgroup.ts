// A container's memory as the kernel counts it, cgroup v1 and v2. `docker stats` takes a second per call; these files
// take microseconds. Read-only; anything unreadable is undefined, never a guess.

import { readFile } from "node:fs/promises";
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
export async function readMemory(pid: number): Promise<MemoryReading | undefined> {
  if (pid <= 0) return undefined;
  try {
    const groups = await readFile(`/proc/${pid}/cgroup`, "utf8");
    const v1 = /^\d+:memory:(.+)$/m.exec(groups)?.[1];
    return v1 === undefined ? await readV2(/^0::(.+)$/m.exec(groups)?.[1] ?? "/") : await readV1(v1);
  } catch {
    return undefined;
  }
}

async function readV1(path: string): Promise<MemoryReading> {
  const group = join(CGROUP_ROOT, "memory", path);
  const [usage, stat, oom] = await Promise.all(
    ["memory.usage_in_bytes", "memory.stat", "memory.oom_control"].map((name) => readFile(join(group, name), "utf8")),
  );
  return buildReading(Number(usage), readKey(stat, "total_inactive_file"), readKey(oom, "oom_kill"));
}

async function readV2(path: string): Promise<MemoryReading> {
  const group = join(CGROUP_ROOT, path);
  const [usage, stat, events] = await Promise.all(
    ["memory.current", "memory.stat", "memory.events"].map((name) => readFile(join(group, name), "utf8")),
  );
  return buildReading(Number(usage), readKey(stat, "inactive_file"), readKey(events, "oom_kill"));
}

function buildReading(usageBytes: number, inactiveFileBytes: number, oomKills: number): MemoryReading {
  return { usageBytes, workingSetBytes: Math.max(0, usageBytes - inactiveFileBytes), oomKills };
}

function readKey(text: string | undefined, key: string): number {
  return Number(new RegExp(`^${key} (\\d+)$`, "m").exec(text ?? "")?.[1] ?? 0);
}
