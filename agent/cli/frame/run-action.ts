// Runs one command's action: what it cannot do comes out as one line and an exit code, never as a stack.

import { isJournal } from "../../host/os/journal.ts";
import { CommandError, EXIT } from "./exit-codes.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** Wraps an action for commander. */
export function run<T extends unknown[]>(
  action: (...parameters: T) => Promise<number>,
): (...parameters: T) => Promise<void> {
  return async (...parameters) => {
    try {
      process.exitCode = await action(...parameters);
    } catch (error) {
      const message = readMessage(error);
      // In the journal, which knows that it is orca's, this is an error and no information.
      const { printFault } = await import("./terminal.ts");
      printFault(isJournal("stderr") ? `<3>${message}` : `orca: ${message}`);
      process.exitCode = error instanceof CommandError ? error.exitCode : EXIT.failed;
    }
  };
}
