// Where on this host something can lie that must never reach a disk.

import { statfs } from "node:fs/promises";
import { statfsSync } from "node:fs";

import { sha256 } from "../../../shared/state/identity.ts";
import { makeDirectorySync } from "../files/make-directory.ts";

/** Types of file systems that live in memory (statfs(2)): tmpfs and ramfs. */
const IN_MEMORY = new Set([0x01021994, 0x858458f6]);
const SHARED_MEMORY = "/dev/shm";

/** True when a directory lies in memory. */
export async function isInMemory(directory: string): Promise<boolean> {
  return IN_MEMORY.has((await statfs(directory)).type);
}

/**
 * Where secrets are delivered: in the agent's own directory where that is in memory, else in the host's shared memory.
 * @param runDir the agent's directory for what a reboot may take
 */
export function chooseSecretDirectory(runDir: string): string {
  try {
    makeDirectorySync(runDir, 0o755);
    if (IN_MEMORY.has(statfsSync(runDir).type)) return runDir;
    if (IN_MEMORY.has(statfsSync(SHARED_MEMORY).type)) return `${SHARED_MEMORY}/orca-${sha256(runDir).slice(0, 12)}`;
  } catch {
    // Delivery looks again, and says what is missing.
  }
  return runDir;
}
