// What a plan says to people and programs, in whichever form it was asked for: service by service what would change, and why. And
// the answer to `orca plan` without a directory: what the agent would do now, without doing it. Plain data.

import type { Caps } from "../state/container-spec.ts";
import type { Objection } from "../state/desired-state.ts";
import type { Hold } from "../state/hold.ts";
import type { Reason } from "../state/reason.ts";
import type { ServiceView } from "../state/status.ts";
import type { Operation } from "../state/step.ts";

/** What happens to a service. */
export type ChangeAction =
  | "create"
  | "recreate"
  | "update"
  | "deliver"
  | "start"
  | "stop"
  /** No container is touched. */
  | "agent"
  | "remove"
  | "none"
  /** Git's word is not followed. */
  | Objection["state"];

/** One thing that a change brings, or that it comes from. */
export type ChangeFact =
  | { code: "image"; from?: string; to: string }
  | { code: "caps"; from?: Caps; to: Caps }
  /** Another spec with the same image. */
  | { code: "spec" }
  | { code: "content"; target: string; then: "restart" | { signal: string } | { exec: readonly string[] } }
  /** It is a job: it runs once, or at its times. */
  | { code: "runs"; schedule: string }
  /** It is recreated only once there is a verified backup of these, as `SERVICE/STORE`. */
  | { code: "after-backup"; of: readonly string[] }
  | { code: "agent-only" }
  | { code: "started" }
  | { code: "stopped" }
  /** Its manifest says so. */
  | { code: "state-stopped" }
  /** It is no longer in the manifests; `ran` where it has a container that is stopped for that. */
  | { code: "removed"; ran: boolean }
  | { code: "container"; status: string }
  /** Git's word is not followed: why, and whether something runs on; undefined where that is not known. */
  | { code: "objected"; why: Reason; standing?: boolean }
  /** Something that holds it where it is, or keeps it from starting. */
  | { code: "kept" | "obstacle"; why: Reason };

/** What would happen to one service, in words too. */
export interface ChangeDocument {
  service: string;
  action: ChangeAction;
  /** True when its container ends and another run of it begins. */
  restarts: boolean;
  /** What the facts say, one thing each. */
  effects: readonly string[];
  facts: readonly ChangeFact[];
}

/** What a change waits for, in words too; earlier versions say the words alone. */
interface ToldHold extends Pick<Hold, "kind" | "untilMs"> {
  why?: Hold["why"];
  reason: string;
}

/** One look ahead. */
export interface PlanPreview {
  node: string;
  revision: string | undefined;
  /** What Git wants against what runs, as `orca plan DIR` says it; earlier versions do not say it. */
  changes?: readonly ChangeDocument[];
  /** What is begun for that now. */
  operations: readonly Operation[];
  services: readonly ServiceView[];
  notes: readonly string[];
  /** A change that is not in force yet, and what it would do besides. */
  held?: { revision: string; holds: readonly ToldHold[]; operations: readonly Operation[] };
}
