// What the tables of sentences have in common: one function for each code of a union. Pure; describe-reason.ts puts the tables together.

import type { EndFact, Missing, Reason, ReasonOf, Said } from "../../state/reason.ts";

/** How a reason within a reason, and what somebody else said, are worded. */
export interface Words {
  of: (reason: Reason) => string;
  said: (said: Said) => string;
  missing: (missing: readonly Missing[]) => string;
  /** How long ago a moment was, and how far off it is, when this is read. */
  age: (sinceMs: number) => string;
  wait: (untilMs: number) => string;
  /** It stands in a column of what is waited for: that need not be said again. */
  isColumn: boolean;
}

/** One function for each code. */
export type WordTable<R extends { code: string }> = {
  [C in R["code"]]: (reason: ReasonOf<C, R>, words: Words) => string;
};

/** A moment to the minute, in UTC. */
export function describeMinute(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16)}Z`;
}

const SIGNAL_NAMES: Readonly<Record<number, string>> = {
  1: "SIGHUP",
  2: "SIGINT",
  6: "SIGABRT",
  9: "SIGKILL",
  11: "SIGSEGV",
  15: "SIGTERM",
};

/** How the last run ended. Exit 137 alone is a kill; only the kernel's record makes it an OOM. */
export function describeEnd({ by, exitCode, signal, oom }: EndFact): string {
  if (by === "nobody-saw") return "it ended";
  if (by === "hand") return "it was stopped by hand";
  if (by === "agent") return "it was unhealthy and was stopped";
  const name = signal === undefined ? "" : ` (${SIGNAL_NAMES[signal] ?? `signal ${signal}`})`;
  return `it ended with exit code ${exitCode}${name}${oom ? ": the kernel killed a process of it for memory" : ""}`;
}
