// Where the bytes of a backup come from: a program whose standard output is the backup, whoever runs it. Types only.

/** A dump that runs. */
export interface RunningDump {
  /** Its standard output and nothing else. */
  output: AsyncIterable<Uint8Array>;
  /** Resolves when the program has ended and all of its output was read. */
  ended: Promise<DumpEnd>;
  /** Ends it; fine at any time, and again. */
  cancel(): Promise<void>;
}

/** How a program ended. */
export interface DumpEnd {
  exitCode: number;
  /** The last of its standard error, bounded. */
  stderr: string;
  /** The kernel ended it for memory. */
  outOfMemory: boolean;
}

/** What a program must have written for its output to be a backup. */
export interface DumpForm {
  /** What each of its dumps begins with; empty where anything may. */
  magic: Uint8Array;
  /** What each ends with, for forms that say when they are whole; empty where none does. */
  tail: string;
  minBytes: number;
  /** Exit codes that are a warning and no failure. */
  warnCodes: readonly number[];
}

/** One file that a dump makes. */
export interface DumpPart {
  kind: "database" | "globals";
  /** What is in it, as the record says it. */
  content: string;
  /** Stands in the file's name; empty where the backup has one file. */
  label: string;
  ending: string;
  form: DumpForm;
  begin(): Promise<RunningDump>;
}
