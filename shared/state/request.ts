// What people ask the agent for through its socket, as data: made by serve/, carried out by the loop.

import type { Actor } from "./event.ts";

/** One thing a person asked for. `service` is left out for the whole node. */
export type Request =
  | { kind: "pause"; service: string | undefined; actor: Actor }
  | { kind: "resume"; service: string | undefined; actor: Actor }
  | { kind: "restart"; service: string; actor: Actor }
  | { kind: "stop"; service: string; actor: Actor }
  | { kind: "start"; service: string; ignoreRequires: boolean; empty?: boolean; actor: Actor }
  | { kind: "rollback"; service: string; release: { fingerprint: string; revision: string }; actor: Actor }
  | { kind: "sync"; retry: string | undefined; allowRemoval: number | undefined; actor: Actor };
