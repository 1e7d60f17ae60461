// What the loop would do now, without doing it: for `orca plan`. Pure.

import { listChanges } from "../plan/compare/changes.ts";
import { plan } from "../plan/plan.ts";
import type { World } from "../plan/world.ts";
import { describeHold } from "../../shared/text/words/hold-words.ts";
import type { ChangeDocument, PlanPreview } from "../../shared/document/plan-preview.ts";

/** Plans the newest world as if nobody had paused anything, and what a held change would do once it goes in. */
export function previewPlan(world: World, later: World | undefined): PlanPreview {
  const { node, revision, held } = world.desired;
  const { operations, services, notes } = plan(withoutPauses(world));
  const words = notes.map(({ text }) => text);
  const preview = { node, revision, changes: listChangesOf(world), operations, services, notes: words };
  if (held === undefined) return preview;
  const { revision: heldRevision, holds } = held;
  const planned = later === undefined ? [] : plan(withoutPauses(later)).operations;
  const told = holds.map((hold) => ({ ...hold, reason: describeHold(hold) }));
  return { ...preview, held: { revision: heldRevision, holds: told, operations: planned } };
}

/** What Git wants against what runs, also where an earlier release runs in place of that. */
function listChangesOf({ desired, wanted, observed, memory }: World): ChangeDocument[] {
  const { engine, files, host } = observed;
  if (!engine.reachable) return [];
  const services = new Map([...desired.services, ...wanted]);
  const here = { engine, files, services: memory.services, obstacles: host.obstacles };
  return listChanges({ kind: "observed", observed: here }, { ...desired, services });
}

function withoutPauses(world: World): World {
  return { ...world, memory: { ...world.memory, pauses: {} } };
}
