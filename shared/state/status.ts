// What status, `/why` and the exit codes are made from. The states are the contract's (section 3); each has a reason.

import type { Reason } from "./reason.ts";
import type { SecretRefusal } from "../secret/secret-facts.ts";

/** The states a service can be in. */
export const SERVICE_STATES = [
  "invalid",
  "refused",
  "held",
  "paused",
  "waiting",
  "pulling",
  "starting",
  "healthy",
  "unhealthy",
  "backoff",
  "stalled",
  "rolled-back",
  "stopped",
  "removing",
  "completed",
  "failed",
  "unknown",
] as const;

/** One of `SERVICE_STATES`. */
export type ServiceState = (typeof SERVICE_STATES)[number];

/**
 * Where a start stands: at its gate, open but without a start slot, or begun; `without` names what it requires or wants and
 * did not get.
 */
export type StartStage = { at: "gate" } | { at: "slot" } | { at: "begun"; without: readonly string[] };

/** One service as a plan sees it. */
export interface ServiceView {
  name: string;
  state: ServiceState;
  /** Why it is in this state. */
  fact: Reason;
  /** The same in words as they read now, without what a container printed. */
  reason: string;
  sinceMs: number;
  /** Names of what it waits for, as the manifest writes them. */
  waitingFor: readonly string[];
  /** When something will be tried again by itself. */
  nextMs: number | undefined;
  /** Healthy for `update.settle`: recorded as good. */
  settled: boolean;
  restarts: number;
  /** The revision that runs, and the one that should. */
  revision: string | undefined;
  desiredRevision: string | undefined;
  container: string | undefined;
  image: string | undefined;
  owner: string | undefined;
  memoryCapBytes: number | undefined;
  /** What its last start took, from the start of its container until it was healthy; left out where that is not known. */
  tookMs?: number;
  /** Why what Git wants of it failed, while an earlier release runs in its place for that. */
  wentBack?: string;
  /** Left out where nothing is being started. */
  start?: StartStage;
  /** Why no start of it can begin, whoever asks for one; left out where one may. */
  startBlocked?: string;
  /** What a person has set on it that `orca resume` ends; left out where nothing is. */
  override?: "paused" | "stopped" | "rolled back";
  /** Secrets that the provider refuses although the service was given them; left out where there are none. */
  refusedSecrets?: readonly SecretRefusal[];
  /** Things worth knowing that are no fault: started ungated, parts of the manifest not acted on. */
  notes: readonly string[];
}
