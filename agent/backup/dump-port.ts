// Where the bytes of a backup come from: a program whose standard output is the backup, whoever runs it. Types only.

import type { SourceFacts } from "./core/backup-record.ts";

/** A dump that runs. */
export interface RunningDump {
  /** Its standard output and nothing else. */
  output: AsyncIterable<Uint8Array>;
  /** Resolves when the program has ended and all of its output was read. */
  ended: Promise<DumpEnd>;
  /**
   * What the source says of the moment that the dump shows; called once, when the dump has ended well. It never fails: what cannot be
   * measured is left out.
   */
  measure?(): Promise<SourceFacts>;
  /** Ends it, and whatever was held for it; fine at any time, and again. */
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
  /** It has one of these where they say; none are given where it may begin with anything. Latin-1. */
  heads: readonly { at: number; text: string }[];
  /** What each ends with, for forms that say when they are whole; empty where none does. */
  tail: string;
  minBytes: number;
  /** Exit codes that are a warning and no failure. */
  warnCodes: readonly number[];
}

/** One file that a dump makes. */
export interface DumpPart {
  kind: "database" | "globals" | "keys" | "files" | "stream" | "base";
  /** What is in it, as the record says it. */
  content: string;
  /** Stands in the file's name; empty where the backup has one file. */
  label: string;
  ending: string;
  form: DumpForm;
  begin(): Promise<RunningDump>;
}
