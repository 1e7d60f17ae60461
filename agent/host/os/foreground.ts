// Programs of the person at the terminal, such as their editor, over something that must not stay: a copy of secrets. No shell is
// called. Used by `orca secrets edit`.

import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";

/** Runs a program on this terminal; answers its exit code. Throws where it cannot be started. */
export type RunProgram = (program: string, parameters: readonly string[]) => Promise<number>;

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Does something and tidies up after it, however it ends. Ctrl-C belongs to a program that runs: this process outlives it. Being
 * told to end ends the program first. While none runs, a signal ends this process, tidied up.
 * @param tidy does its work at once, and twice if need be
 */
export async function tidyAfter<T>(tidy: () => void, act: (run: RunProgram) => Promise<T>): Promise<T> {
  let child: ChildProcess | undefined;
  const run: RunProgram = (program, parameters) =>
    new Promise((resolve, reject) => {
      const started = spawn(program, parameters, { stdio: "inherit" });
      child = started;
      const end = (settle: () => void): void => {
        child = undefined;
        settle();
      };
      started.once("error", (error: NodeJS.ErrnoException) =>
        end(() => reject(new Error(`${program} cannot be started: ${error.code ?? error.message}`))),
      );
      started.once("close", (code) => end(() => resolve(code ?? 1)));
    });
  const hear = (signal: (typeof SIGNALS)[number]): void => {
    if (child === undefined) {
      tidy();
      process.exit(128 + constants.signals[signal]);
    }
    if (signal !== "SIGINT") child.kill(signal);
  };
  // Before anything is there to tidy up: a program may send one sooner than its start is over here.
  for (const signal of SIGNALS) process.on(signal, hear);
  try {
    return await act(run);
  } finally {
    tidy();
    for (const signal of SIGNALS) process.removeListener(signal, hear);
  }
}
