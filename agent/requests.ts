// What people ask the agent for through its socket, as data, and what that does to its memory. Pure.

import type { Actor } from "../shared/event.ts";
import type { NodeMemory, ServiceMemory } from "../shared/memory.ts";

/** One thing a person asked for. `service` is left out for the whole node. */
export type Request =
  | { kind: "pause"; service: string | undefined; actor: Actor }
  | { kind: "resume"; service: string | undefined; actor: Actor }
  | { kind: "restart"; service: string; actor: Actor }
  | { kind: "sync"; retry: string | undefined; allowRemoval: number | undefined; actor: Actor };

/** Changes memory as asked. */
export function applyRequest(memory: NodeMemory, request: Request, nowMs: number): NodeMemory {
  switch (request.kind) {
    case "pause":
      return {
        ...memory,
        pauses: { ...memory.pauses, [request.service ?? "*"]: { sinceMs: nowMs, uid: request.actor.uid } },
      };
    case "resume":
      return { ...memory, pauses: resume(memory.pauses, request.service) };
    case "restart":
      return changeService(memory, request.service, (service) => ({
        ...service,
        restartAsked: { uid: request.actor.uid, atMs: nowMs },
      }));
    case "sync":
      return request.retry === undefined ? memory : changeService(memory, request.retry, forgetTrouble);
    default:
      return request satisfies never;
  }
}

/** Resuming the node ends every pause; resuming one service ends its own. */
function resume(pauses: NodeMemory["pauses"], service: string | undefined): NodeMemory["pauses"] {
  if (service === undefined) return {};
  return Object.fromEntries(Object.entries(pauses).filter(([name]) => name !== service));
}

function changeService(
  memory: NodeMemory,
  name: string,
  change: (service: ServiceMemory) => ServiceMemory,
): NodeMemory {
  const service = memory.services[name];
  return service === undefined ? memory : { ...memory, services: { ...memory.services, [name]: change(service) } };
}

/** Tries again now: without backoff, failure or stall. */
function forgetTrouble(service: ServiceMemory): ServiceMemory {
  const {
    failure: _failure,
    repeated: _repeated,
    nextStartMs: _nextStartMs,
    rolledBack: _rolledBack,
    ...rest
  } = service;
  return { ...rest, attempt: 0 };
}
