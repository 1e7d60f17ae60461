// The exit codes of `orca`, for scripts. The contract, section 3, says which command uses which.

export const EXIT = {
  ok: 0,
  /** Invalid, refused, held or rolled back; or the command failed. */
  failed: 1,
  /** `orca plan`: there are changes. */
  changes: 2,
  /** Not everything is healthy, or not within the time given. */
  notHealthy: 3,
  /** The agent cannot be reached, or another one holds this node. */
  unreachable: 4,
} as const;

/** Ends the command with a message on standard error and an exit code. */
export class CommandError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message);
    this.name = "CommandError";
    this.exitCode = exitCode;
  }
}
