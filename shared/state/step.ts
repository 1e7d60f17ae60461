// The steps a plan is made of: plain data, so that a plan can be printed, and compared in a test. The audit log stores an extract of
// each step that changed something.
// There is no step that removes a volume, and a container is named only by an id that carries this node's own label.

import type { Caps, ContainerSpec } from "./container-spec.ts";
import type { FileContent } from "./file-content.ts";
import type { OwnContainerId } from "./identity.ts";
import type { Reason } from "./reason.ts";

/** Why a step is taken; shown in status, `/why` and the audit log. */
export interface Cause {
  kind:
    | "commit"
    | "first-start"
    | "boot"
    | "crash"
    | "oom"
    | "unhealthy"
    | "drift"
    | "removal"
    | "operator"
    | "config"
    | "rotation"
    | "dependency"
    /** A spare stands in this node's place. */
    | "takeover"
    | "schedule";
  /** What happened. */
  why: Reason;
  /** The same in words, without what a container printed. */
  detail: string;
  /** The revision that asked for it, where Git did. */
  revision?: string;
  /** The uid of the local user who asked for it, where one did. */
  uid?: number;
}

/** A file to deliver; the words are those of a desired file. */
export interface FileReference {
  target: string;
  content: FileContent;
  mode: string;
  owner?: string;
}

/** The container a step acts on: one that was observed, or the one that this same operation creates. */
export type StepContainer = OwnContainerId | "created";

/** A bind mount as it was judged: its source as written, the real path behind it, and where the container sees it. */
export interface BindSource {
  source: string;
  target: string;
  real: string;
}

/** One action. Handlers are looked up by `kind` in a table that the compiler checks for completeness. */
export type Step =
  | { kind: "ensure-network"; network: string; subnet?: string; internal: boolean }
  | { kind: "write-hosts"; hosts: Readonly<Record<string, string>> }
  | { kind: "ensure-image"; service: string; image: string }
  /** `ephemeral` is the name that manifests give a volume that begins empty with each release. */
  | { kind: "ensure-volume"; service: string; volume: string; ephemeral?: string }
  | {
      kind: "write-files";
      service: string;
      specHash: string;
      files: readonly FileReference[];
      /** The container that they are for, where it is made already: its user may own some of them. */
      container?: StepContainer;
    }
  | { kind: "remove-files"; service: string; specHash: string }
  | {
      kind: "create-container";
      service: string;
      name: string;
      network: string;
      specHash: string;
      revision: string;
      spec: ContainerSpec;
      caps: Caps;
      stopTimeoutMs: number;
      /** Volumes without a name that it takes over from the container before it; absent for none. */
      carried?: readonly { name: string; target: string }[];
      binds?: readonly BindSource[];
    }
  | { kind: "start-container"; service: string; container: StepContainer; binds?: readonly BindSource[] }
  | { kind: "unpause-container"; service: string; container: OwnContainerId }
  /** Back to the name that Orca gave it. */
  | { kind: "rename-container"; service: string; container: OwnContainerId; name: string }
  | { kind: "stop-container"; service: string; container: OwnContainerId; timeoutMs: number | undefined }
  | { kind: "remove-container"; service: string; container: OwnContainerId }
  | { kind: "update-caps"; service: string; container: OwnContainerId; from: Caps; to: Caps }
  | { kind: "connect-network"; service: string; container: OwnContainerId; network: string; aliases: readonly string[] }
  | { kind: "signal-container"; service: string; container: OwnContainerId; signal: string }
  | { kind: "exec-in-container"; service: string; container: OwnContainerId; command: readonly string[] }
  | {
      kind: "switch-traffic";
      service: string;
      front: string;
      run: string;
      ports: readonly number[];
      address: string | undefined;
    }
  | {
      kind: "drain-traffic";
      service: string;
      front: string;
      ports: readonly number[];
      address: string;
      timeoutMs: number;
    };

/** The steps that change something at the engine or in a container. */
export const MUTATING_STEPS: ReadonlySet<Step["kind"]> = new Set<Step["kind"]>([
  "ensure-network",
  "ensure-image",
  "ensure-volume",
  "create-container",
  "start-container",
  "unpause-container",
  "rename-container",
  "stop-container",
  "remove-container",
  "update-caps",
  "connect-network",
  "signal-container",
  "exec-in-container",
  "switch-traffic",
  "drain-traffic",
]);

/** The lane of work that belongs to the node and to no service. */
export const NODE_LANE = "@node";

/** Steps that run one after the other in one lane: at most one operation per lane is in flight. */
export interface Operation {
  /** The service, or `NODE_LANE`. */
  lane: string;
  cause: Cause;
  /** The intent this works towards; a newer one cancels the rest of the operation. */
  fingerprint: string;
  /** Of the work around a front. */
  aim?: FrontAim;
  steps: readonly Step[];
}

/** What the work around a front is about: who shall get its traffic in one run of it, or the one container that is ended or revived. */
export type FrontAim =
  | { kind: "traffic"; run: string; address: string | undefined }
  | { kind: "retire" | "revive"; container: OwnContainerId };

/** An operation that has started and not ended. */
export interface OperationInFlight {
  lane: string;
  cause: Cause;
  fingerprint: string;
  aim?: FrontAim;
  /** The kind of the step that runs now. */
  stage: Step["kind"];
  /** True when one of its steps starts a container: it holds a start slot. */
  starts: boolean;
  /** Containers of which a step that was taken, or is under way, ends a run or begins one. */
  changing?: readonly string[];
  sinceMs: number;
  /** Progress of a long step, such as a pull, for people. */
  progress: string | undefined;
}

/**
 * What the loop must do about a failure: try again after a backoff, wait for something outside to change (registry, disk,
 * daemon: never a rollback), or go back to the last good release, since what Git wants cannot run.
 */
export type FailureClass = "retry" | "infrastructure" | "artefact";

/** What is at fault when a step fails, or would fail: a closed set, read from the engine's answer or from a look at the host. */
export type FaultCode =
  | "engine-away"
  | "disk-full"
  | "host-exhausted"
  | "image-unknown"
  /** The container asks for something that it cannot have. */
  | "spec-refused"
  | "port-held"
  | "source-missing"
  /** The engine holds on to an earlier run of this container: it can never start again. */
  | "container-stuck"
  | "endpoint-left"
  | "removing"
  | "name-taken"
  | "gone"
  | "other";

/** How an operation ended. */
export interface OperationOutcome {
  operation: Operation;
  /** When its step that starts a container began; left out where it came to none. */
  startBegunMs?: number;
  endedMs: number;
  result:
    | { kind: "done"; steps: number }
    | { kind: "cancelled"; before: Step["kind"] }
    /** The world moved while a step took long (a pull): what remains is planned anew. */
    | { kind: "replan"; after: Step["kind"] }
    | { kind: "failed"; step: Step["kind"]; failure: FailureClass; fault: FaultCode; message: string; output?: string };
}
