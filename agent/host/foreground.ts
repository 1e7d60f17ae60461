// Runs a program of the person at the terminal, such as their editor: it has the terminal until it ends. No shell is called.

import { spawn } from "node:child_process";

/**
 * Runs a program on this terminal; answers its exit code. Throws where it cannot be started. Ctrl-C is the program's own: this
 * process outlives it, since it has to tidy up after it. Being told to end ends the program, and then this call.
 */
export async function runInForeground(program: string, parameters: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, { stdio: "inherit" });
    const pass = (signal: NodeJS.Signals): void => void (signal === "SIGINT" || child.kill(signal));
    for (const signal of SIGNALS) process.on(signal, pass);
    const end = (act: () => void): void => {
      for (const signal of SIGNALS) process.removeListener(signal, pass);
      act();
    };
    child.once("error", (error: NodeJS.ErrnoException) =>
      end(() => reject(new Error(`${program} cannot be started: ${error.code ?? error.message}`))),
    );
    child.once("close", (code) => end(() => resolve(code ?? 1)));
  });
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
