// What people ask the agent for through its socket, as data: made by serve/, carried out by the loop.

import type { Actor } from "./event.ts";

/** A volume that a manifest names, and the generation of it that is in force from now on. */
interface UsedVolume {
  volume: string;
  generation: string;
}

/** One thing a person asked for. `service` is left out for the whole node. */
export type Request =
  | { kind: "pause"; service: string | undefined; actor: Actor }
  | { kind: "resume"; service: string | undefined; actor: Actor }
  | { kind: "restart"; service: string; actor: Actor }
  | { kind: "stop"; service: string; actor: Actor }
  | { kind: "start"; service: string; ignoreRequires: boolean; empty?: boolean; actor: Actor }
  | { kind: "rollback"; service: string; release: { fingerprint: string; revision: string }; actor: Actor }
  /** Which volumes a service has its data in, of those that there are of one that its manifest names. All of them, or none. */
  | ({ kind: "use-volume"; service: string; also?: readonly UsedVolume[]; actor: Actor } & UsedVolume)
  /** The agent's own: a service is stopped while a backup copies its volumes; without a store that is over. */
  | { kind: "cold-copy"; service: string; store: string | undefined }
  | { kind: "sync"; retry: string | undefined; allowRemoval: number | undefined; actor: Actor };

/** What a person can ask for. */
export type PersonRequest = Exclude<Request, { kind: "cold-copy" }>;
