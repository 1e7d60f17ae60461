// Programs of the service around its backup: each with a deadline of its own, and a result of its own.

import type { HookPlan } from "../../shared/state/backup.ts";
import type { DockerExec } from "../docker/reader.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** Runs a program in the service's container. */
type Run = (argv: readonly string[], timeoutMs: number) => ReturnType<DockerExec["run"]>;

/** What came of a list of hooks. */
export interface HooksEnd {
  /** Why the next were not run, and nothing is begun after them; undefined where none that matters failed. */
  refused?: string;
  /** All that failed, that one too; undefined where none did. */
  fault?: string;
}

/** Runs them one after the other. Never throws. */
export async function runHooks(hooks: readonly HookPlan[], run: Run): Promise<HooksEnd> {
  const faults: string[] = [];
  for (const { argv, timeoutMs, onError } of hooks) {
    const fault = await runHook(argv, timeoutMs, run);
    if (fault === undefined) continue;
    faults.push(fault);
    if (onError === "abort") return { refused: fault, fault: faults.join("; ") };
  }
  return faults.length === 0 ? {} : { fault: faults.join("; ") };
}

async function runHook(argv: readonly string[], timeoutMs: number, run: Run): Promise<string | undefined> {
  try {
    const { exitCode, output } = await run(argv, timeoutMs);
    return exitCode === 0 ? undefined : `${argv[0]} ended with exit code ${exitCode}: ${output.trim()}`;
  } catch (error) {
    return `${argv[0]}: ${readMessage(error)}`;
  }
}
