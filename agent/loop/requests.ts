// What people ask the agent for through its socket, and what that does to its memory. Pure.

import { findService, type NodeMemory, type ServiceMemory, setPart } from "../../shared/state/memory.ts";
import type { Request } from "../../shared/state/request.ts";
import type { Reason } from "../../shared/state/reason.ts";
import { describeReason } from "../../shared/text/describe-reason.ts";

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
      return changeService(memory, request.service, (service) =>
        setPart(service, "operator", {
          stoppedBy: undefined,
          restartAsked: { uid: request.actor.uid, atMs: nowMs },
        }),
      );
    case "stop":
      return changeService(memory, request.service, (service) =>
        setPart(service, "operator", {
          startAsked: undefined,
          restartAsked: undefined,
          stoppedBy: { wanted: findWanted(service), uid: request.actor.uid },
        }),
      );
    case "start":
      return changeService(memory, request.service, (service) =>
        setPart(setPart(service, "backoff", { failure: undefined }), "operator", {
          stoppedBy: undefined,
          startAsked: { uid: request.actor.uid, ignoreRequires: request.ignoreRequires },
          ...(request.empty === true ? { emptyBy: { uid: request.actor.uid } } : {}),
        }),
      );
    case "rollback":
      return changeService(memory, request.service, (service) => rollBackTo(service, request));
    case "use-volume":
      return useVolume(memory, request);
    case "cold-copy":
      return copyCold(memory, request, nowMs);
    case "sync":
      return request.retry === undefined ? memory : changeService(memory, request.retry, forgetTrouble);
    default:
      return request satisfies never;
  }
}

/** It is stopped from here on, or may start again. */
function copyCold(
  { copies, ...memory }: NodeMemory,
  { service, store }: Extract<Request, { kind: "cold-copy" }>,
  nowMs: number,
): NodeMemory {
  const others = Object.entries(copies ?? {}).filter(([name]) => name !== service);
  const all = [...others, ...(store === undefined ? [] : [[service, { store, sinceMs: nowMs }] as const])];
  return all.length === 0 ? memory : { ...memory, copies: Object.fromEntries(all) };
}

/** Resuming the node ends every pause; resuming one service ends its own. */
function resume(pauses: NodeMemory["pauses"], service: string | undefined): NodeMemory["pauses"] {
  if (service === undefined) return {};
  return Object.fromEntries(Object.entries(pauses).filter(([name]) => name !== service));
}

/** What Git wants of a service, also while an earlier release runs in its place. */
function findWanted({ release, intent }: ServiceMemory): string {
  return release.rolledBack?.wanted ?? release.heldFor ?? intent.fingerprint;
}

function rollBackTo(service: ServiceMemory, { release, actor }: Extract<Request, { kind: "rollback" }>): ServiceMemory {
  const { fingerprint: to, revision } = release;
  const why: Reason = { code: "asked-for" };
  const back = { wanted: findWanted(service), to, revision, reason: describeReason(why, 0), why, uid: actor.uid };
  return setPart(service, "release", { rollout: undefined, rolledBack: back });
}

/** Ends what people have overridden: a stop, and a rollback that was asked for; not one that the release itself caused. */
function resumeServices(memory: NodeMemory, only: string | undefined): NodeMemory {
  const services = Object.entries(memory.services).map(([name, service]) => {
    if (only !== undefined && only !== name) return [name, service] as const;
    const started = setPart(service, "operator", { stoppedBy: undefined });
    const isAsked = service.release.rolledBack?.uid !== undefined;
    return [name, isAsked ? setPart(started, "release", { rolledBack: undefined }) : started] as const;
  });
  return { ...memory, services: Object.fromEntries(services) };
}

function changeService(
  memory: NodeMemory,
  name: string,
  change: (service: ServiceMemory) => ServiceMemory,
): NodeMemory {
  const service = findService(memory.services, name);
  return service === undefined ? memory : { ...memory, services: { ...memory.services, [name]: change(service) } };
}

/** Its service tries what is new at once: what it failed with was the other data. */
function useVolume(
  memory: NodeMemory,
  { service, volume, generation, also = [], actor }: Extract<Request, { kind: "use-volume" }>,
): NodeMemory {
  const used = [{ volume, generation }, ...also].map(
    (use) => [use.volume, { inForce: use.generation, uid: actor.uid }] as const,
  );
  const generations = { ...memory.generations, ...Object.fromEntries(used) };
  return changeService({ ...memory, generations }, service, (known) =>
    setPart(forgetTrouble(known), "release", { rolledBack: known.release.rolledBack }),
  );
}

/** Tries again now: without backoff, failure or stall. */
function forgetTrouble(service: ServiceMemory): ServiceMemory {
  const calm = { attempt: 0, failure: undefined, repeated: undefined, nextStartMs: undefined };
  return setPart(setPart(service, "backoff", calm), "release", { rolledBack: undefined });
}
