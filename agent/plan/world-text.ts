// A world as text and back: what plan() was given, so that a turn that went wrong somewhere can be planned again elsewhere. Pure. The
// text has no content of delivered files: a plan depends on their hashes only.

import type { DesiredState } from "../../shared/state/desired-state.ts";
import type { Operation } from "../../shared/state/step.ts";
import type { World } from "./world.ts";

/** A turn that planned something, or failed over it. */
export interface PlannedTurn {
  world: World;
  /** What plan() answered, or what it threw. */
  answer:
    | { kind: "planned"; operations: readonly Operation[]; cancel: readonly string[]; faults: readonly string[] }
    | { kind: "threw"; message: string };
}

/** What stands for a map; no object of a world has a key of this name. */
const MAP = "$map";
const NO_CONTENTS: ReadonlyMap<string, Uint8Array> = new Map();

/** The same world without the content of files, which is large and changes no plan. */
export function leaveContents(world: World): World {
  return { ...world, desired: leaveContentsOf(world.desired) };
}

function leaveContentsOf(desired: DesiredState): DesiredState {
  const { held } = desired;
  const change = held?.desired === undefined ? held : { ...held, desired: leaveContentsOf(held.desired) };
  return { ...desired, contents: NO_CONTENTS, held: change };
}

/** Writes one turn as JSON. */
export function printTurn(turn: PlannedTurn): string {
  return JSON.stringify(turn, (_key, value: unknown) => (value instanceof Map ? { [MAP]: [...value] } : value));
}

/** Reads what `printTurn` wrote. */
export function parseTurn(text: string): PlannedTurn {
  return JSON.parse(text, (_key, value: unknown) =>
    typeof value === "object" && value !== null && MAP in value ? new Map(value[MAP] as [unknown, unknown][]) : value,
  ) as PlannedTurn;
}
