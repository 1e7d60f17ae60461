// Why a service is as it is, and why a step is taken: a code with fields. Rules make them, shared/text/describe-reason.ts turns one
// into the sentence that people read, and nothing reads that sentence again.

import type { Caps } from "./container-spec.ts";
import type { PublishedPort } from "../manifest/published-port.ts";
import type { ServiceState } from "./status.ts";
import type { Problem } from "../text/problem.ts";
import type { SecretRefusal } from "../secret/secret-facts.ts";

/** What a probe, an engine, a provider or a desired state said. `output` is what a container printed: not for everybody to read. */
export interface Said {
  message: string;
  output?: string;
}

/** Takes what was said out of something larger. */
export function pickSaid({ message, output }: Said): Said {
  return output === undefined ? { message } : { message, output };
}

/** What is waited for, and why it does not do yet. */
export interface Missing {
  target: string;
  why: Reason;
}

/** How a container ended. */
export interface EndFact {
  by: "itself" | "hand" | "agent" | "nobody-saw";
  exitCode: number;
  signal?: number;
  oom: boolean;
}

/** Who has something whose name Orca needs: another node, or nobody that Orca knows. */
type Owner = string | undefined;

/** A port of the host, on one of its addresses or on all. */
type HostPort = Pick<PublishedPort, "address" | "hostPort" | "protocol">;

/** A start, a stop or a delivery: what a cause says. */
export type CauseReason =
  | { code: "first-start" | "new-spec" | "goes-back" | "in-git-again" | "wanted-again"; revision: string }
  | { code: "generation-chosen"; volumes: readonly string[] }
  | { code: "asked"; what: "restart" | "start" | "stop" | "run"; uid: number }
  | { code: "release-asked"; revision: string; uid: number }
  | { code: "new-values"; paths: readonly string[] }
  | { code: "new-content"; targets: readonly string[] }
  | { code: "ended"; end: EndFact }
  | { code: "unhealthy"; failures: number; said: Said }
  | { code: "image-differs"; is: string; wanted: string }
  | { code: "caps-differ"; is: Caps; wanted: Caps }
  | { code: "new-caps"; is: Caps; wanted: Caps; revision: string }
  | { code: "policy-differs" | "engine-restarts-it"; policy: string }
  | { code: "renamed"; name: string }
  | { code: "off-network"; network: string }
  | { code: "unstartable"; said: Said }
  | { code: "job-due"; dueMs: number }
  | { code: "traffic-moves"; to: string | undefined }
  | { code: "traffic-gone"; revision: string }
  | { code: "ended-while-tried" | "paused-while-tried"; revision: string; tried: string }
  | { code: "old-container-goes"; why: Reason; settled: boolean }
  | {
      code:
        | "engine-restarted"
        | "stopped-for-restart"
        | "copy-over"
        | "container-removed"
        | "container-dead"
        | "removal-stuck"
        | "paused-by-hand"
        | "other-spec-beside"
        | "files-differ"
        | "not-in-git"
        | "node-begins"
        | "node-drift";
    };

/** Why something that a service waits for is, or is not, healthy. */
export type TargetReason =
  | { code: "node-unknown"; node: string }
  | { code: "target-state"; state: string }
  | {
      code:
        | "healthy"
        | "assumed-healthy"
        | "not-healthy"
        | "not-running"
        | "no-such-service"
        | "no-traffic-yet"
        | "job-completed"
        | "job-not-completed"
        | "manifest-stopped"
        | "engine-not-asked"
        | "not-probed";
    };

/** Why a start waits or does not come. */
export type StartReason =
  | { code: "waiting-for"; missing: readonly Missing[]; now?: { untilMs: number } }
  | { code: "waiting-wanted"; missing: readonly Missing[]; timeoutMs: number }
  | { code: "not-healthy-within"; missing: Missing; withinMs: number }
  | { code: "no-start-slot"; slots: number }
  | { code: "peer-awaited"; now: { untilMs: number } }
  | { code: "data-awaited" }
  | { code: "cannot-start" | "could-not-start" | "could-not-start-again" | "restart-waits"; why: Reason }
  | { code: "source-missing"; path: string }
  | { code: "port-without-address" | "port-held-by-program"; port: HostPort }
  | { code: "port-held-by-container"; port: HostPort; container: string; owner: Owner }
  | { code: "port-held-by-service"; port: HostPort; service: string; runsOn: string | undefined }
  | { code: "front-being-made"; front: string; revision: string }
  | { code: "waiting-for-ports"; container: string }
  | { code: "waiting-for-data"; service: string; data: string; wanted: boolean }
  | { code: "waiting-for-memory"; needBytes: number; now: { leftBytes: number } }
  | { code: "policy-leaves-ended"; exitCode: number; policy: string }
  | { code: "backoff"; end: EndFact; now: { attempt: number; untilMs: number } }
  | { code: "network-being-made"; network: string }
  | { code: "network-taken"; network: string; owner: Owner }
  | { code: "name-taken"; container: string; owner: Owner }
  | { code: "volume-taken"; volume: string; owner: string }
  | { code: "volume-foreign"; volume: string; leadsTo: string | undefined }
  | { code: "data-not-mounted"; said: Said }
  | {
      code: "moved-without-data";
      service: string;
      from: { node: string; service: string };
      missing: readonly string[];
      stopped: boolean;
    }
  | { code: "generation-found"; volume: string }
  | { code: "generation-unknown"; service: string; volume: string; there: readonly string[] }
  | { code: "generation-gone"; service: string; volume: string; generation: string; there: readonly string[] }
  | { code: "data-uncovered"; service: string; volume: string; target: string }
  | {
      code: "data-cover-empty";
      service: string;
      volume: string;
      target: string;
      cover: { name?: string; source?: string };
    }
  | { code: "started-without"; names: readonly string[]; wanted: boolean }
  | { code: "hosts-being-written" | "somebody-removes-it" | "started-by-person" };

/** Why Git's word for a service is not in force, or why nothing of it is started. */
export type ObjectionReason =
  | { code: "manifest-invalid"; first: Problem | undefined; more: number }
  | { code: "parts-missing"; problems: readonly Problem[] }
  | { code: "build-fault" | "source-unsteady"; message: string }
  /** It does not go together with other services, with the node's memory or with its ports. */
  | { code: "constraint-broken"; message: string; hint: string }
  /** A kept release that would run in the place of what is wanted; `objection` where that cannot be used. */
  | { code: "release-refused"; revision: string; why: Reason; objection?: Reason }
  | { code: "policy-refuses"; first: { key: string; rule: string; message: string }; more: number }
  | { code: "file-undeliverable"; target: string; message: string }
  | {
      code: "backup-first";
      service: string;
      /** `SERVICE/STORE` each. */
      of: readonly string[];
      trouble?: string;
      doing?: string;
      now: { sinceMs: number };
    }
  /** It stands still while this is broken, or while nobody has looked yet. */
  | { code: "promise-broken"; service: string; promise: "availability" | "rpo" | "unknown" }
  | { code: "no-provider" }
  | { code: "secret-pending"; path: string }
  | { code: "secret-missing"; path: string; kind: "unavailable" | "denied" | "not-found"; message: string }
  | { code: "not-started"; why: Reason };

/** What is shown of a service as it is. */
export type StateReason =
  /** Words of somebody else alone. */
  | { code: "said"; said: Said }
  | { code: "engine-silent"; said: Said }
  | { code: "plan-fault"; message: string }
  | { code: "objected"; why: Reason }
  | { code: "pulling"; image: string; now: { progress: string | undefined } }
  | { code: "under-way"; kind: string; why: Reason }
  | { code: "stopping" | "made-ready" | "left-as-it-is" | "not-made-again"; why: Reason }
  | { code: "paused"; uid: number; running: boolean }
  | { code: "stopped-by"; uid: number }
  | { code: "copied-cold"; store: string }
  | { code: "replaced"; spare: string; term: number }
  | { code: "failed-before"; why: Reason; said: Said }
  | { code: "runs-and-failed"; shown: Reason; why: Reason; said: Said }
  | { code: "failed"; said: Said; holder?: Reason }
  | { code: "not-restarted"; why: Reason; obstacle: Reason }
  | { code: "starts-anew-later"; why: Reason; cause: Reason; held: Reason }
  | { code: "settling"; now: { sinceMs: number; untilMs: number } }
  | { code: "not-recorded"; said: Said | undefined }
  | { code: "cap-lowered-later"; wanted: Caps; now: { usedBytes: number } }
  | { code: "own-data"; target: string; volume: string }
  | { code: "without-effect"; times: number; why: Reason }
  | { code: "takes-its-place"; revision: string }
  | { code: "not-settled-within"; revision: string; withinMs: number; why: Reason }
  | { code: "ended-often"; exitCode: number; now: { restarts: number } }
  | { code: "still-taken-apart"; exitCode: number | undefined }
  | { code: "does-not-run" | "no-rule" | "asked-for" }
  | { code: "job-running"; now: { sinceMs: number } }
  | { code: "job-skipped"; now: { times: number } }
  | { code: "job-not-due"; nextMs: number | undefined }
  | { code: "job-ended"; dueMs: number; exitCode: number; tookMs: number; nextMs: number | undefined }
  | { code: "now-named"; successor: string }
  | { code: "removed"; now: { untilMs: number } }
  | { code: "removal-over" }
  | { code: "not-started-again"; why: Reason };

/** A reason that stands over another one, which says how the service is beneath it. */
type OverReason =
  | {
      code: "rolled-back";
      revision: string;
      uid: number | undefined;
      /** What was wrong with the release before, or that somebody asked for it. */
      fault: Reason;
      over: boolean;
      why: Reason | undefined;
    }
  | { code: "objection"; objected: Reason; revision: string; state: ServiceState; why: Reason }
  | { code: "secrets-refused"; refusals: readonly SecretRefusal[]; state: ServiceState; why: Reason };

/** A reason with what is said beside it; its code is that of `why`. */
interface ReasonBeside {
  code: "beside";
  why: Reason;
  /** It is tried once more: what became of the try before. */
  again?: { said: Said; now: { attempt: number } };
  /** What went wrong with ending it. */
  failed?: Said;
  /** What serves meanwhile. */
  serving?: { revision: string; health: string | undefined };
  /** Services that wait for each other. */
  ring?: readonly string[];
}

/**
 * Why; `now` holds figures that move by themselves and make a reason no other one: counts, and the moments (`sinceMs`, `untilMs`) from
 * which an age or a wait is counted when somebody reads it.
 */
export type Reason =
  | CauseReason
  | TargetReason
  | StartReason
  | ObjectionReason
  | StateReason
  | OverReason
  | ReasonBeside;

/** The code of a reason, without what is said beside it. */
export type ReasonCode = Exclude<Reason["code"], "beside">;

/** The code that people are told: of what Git wants and is not followed, why that is so. */
export function findToldCode(reason: Reason): ReasonCode {
  if (reason.code === "beside") return findToldCode(reason.why);
  return reason.code === "objection" ? findToldCode(reason.objected) : reason.code;
}

/** The reason of one code, also where several codes share their fields. */
export type ReasonOf<C extends string, R extends { code: string } = Reason> = R extends R
  ? C extends R["code"]
    ? R & { code: C }
    : never
  : never;

/** The code that stands for a reason, for whoever decides by it. */
export function findCode(reason: Reason): ReasonCode {
  return reason.code === "beside" ? findCode(reason.why) : reason.code;
}

/** True where a reason, or one that it stands over, names this as what it is about: a revision, or what is waited for. */
export function isNamedIn(reason: Reason, name: string): boolean {
  const isIn = (value: unknown): boolean =>
    value === name || (typeof value === "object" && value !== null && Object.values(value).some(isIn));
  return isIn(reason);
}

/** A reason whose moments are named anew, where somebody has set the wall clock. */
export function moveReason(reason: Reason, byMs: number): Reason {
  const move = (value: unknown, isNow: boolean): unknown => {
    if (typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) return value.map((entry) => move(entry, false));
    const entries = Object.entries(value).map(([key, entry]): [string, unknown] => {
      const isMoment = isNow && (key === "sinceMs" || key === "untilMs") && typeof entry === "number";
      return [key, isMoment ? entry + byMs : move(entry, key === "now")];
    });
    return Object.fromEntries(entries);
  };
  return move(reason, false) as Reason;
}

/** A reason without what containers printed: for whatever everybody may read. */
export function dropOutput(reason: Reason): Reason {
  return JSON.parse(JSON.stringify(reason, (key, value: unknown) => (key === "output" ? undefined : value))) as Reason;
}

/** Names a reason: two that differ in figures that move by themselves (a time left, a count) have the same name. */
export function nameReason(reason: Reason): string {
  return JSON.stringify(reason, (key, value: unknown) => (key === "now" ? undefined : value));
}
