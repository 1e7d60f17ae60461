// What the agent and its child that brings a whole node up apart say to each other: a line of JSON each, through pipes that nobody else holds.
// The child ends when its stdin does; what it leaves then, the next one sweeps.

import type { RestoreRequest } from "../backup/backup-exchange.ts";
import type { BackupRecord } from "../backup/core/backup-record.ts";
import type { StorePlan } from "../../shared/state/backup.ts";
import type { DrillPart } from "../../shared/drill/drill.ts";
import type { HealthCheck } from "../../shared/manifest/manifest.ts";

/** The hidden command that the child is. */
export const DRILL_COMMAND = "run-drill";

/** A store that is restored before its service starts. */
export interface StackStore {
  plan: StorePlan;
  record: BackupRecord;
  /** From which repository. */
  repository: string;
  /** All but the container and its volumes, which the child makes. */
  restore: Omit<RestoreRequest, "container" | "volumes">;
}

/** A service that is brought up. */
export interface StackService {
  name: string;
  /** Its container on this node. */
  container: string;
  aliases: readonly string[];
  after: readonly string[];
  outside: readonly string[];
  health: HealthCheck | undefined;
  /** So long it may take to be healthy, in milliseconds. */
  withinMs: number;
  promised: Pick<DrillPart, "rtoMs">;
  stores: readonly StackStore[];
}

/** What the child is asked for. */
export type DrillRequest = {
  node: string;
  /** The engine's unix socket. */
  socket: string;
  /** The slice that containers go into. */
  cgroupParent?: string | undefined;
  /** Where the ids of images are kept that came with a bundle. */
  bundles?: string | undefined;
  /** Where opened backups lie while they are restored. */
  spool: string;
} & (
  | {
      kind: "full";
      /** In the order in which they are begun. */
      services: readonly StackService[];
      ownDirectories: readonly string[];
      /** Where the child says what it does. */
      progressPath: string;
    }
  | { kind: "sweep" }
);

/** What came of it. */
export type DrillAnswer =
  | { kind: "drilled"; parts: DrillPart[] }
  | { kind: "swept" }
  | { kind: "failed"; reason: string };
