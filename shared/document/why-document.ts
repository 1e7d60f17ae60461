// What `orca why SERVICE --json` gives: why one service is in its state. Stable, with a version, null where nothing is
// known. Log lines are added over the unix socket only; everything else may be read on loopback.

import type { ServiceDocument } from "./status-document.ts";

/** Changes when a key changes its meaning or goes. */
export const WHY_SCHEMA = "orca.why/1";

/** One thing that is waited for, why it is not healthy, and what that one waits for in turn. */
export interface WaitDocument {
  name: string;
  kind: "service" | "peer" | "endpoint" | "unknown";
  state: string | null;
  reason: string;
  waitsFor: WaitDocument[];
}

/** One thing that was done, by the agent or by a person. */
export interface ActionDocument {
  at: string;
  /** A kind of step, or what a person asked for. */
  action: string;
  cause: string;
  tookMs: number | null;
  ok: boolean;
  message: string | null;
  /** How many times in a row it went the same way. */
  times: number;
}

/** One changed field of a manifest. Values are given for what may be shown to everybody, never for env or files. */
interface FieldDocument {
  field: string;
  from: string | null;
  to: string | null;
}

/** The last change of intent. */
export interface ChangeDocument {
  at: string;
  fromRevision: string;
  toRevision: string;
  fields: FieldDocument[];
}

/** How new values of secrets ended: it settled with them, it went back to the old ones, or its manifest changed before that. */
export type RotationEnd = "settled" | "went-back" | "replaced";

/** The last new values of its secrets. */
export interface RotationDocument {
  at: string;
  /** Which secrets; never a value. */
  paths: string[];
  /** Null while it is under way. */
  ended: string | null;
  how: RotationEnd | null;
  reason: string | null;
}

/** One end of a container. */
export interface ExitDocument {
  at: string;
  ranSeconds: number | null;
  exitCode: number;
  signal: string | null;
  oom: boolean;
  reason: string;
  container: string;
}

/** A change of state. */
interface TransitionDocument {
  at: string;
  from: string | null;
  to: string;
  reason: string;
}

/** Why a service is as it is. */
export interface WhyDocument {
  schema: typeof WHY_SCHEMA;
  node: string;
  at: string;
  service: ServiceDocument;
  /** Why its container was last worked on. */
  cause: string | null;
  waitsFor: WaitDocument[];
  change: ChangeDocument | null;
  rotation: RotationDocument | null;
  actions: ActionDocument[];
  exits: ExitDocument[];
  transitions: TransitionDocument[];
  releases: { revision: string; image: string; settled: string }[];
  memory: { usedBytes: number | null; peakBytes: number | null; capBytes: number | null; suggestion: string | null };
  /** The last lines it printed before its last end, and what its probe said; only over the unix socket. */
  output: { logTail: string[]; probe: string | null } | null;
}
