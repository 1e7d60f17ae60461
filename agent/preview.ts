// What the loop would do now, without doing it: for `orca plan`. Pure.

import { plan } from "./plan/plan.ts";
import type { World } from "./plan/world.ts";
import type { PlanPreview } from "../shared/plan-preview.ts";

/** Plans the newest world as if nobody had paused anything. */
export function previewPlan(world: World): PlanPreview {
  const planned = plan({ ...world, memory: { ...world.memory, pauses: {} } });
  const { node, revision, held } = world.desired;
  return {
    node,
    revision,
    operations: planned.operations,
    services: planned.services,
    notes: [...planned.notes, ...(held === undefined ? [] : [held])],
  };
}
