// The operations a plan can ask for, each built in one place. Pure: from a context to data.

import type { Caps } from "../../shared/state/container-spec.ts";
import type { DesiredFile, DesiredService } from "../../shared/state/desired-state.ts";
import { nameContainer, type OwnContainerId } from "../../shared/state/identity.ts";
import { fileKey, isAlive, type ObservedContainer, type ObservedState } from "../../shared/state/observed-state.ts";
import { holdsSecret, nameContent } from "../../shared/state/file-content.ts";
import type { Cause, FileReference, Operation, Step, StepContainer } from "../../shared/state/step.ts";
import { listTaken } from "./rules/data-owners.ts";
import { listPredecessors } from "./rules/move.ts";
import { listCarried } from "./rules/own-data.ts";
import type { ServiceContext } from "./world.ts";

/** Wraps steps into the service's lane. */
export function buildOperation(context: ServiceContext, cause: Cause, steps: readonly Step[]): Operation {
  return { lane: context.desired.name, cause, fingerprint: context.desired.fingerprint, steps };
}

/** Image, volumes, files and the container itself, not yet started. What is there already costs nothing to ensure. */
export function buildPrepareSteps(context: ServiceContext): Step[] {
  const { desired, world } = context;
  const service = desired.name;
  const carried = listCarried(context);
  return [
    { kind: "ensure-image", service, image: desired.spec.image },
    ...buildVolumeSteps(context),
    ...buildPlainFileSteps(desired, world.observed),
    {
      kind: "create-container",
      service,
      name: nameContainer(world.desired.node, service, desired.specHash),
      network: world.desired.network.name,
      specHash: desired.specHash,
      revision: desired.revision,
      spec: desired.spec,
      caps: desired.caps,
      stopTimeoutMs: desired.stopTimeoutMs,
      ...(carried.length === 0 ? {} : { carried }),
    },
    // Whose they are is told by the container: its user may have a name that only its image knows.
    ...buildSecretFileSteps(desired, world.observed),
  ];
}

function buildVolumeSteps(context: ServiceContext): Step[] {
  const named = (context.desired.spec.volumes ?? []).flatMap(({ name, of: base, ephemeral }) =>
    name === undefined ? [] : [[name, ephemeral === true && base !== undefined ? { ephemeral: base } : {}] as const],
  );
  return [...new Map(named)]
    .filter(([volume]) => context.engine.volumes[volume] === undefined)
    .map(([volume, kind]) => ({ kind: "ensure-volume", service: context.desired.name, volume, ...kind }));
}

/** Delivers the files whose content is not the wanted one, for a container that is there. */
export function buildFileSteps(desired: DesiredService, observed: ObservedState, container: OwnContainerId): Step[] {
  return buildWriting(desired, observed, { files: desired.files, container });
}

/** The same before there is a container: all but those with secrets in them. */
function buildPlainFileSteps(desired: DesiredService, observed: ObservedState): Step[] {
  return buildWriting(desired, observed, { files: desired.files.filter((file) => !holdsSecret(file.content)) });
}

/** And those for the container that was just made. */
function buildSecretFileSteps(desired: DesiredService, observed: ObservedState): Step[] {
  const files = desired.files.filter((file) => holdsSecret(file.content));
  return buildWriting(desired, observed, { files, container: "created" });
}

function buildWriting(
  { name, specHash }: DesiredService,
  observed: ObservedState,
  { files, container }: { files: readonly DesiredFile[]; container?: StepContainer },
): Step[] {
  const stale = files.some(
    (file) => observed.files.get(fileKey(name, specHash, file.target)) !== nameContent(file.content),
  );
  if (!stale) return [];
  const references = files.map(({ target, content, mode, owner }): FileReference => {
    return { target, content, mode, ...(owner === undefined ? {} : { owner }) };
  });
  const step = { kind: "write-files", service: name, specHash, files: references } as const;
  return [container === undefined ? step : { ...step, container }];
}

/** True for a container of a start-first service: it may run beside another one of it, and ends in a lane of its own. */
export function isRoutedByFront({ front }: DesiredService, container: ObservedContainer): boolean {
  return front !== undefined && container.frontName === front.service.name;
}

/** Ends other containers of the service, then starts this one with the caps and files it should have. */
export function buildStartSteps(context: ServiceContext, container: OwnContainerId | "created"): Step[] {
  const { desired, current, world } = context;
  const service = desired.name;
  const stops = listEnded(context).map((other) => {
    const { stopTimeoutMs } = world.desired.services.get(other.service) ?? desired;
    return buildStop({ name: service, stopTimeoutMs }, other);
  });
  const caps: Step[] =
    current === undefined || container === "created" || sameCaps(current.caps, desired.caps)
      ? []
      : [{ kind: "update-caps", service, container: current.id, from: current.caps, to: desired.caps }];
  // Delivered secrets live in memory: after a reboot they are written anew before the container sees its mount.
  const files = container === "created" ? [] : buildFileSteps(desired, world.observed, container);
  return [...stops, ...caps, ...files, { kind: "start-container", service, container }];
}

/** The containers that end for its start: what is paused writes on once it goes on. */
export function listEnded(context: ServiceContext): ObservedContainer[] {
  const { desired, world, engine, others } = context;
  const before = listPredecessors(world, engine, desired);
  const mine = others.filter((other) => isAlive(other) && !isRoutedByFront(desired, other));
  return [...mine, ...before, ...listTaken(context)];
}

/** Asks one container to end. */
export function buildStop(desired: Pick<DesiredService, "name" | "stopTimeoutMs">, container: ObservedContainer): Step {
  return { kind: "stop-container", service: desired.name, container: container.id, timeoutMs: desired.stopTimeoutMs };
}

/** Removes one container and the files that only it used. */
export function buildRemoval(container: ObservedContainer): Step[] {
  return [
    { kind: "remove-container", service: container.service, container: container.id },
    { kind: "remove-files", service: container.service, specHash: container.specHash },
  ];
}

/** True when the engine enforces the wanted caps already. */
export function sameCaps(actual: Caps, wanted: Caps): boolean {
  return (
    actual.memoryBytes === wanted.memoryBytes &&
    actual.nanoCpus === wanted.nanoCpus &&
    actual.cpuShares === wanted.cpuShares &&
    actual.pids === wanted.pids
  );
}
