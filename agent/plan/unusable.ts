// Containers of ours that cannot be used as they are: another image, dead, or one that the engine can never start again. They are
// removed and made anew. Pure; rules of service.ts.

import { buildOperation } from "./steps.ts";
import type { Decision, Scene } from "./world.ts";

/** Our labels on a container that cannot be the wanted one, or that cannot run again: it is made anew. */
export function replaceUnusable(scene: Scene): Decision | undefined {
  const { current, desired, memory } = scene;
  if (current === undefined) return undefined;
  if (current.status === "removing") return { state: "starting", reason: "its old container is being removed", memory };
  const otherImage = current.image !== desired.spec.image;
  if (!otherImage && current.status !== "dead") return undefined;
  const detail = otherImage
    ? `its container was made from ${current.image}, not from ${desired.spec.image}`
    : "the engine calls its container dead";
  const step = { kind: "remove-container", service: desired.name, container: current.id } as const;
  return {
    state: "starting",
    reason: detail,
    memory,
    operation: buildOperation(scene, { kind: "drift", detail }, [step]),
  };
}

/**
 * A container keeps the paths that it was made with. When what Orca itself delivers lies elsewhere now (another state
 * directory), it can never start again, and is made anew; a path of the manifest that is missing fails that creation.
 */
export function replaceMisplaced(scene: Scene): Decision | undefined {
  const { current, desired, memory } = scene;
  const { failure } = memory;
  if (current === undefined || failure?.step !== "start-container" || !MISPLACED.test(failure.message))
    return undefined;
  const detail = `its container cannot start: ${failure.message}`;
  const step = { kind: "remove-container", service: desired.name, container: current.id } as const;
  const operation = buildOperation(scene, { kind: "drift", detail }, [step]);
  return { state: "starting", reason: detail, memory, operation };
}

/** What the engine says of a start when a bind's source is gone. */
const MISPLACED = /bind source path does not exist/;
