// Caps for people. Pure.

import type { Caps } from "../state/container-spec.ts";

/** Caps in one line: `512 MiB, 1.5 cpus, 512 pids`. */
export function describeCaps(caps: Caps): string {
  const cpus = caps.nanoCpus === 0 ? [] : [`${caps.nanoCpus / 1e9} cpus`];
  const shares = caps.cpuShares === 0 ? [] : [`${caps.cpuShares} shares`];
  return [`${Math.round(caps.memoryBytes / 2 ** 20)} MiB`, ...cpus, ...shares, `${caps.pids} pids`].join(", ");
}
