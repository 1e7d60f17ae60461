// What the agent tells report/: plain data, never a secret value. The rest of the agent gets `emit` and nothing else.

import type { AgentUpdate } from "../fleet/agent-version.ts";
import type { AwaitedBackup, BackupRun, VerifyRun } from "./backup.ts";
import type { ColdStartReport } from "./cold-start.ts";
import type { DoctorLook } from "./doctor-look.ts";
import type { DrillRecord } from "../drill/drill.ts";
import type { DesiredService, DesiredState } from "./desired-state.ts";
import type { GossipEvent } from "../fleet/gossip-event.ts";
import type { Hold, SourceTrouble } from "./hold.ts";
import type { ExitRecord, NodeMemory } from "./memory.ts";
import type { Note } from "./note.ts";
import type { ObservedState } from "./observed-state.ts";
import type { PrunedItem, PruneRun, PruneTrigger } from "./prune.ts";
import type { RestoreRecord } from "./restore.ts";
import type { SecretTrouble } from "../secret/secret-facts.ts";
import type { CommitInfo } from "./snapshot.ts";
import type { Cause, OperationOutcome, Step } from "./step.ts";
import type { ServiceView } from "./status.ts";

/** One turn of the loop, as status needs it. */
export interface TurnSummary {
  startedMs: number;
  endedMs: number;
  desired: DesiredState | undefined;
  observed: ObservedState;
  services: readonly ServiceView[];
  notes: readonly Note[];
  source: SourceState;
  /** Why the provider of secrets gives none; left out while it does. */
  secrets?: SecretTrouble | undefined;
  pausedBy: number | undefined;
  /** What Git wants of services for which an earlier release stands in `desired`, and what a rollback goes to. */
  keeps?: readonly Pick<DesiredService, "name" | "spec" | "specHash">[];
  /** Backups that changes wait for. */
  awaited?: readonly AwaitedBackup[];
  /** Which volume is in force of each that has several, by the name that manifests give it. */
  generations?: NodeMemory["generations"];
}

/** How fresh the desired state is. */
export interface SourceState {
  kind: "directory" | "git";
  location: string;
  revision: string | undefined;
  /** When the source was last read well, in milliseconds since the epoch. */
  readMs: number | undefined;
  /** Why the newest reading is not in force: unreadable, refused or held. */
  trouble: SourceTrouble | undefined;
  /** Set while the newest inputs could not even be built: the agent goes on with what is in force. */
  fault?: string;
  /** What the newest change waits for; empty where nothing is held. */
  holds: readonly Hold[];
  retryMs: number | undefined;
  /** True while a reading that was asked for is under way: this is what was read before it. */
  refreshing?: boolean;
  /** The newest commit that was read, and the node's inputs in it as one value; also while it is held. */
  newest?: { revision: string; inputs: string };
  /** The commit that is in force, where the source has commits. */
  commit?: CommitInfo;
  /** The tag that approved the newest change, and what is known of who made it. */
  approval?: string;
  /** What people should know although it was read well. */
  notes?: readonly string[];
}

/** Who asked for something through the unix socket. */
export interface Actor {
  uid: number;
  user: string | undefined;
}

/** Everything that report/ hears. */
export type AgentEvent =
  | { kind: "agent-started"; atMs: number; node: string; engine: string; version: string }
  | { kind: "agent-stopping"; atMs: number; reason: string }
  /** Where the agent answers, now that it does; `troubles` says what it could not bind and why. */
  | {
      kind: "serving";
      atMs: number;
      addresses: readonly string[];
      socket: string | undefined;
      troubles: readonly string[];
    }
  | { kind: "turn"; atMs: number; turn: TurnSummary }
  | { kind: "turn-failed"; atMs: number; message: string; nextMs: number }
  | { kind: "step-done"; atMs: number; lane: string; step: Step; cause: Cause; tookMs: number; changed: boolean }
  | { kind: "step-failed"; atMs: number; lane: string; step: Step; cause: Cause; message: string; output?: string }
  | { kind: "operation-ended"; atMs: number; outcome: OperationOutcome }
  | { kind: "exited"; atMs: number; exit: ExitRecord }
  | { kind: "settled"; atMs: number; service: string; revision: string }
  | { kind: "acted"; atMs: number; actor: Actor; action: string; service: string | undefined; detail: string }
  | { kind: "state-not-saved"; atMs: number; message: string }
  /** The host's files were read again; with a message one of them cannot be used, and the one in force stays. */
  | { kind: "host-files-read"; atMs: number; message: string | undefined }
  /** Something happened between nodes. */
  | { kind: "gossip"; atMs: number; event: GossipEvent }
  /** This node, or several of the realm, came up anew, and that is over. */
  | { kind: "cold-start"; atMs: number; report: ColdStartReport }
  /** A run of a backup ended: `run.made` names the backup, else `run.reason` says why there is none. */
  | { kind: "backup-ended"; atMs: number; service: string; store: string; run: BackupRun; bytes: number }
  /** Retention has removed a backup. */
  | { kind: "backup-removed"; atMs: number; service: string; store: string; backup: string }
  /** A restore into place has come to another stage, or to its end. */
  | { kind: "backup-restored"; atMs: number; record: RestoreRecord }
  /** A backup was restored to prove it, or could not be judged. */
  | {
      kind: "backup-judged";
      atMs: number;
      service: string;
      store: string;
      run: VerifyRun;
      /** What reading, restoring and looking took; left out where nothing was restored. */
      tookMs?: number;
    }
  /** A drill has come to its end, or was given up. */
  | { kind: "drill-ended"; atMs: number; record: DrillRecord }
  /** A prune begins: what it has chosen, by name. */
  | { kind: "prune-began"; atMs: number; trigger: PruneTrigger; chosen: readonly string[] }
  /** The engine has removed one thing of it. */
  | { kind: "pruned"; atMs: number; trigger: PruneTrigger; item: PrunedItem }
  | { kind: "prune-ended"; atMs: number; run: PruneRun }
  /** An ephemeral volume that no release needs any more is gone. */
  | { kind: "volume-removed"; atMs: number; service: string; volume: string }
  /** The weekly look at the host is over. */
  | { kind: "doctor-looked"; atMs: number; look: DoctorLook }
  /** The agent's own update stands otherwise than before. */
  | { kind: "agent-update"; atMs: number; update: AgentUpdate }
  /** The webhook listens, or why it does not take pushes; without an address it was turned off. */
  | { kind: "webhook"; atMs: number; listen: string | undefined; trouble: string | undefined }
  /**
   * The webhook answered a request; `doubt` is what people should look at although a push is followed; `quiet` where the same refusal was told a moment ago. `more` requests were refused since
   * the event before, of which nothing else is told: a flood of them must cost the agent little.
   */
  | {
      kind: "push";
      atMs: number;
      id: string;
      status: number;
      said: string;
      doubt?: string;
      quiet: boolean;
      more: number;
    };

/** How the agent tells report/ something; never throws, never waits. */
export type Emit = (event: AgentEvent) => void;
