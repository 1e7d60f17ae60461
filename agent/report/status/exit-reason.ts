// How a container ended, in words: by whom it was asked to, by which signal, or by the kernel for memory. Pure.

import { constants } from "node:os";

import type { ExitRecord } from "../../../shared/state/memory.ts";

const SIGNAL_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
);

/** The name of a signal, such as `SIGKILL`. */
export function nameSignal(signal: number): string {
  return SIGNAL_NAMES.get(signal) ?? `signal ${signal}`;
}

/** Why it ended. An exit code of 137 alone is a kill and no OOM: only the kernel's own record makes it one. */
export function describeExit(exit: Omit<ExitRecord, "logTail">): string {
  const code = `exit code ${exit.exitCode}${exit.signal === undefined ? "" : ` (${nameSignal(exit.signal)})`}`;
  const oom = exit.oom ? "; the kernel killed a process of it for memory" : "";
  return `${describeAsker(exit)}${code}${oom}`;
}

function describeAsker(exit: Omit<ExitRecord, "logTail">): string {
  if (exit.engineStopped) return "the engine or the host went down, ";
  if (exit.requested === "agent") return "the agent stopped it, ";
  if (exit.requested === "by-hand") return "it was stopped by hand, ";
  return "it ended by itself with ";
}
