// What people ask the agent for through its socket, and what that does to its memory. Pure.

import type { NodeMemory, ServiceMemory } from "../../shared/state/memory.ts";
import type { Request } from "../../shared/state/request.ts";

/** Changes memory as asked. */
export function applyRequest(memory: NodeMemory, request: Request, nowMs: number): NodeMemory {
  switch (request.kind) {
    case "pause":
      return {
        ...memory,
        pauses: { ...memory.pauses, [request.service ?? "*"]: { sinceMs: nowMs, uid: request.actor.uid } },
      };
    case "resume":
      return { ...resumeServices(memory, request.service), pauses: resume(memory.pauses, request.service) };
    case "restart":
      return changeService(memory, request.service, ({ stoppedBy: _stoppedBy, ...service }) => ({
        ...service,
        restartAsked: { uid: request.actor.uid, atMs: nowMs },
      }));
    case "stop":
      return changeService(memory, request.service, ({ startAsked: _start, restartAsked: _restart, ...service }) => ({
        ...service,
        stoppedBy: { wanted: findWanted(service), uid: request.actor.uid },
      }));
    case "start":
      return changeService(memory, request.service, ({ stoppedBy: _stoppedBy, failure: _failure, ...service }) => ({
        ...service,
        startAsked: { uid: request.actor.uid, ignoreRequires: request.ignoreRequires },
        ...(request.empty === true ? { emptyBy: { uid: request.actor.uid } } : {}),
      }));
    case "rollback":
      return changeService(memory, request.service, (service) => rollBackTo(service, request));
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

/** What Git wants of a service, also while an earlier release runs in its place. */
function findWanted(service: ServiceMemory): string {
  return service.rolledBack?.wanted ?? service.heldFor ?? service.fingerprint;
}

function rollBackTo(
  { rollout: _rollout, ...service }: ServiceMemory,
  { release, actor }: Extract<Request, { kind: "rollback" }>,
): ServiceMemory {
  const { fingerprint: to, revision } = release;
  const back = { wanted: findWanted(service), to, revision, reason: "it was asked for", uid: actor.uid };
  return { ...service, rolledBack: back };
}

/** Ends what people have overridden: a stop, and a rollback that was asked for; not one that the release itself caused. */
function resumeServices(memory: NodeMemory, only: string | undefined): NodeMemory {
  const services = Object.entries(memory.services).map(([name, service]) => {
    if (only !== undefined && only !== name) return [name, service] as const;
    const { stoppedBy: _stoppedBy, rolledBack, ...rest } = service;
    return [name, rolledBack?.uid === undefined && rolledBack !== undefined ? { ...rest, rolledBack } : rest] as const;
  });
  return { ...memory, services: Object.fromEntries(services) };
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
