// What the loop would do now, without doing it: for `orca plan`. Pure.

import { plan } from "../plan/plan.ts";
import type { World } from "../plan/world.ts";
import type { PlanPreview } from "../../shared/document/plan-preview.ts";

/** Plans the newest world as if nobody had paused anything, and what a held change would do once it goes in. */
export function previewPlan(world: World, later: World | undefined): PlanPreview {
  const { node, revision, held } = world.desired;
  const { operations, services, notes } = plan(withoutPauses(world));
  const preview = { node, revision, operations, services, notes: notes.map(({ text }) => text) };
  if (held === undefined) return preview;
  const { revision: heldRevision, holds } = held;
  const planned = later === undefined ? [] : plan(withoutPauses(later)).operations;
  return { ...preview, held: { revision: heldRevision, holds, operations: planned } };
}

function withoutPauses(world: World): World {
  return { ...world, memory: { ...world.memory, pauses: {} } };
}
