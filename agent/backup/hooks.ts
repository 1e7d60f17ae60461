// Programs of the service around its backup: each with a deadline of its own, and a result of its own.

import type { HookPlan } from "../../shared/state/backup.ts";
import type { DockerExec } from "../docker/reader.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** Runs a program in the service's container. */
type Run = (argv: readonly string[], timeoutMs: number) => ReturnType<DockerExec["run"]>;

/** Runs them one after the other; answers why the next were not run, or undefined where none that matters failed. Never throws. */
export async function runHooks(hooks: readonly HookPlan[], run: Run): Promise<string | undefined> {
  for (const { argv, timeoutMs, onError } of hooks) {
    const fault = await runHook(argv, timeoutMs, run);
    if (fault !== undefined && onError === "abort") return fault;
  }
  return undefined;
}

async function runHook(argv: readonly string[], timeoutMs: number, run: Run): Promise<string | undefined> {
  try {
    const { exitCode, output } = await run(argv, timeoutMs);
    return exitCode === 0 ? undefined : `${argv[0]} ended with exit code ${exitCode}: ${output.trim()}`;
  } catch (error) {
    return `${argv[0]}: ${readMessage(error)}`;
  }
}
