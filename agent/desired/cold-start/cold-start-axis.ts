// One axis of time for nodes whose clocks have nothing in common: each said when it saw the others begin. Pure; for the report of
// a cold start.

import type { ColdStartStatement } from "../../../shared/state/cold-start.ts";
import { compareText } from "../../../shared/text/problem.ts";

/** When a node began, after the first of all; `uncertainMs` is how far that may be off, Infinity where only one side saw the other. */
export interface AxisPoint {
  beganMs: number;
  uncertainMs: number;
}

interface Relation {
  /** When the other began, by the own clock. */
  offsetMs: number;
  halfWidthMs: number;
}

/** Sets all nodes beside the one with the lowest name; a node that nobody saw, and that saw nobody, is left out. */
export function alignNodes(words: ReadonlyMap<string, ColdStartStatement>): Map<string, AxisPoint> {
  const names = [...words.keys()].toSorted(compareText);
  const [first] = names;
  const placed = new Map<string, AxisPoint>();
  if (first === undefined) return placed;
  const open = new Map<string, AxisPoint>([[first, { beganMs: 0, uncertainMs: 0 }]]);
  for (;;) {
    // The way with the least doubt counts.
    const [next] = [...open].toSorted(
      ([leftName, left], [rightName, right]) =>
        compareDoubt(left.uncertainMs, right.uncertainMs) || compareText(leftName, rightName),
    );
    if (next === undefined) break;
    const [name, place] = next;
    open.delete(name);
    placed.set(name, place);
    for (const other of names) {
      if (placed.has(other)) continue;
      const relation = relate(words, name, other);
      if (relation === undefined) continue;
      const uncertainMs = place.uncertainMs + relation.halfWidthMs;
      const known = open.get(other);
      if (known === undefined || compareDoubt(uncertainMs, known.uncertainMs) < 0)
        open.set(other, { beganMs: place.beganMs + relation.offsetMs, uncertainMs });
    }
  }
  const firstMs = Math.min(...[...placed.values()].map(({ beganMs }) => beganMs));
  return new Map(
    [...placed].map(([name, { beganMs, uncertainMs }]) => [name, { beganMs: beganMs - firstMs, uncertainMs }]),
  );
}

function compareDoubt(left: number, right: number): number {
  return left === right ? 0 : left - right;
}

/**
 * What one saw of the other is its begin or later, by what a message took: so the true offset lies between what one saw and
 * what the other did.
 */
function relate(words: ReadonlyMap<string, ColdStartStatement>, name: string, other: string): Relation | undefined {
  const ahead = words.get(name)?.seen[other];
  const back = words.get(other)?.seen[name];
  if (ahead !== undefined && back !== undefined)
    return { offsetMs: Math.round((ahead - back) / 2), halfWidthMs: Math.abs(ahead + back) / 2 };
  if (ahead !== undefined) return { offsetMs: ahead, halfWidthMs: Infinity };
  return back === undefined ? undefined : { offsetMs: -back, halfWidthMs: Infinity };
}
