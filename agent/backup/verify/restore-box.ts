// Where a backup is restored to prove it: a throw-away server without any network, which sees the backup's files and nothing else. Types
// only; docker/one-shot.ts makes the real one.

/** How a command in it ended. */
export interface BoxAnswer {
  exitCode: number;
  /** The first of what it printed. */
  output: string;
}

/** A throw-away server. */
export interface RestoreBox {
  /** Runs a command in it; throws where it cannot be run or has not ended in time. */
  run(argv: readonly string[], timeoutMs: number): Promise<BoxAnswer>;
  /** True once the kernel has ended something in it for memory. */
  ranOutOfMemory(): Promise<boolean>;
  /** True while its first process lives. */
  isRunning(): Promise<boolean>;
}

/** What a restore has shown. */
export interface Verdict {
  /** `unknown`: it could not be judged, for a reason that is not the backup's. */
  verdict: "good" | "bad" | "unknown";
  detail: string;
}

/** What a restored store must have. */
export interface Expectations {
  extensions: readonly string[];
  schemas: readonly string[];
  /** Each must answer true. */
  queries: readonly string[];
}
