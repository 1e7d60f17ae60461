// Where a backup is restored to prove it: a throw-away server without any network, which sees the backup's files and nothing else. Types
// only; docker/one-shot.ts makes the real one.

import type { AllowedOrphan } from "../../../shared/state/backup.ts";
import type { BackupFile } from "../core/backup-record.ts";
import type { StoreSettings } from "../engines/store-engine.ts";

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
  /** Foreign keys that may have orphans; a text is why the list could not be read. */
  allowed: readonly AllowedOrphan[] | string;
}

/** A backup's files as the box sees them. */
export interface RestoreInput {
  /** Where they lie in the box. */
  directory: string;
  /** Where in the box something may be written. */
  scratch: string;
  files: readonly BackupFile[];
  /** Of the store that it was dumped from; the box's server has the same user. */
  settings: StoreSettings;
  expectations: Expectations;
  deadlineMs: number;
  /** By the clock of this host: an entry of a list may have expired. */
  nowMs: number;
  /** The image of the box, for messages. */
  image?: string;
  /** The image is the one that made it: what it cannot read is then the backup's fault. */
  ownImage: boolean;
}

/** What is used of time. */
export interface VerifyClock {
  monotonicMs(): number;
  wait(ms: number): Promise<void>;
}
