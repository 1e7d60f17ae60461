// Caps for people. Pure.

import type { Caps } from "../state/container-spec.ts";
import { describeCount } from "./count.ts";

/** Caps in one line: `512 MiB, 1.5 cpus, 512 pids`. */
export function describeCaps(caps: Caps): string {
  const cpus = caps.nanoCpus === 0 ? [] : [describeCount(caps.nanoCpus / 1e9, "cpu")];
  const shares = caps.cpuShares === 0 ? [] : [describeCount(caps.cpuShares, "share")];
  return [`${Math.round(caps.memoryBytes / 2 ** 20)} MiB`, ...cpus, ...shares, describeCount(caps.pids, "pid")].join(
    ", ",
  );
}
