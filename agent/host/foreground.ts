// Runs a program of the person at the terminal, such as their editor: it has the terminal until it ends. No shell is called.

import { spawn } from "node:child_process";

/** Runs a program on this terminal; answers its exit code. Throws where it cannot be started. */
export async function runInForeground(program: string, parameters: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, { stdio: "inherit" });
    child.once("error", (error: NodeJS.ErrnoException) =>
      reject(new Error(`${program} cannot be started: ${error.code ?? error.message}`)),
    );
    child.once("close", (code) => resolve(code ?? 1));
  });
}
