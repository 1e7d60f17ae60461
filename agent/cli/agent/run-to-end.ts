// Runs an agent for `orca up` and `orca agent`: how it ended, and why it could not begin, become exit codes and words here.

import type { DaemonConfig } from "../../daemon/daemon-config.ts";
import { type DaemonEnd, runDaemon } from "../../daemon/daemon.ts";
import { LockHeldError } from "../../host/files/lock.ts";
import { StateTooNewError } from "../../host/store/store-schema.ts";
import { nameHelp } from "../../../shared/text/help-topic.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { explainFullDisk } from "./full-disk.ts";

const CODES: Readonly<Record<DaemonEnd["kind"], number>> = {
  told: EXIT.ok,
  settled: EXIT.ok,
  refused: EXIT.failed,
  "too-late": EXIT.notHealthy,
};

/** Runs an agent until it ends; answers the exit code. */
export async function runToEnd(config: DaemonConfig): Promise<number> {
  try {
    const { kind } = await runDaemon(config);
    return CODES[kind];
  } catch (error) {
    throw explainFullDisk(error, config.stateDir) ?? wordRefusal(error);
  }
}

/** A node that is held, or a state that a later version kept, is no fault of the program: it is said in one line. */
export function wordRefusal(error: unknown): unknown {
  if (error instanceof LockHeldError)
    return new CommandError(`${error.message} (${nameHelp("runbook")})`, EXIT.unreachable);
  if (error instanceof StateTooNewError) return new CommandError(`${error.message} (${nameHelp("install")})`);
  return error;
}
