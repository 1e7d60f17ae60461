// Containers that a later version of Orca made, after this one was gone back to: the rules of their label are not known here, so
// they are taken for what is wanted, and stay, until what is wanted changes. Pure; the loop calls it before it plans.
// Held by test/unit/plan/kept-memory.test.ts.

import type { DesiredState } from "../../../shared/state/desired-state.ts";
import { isLaterSpec } from "../../../shared/state/identity.ts";
import { beginService, findService, type NodeMemory, setPart } from "../../../shared/state/memory.ts";
import type { ObservedContainer, ObservedEngine } from "../../../shared/state/observed-state.ts";

/**
 * Gives such containers the hash and image that is wanted of them, and remembers the intent that they were found with.
 * @returns what to plan with; the same objects where there is no such container
 */
export function takeOverLater(
  engine: ObservedEngine,
  desired: DesiredState,
  memory: NodeMemory,
): { engine: ObservedEngine; memory: NodeMemory } {
  if (!engine.reachable || !engine.containers.some(({ specHash }) => isLaterSpec(specHash))) return { engine, memory };
  const services = { ...memory.services };
  const take = (container: ObservedContainer): ObservedContainer => {
    const wanted = desired.services.get(container.service);
    if (wanted === undefined || !isLaterSpec(container.specHash)) return container;
    const made = engine.containers.some(
      ({ service, specHash }) => service === wanted.name && specHash === wanted.specHash,
    );
    const known = findService(services, wanted.name) ?? beginService(wanted.fingerprint);
    const before = known.run.byLaterVersion;
    const later =
      before?.container === container.id ? before : { container: container.id, fingerprint: wanted.fingerprint };
    if (made || later.fingerprint !== wanted.fingerprint) return container;
    services[wanted.name] = setPart(known, "run", { byLaterVersion: later });
    return { ...container, specHash: wanted.specHash, image: wanted.spec.image };
  };
  const containers = engine.containers.map(take);
  return { engine: { ...engine, containers }, memory: { ...memory, services } };
}
