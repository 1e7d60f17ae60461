// Memory, load and file systems of this node, for status. Starts no process and no shell: of systeminformation only mem()
// is used, since its currentLoad() and time() run `cat | grep` and `date` through a shell on Linux, as its disk calls do.

import { stat, statfs } from "node:fs/promises";
import { cpus, uptime } from "node:os";

/** Memory of the node. */
export interface NodeMemoryReading {
  totalBytes: number;
  /** What can be had without swapping: free, and file cache that the kernel gives back. */
  availableBytes: number;
}

/** What a file system has left. */
export interface DiskReading {
  path: string;
  totalBytes: number;
  /** What an ordinary user may still take; root's reserve is not counted. */
  freeBytes: number;
  inodes: number;
  inodesFree: number;
}

/** Reads how much memory the machine has and has left. */
export async function readMachineMemory(): Promise<NodeMemoryReading> {
  // By its default: named exports of a CommonJS module are lost when the agent is bundled.
  const { default: memory } = await import("systeminformation/lib/memory.js");
  const { total, available } = await memory.mem();
  return { totalBytes: total, availableBytes: available };
}

/** Seconds since the node booted. */
export function readUptimeSeconds(): number {
  return uptime();
}

/** How busy the processors have been since the last reading, in per cent of all of them. */
export class LoadMeter {
  #before: { busyMs: number; allMs: number } | undefined;

  /** Reads; the load is undefined the first time, when there is nothing to compare with. */
  read(): { cpus: number; loadPercent: number | undefined } {
    let [busyMs, allMs] = [0, 0];
    const list = cpus();
    for (const { times } of list) {
      const workMs = times.user + times.nice + times.sys + times.irq;
      busyMs += workMs;
      allMs += workMs + times.idle;
    }
    const before = this.#before;
    this.#before = { busyMs, allMs };
    const passedMs = allMs - (before?.allMs ?? 0);
    if (before === undefined || passedMs <= 0) return { cpus: list.length, loadPercent: undefined };
    const share = (busyMs - before.busyMs) / passedMs;
    return { cpus: list.length, loadPercent: Math.min(100, Math.max(0, share * 100)) };
  }
}

/**
 * Reads file systems; of several paths on one file system only the first is kept, and a path that is not there is left out.
 */
export async function readDisks(paths: readonly string[]): Promise<DiskReading[]> {
  const readings = await Promise.all([...new Set(paths)].map((path) => readDisk(path)));
  const seen = new Set<string>();
  return readings.flatMap((reading) => {
    if (reading === undefined || seen.has(reading.key)) return [];
    seen.add(reading.key);
    const { key: _key, ...disk } = reading;
    return [disk];
  });
}

async function readDisk(path: string): Promise<(DiskReading & { key: string }) | undefined> {
  try {
    const [{ bsize, blocks, bavail, files, ffree }, { dev }] = await Promise.all([statfs(path), stat(path)]);
    const key = String(dev);
    return { key, path, totalBytes: blocks * bsize, freeBytes: bavail * bsize, inodes: files, inodesFree: ffree };
  } catch {
    return undefined;
  }
}
