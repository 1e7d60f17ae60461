// What the observer makes of a row of the engine's list besides what it knows of its own containers.

import type { DesiredState } from "../../shared/state/desired-state.ts";
import { LABEL } from "../../shared/state/identity.ts";
import { type ForeignContainer, isAlive, type ObservedContainer } from "../../shared/state/observed-state.ts";
import type { ContainerRow } from "../docker/reader.ts";
import { readMemory } from "../host/os/cgroup.ts";

/** A container that is not this node's. */
export function buildForeign(row: ContainerRow): ForeignContainer {
  return {
    name: row.name,
    image: row.image,
    running: isAlive(row),
    ports: row.ports,
    node: row.labels[LABEL.node],
  };
}

/** Only a cap that is to be lowered needs to know what is in use. */
export function addWorkingSet(container: ObservedContainer, desired: DesiredState | undefined): ObservedContainer {
  const wanted = desired?.services.get(container.service)?.caps.memoryBytes;
  if (container.status !== "running" || wanted === undefined) return container;
  if (wanted >= container.caps.memoryBytes && container.caps.memoryBytes !== 0) return container;
  const reading = readMemory(container.pid);
  return reading === undefined ? container : { ...container, workingSetBytes: reading.workingSetBytes };
}
