// A graph of names: its cycles, and the one order in which what is needed comes first. Used by lint, by the checks of a snapshot, by
// every plan that tells what starts when, and to show who waits for whom.

import { compareText } from "../text/problem.ts";

/**
 * Finds the cycles of a directed graph: one for each strongly connected component that has one (Tarjan, 1972, iterative).
 * @param edges name → names it points to; names without an entry have no edges
 * @returns each cycle as the names along it, beginning with the smallest, in an order that does not depend on the input's
 */
export function findCycles(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  for (const component of findComponents(edges)) {
    const members = new Set(component);
    const start = component.toSorted(compareText)[0] ?? "";
    const selfLoop = edges.get(start)?.includes(start) === true;
    if (component.length > 1 || selfLoop) cycles.push(shortestRing(edges, members, start));
  }
  return cycles.toSorted((left, right) => compareText(left[0] ?? "", right[0] ?? ""));
}

/** Names by when they can begin. */
export interface Waves {
  /** Whatever a name needs is in an earlier wave; within a wave names are in their order. */
  waves: string[][];
  /** What needs itself by some way, and what needs that. */
  circular: string[];
}

/**
 * Puts names into waves (Kahn, 1962): each comes as early as it can. What is needed and is no name of the graph holds nobody up.
 * @param needs name → names that have to come before it
 */
export function layerByNeed(needs: ReadonlyMap<string, readonly string[]>): Waves {
  const missing = new Map<string, number>();
  const neededBy = new Map<string, string[]>();
  for (const [name, all] of needs) {
    const known = [...new Set(all)].filter((need) => needs.has(need));
    missing.set(name, known.length);
    for (const need of known) {
      const list = neededBy.get(need);
      if (list === undefined) neededBy.set(need, [name]);
      else list.push(name);
    }
  }
  const waves: string[][] = [];
  let wave = [...needs.keys()].filter((name) => missing.get(name) === 0);
  while (wave.length > 0) {
    waves.push(wave.toSorted(compareText));
    const next: string[] = [];
    for (const name of wave) {
      missing.delete(name);
      for (const waiting of neededBy.get(name) ?? []) {
        const left = (missing.get(waiting) ?? 0) - 1;
        missing.set(waiting, left);
        if (left === 0) next.push(waiting);
      }
    }
    wave = next;
  }
  return { waves, circular: [...missing.keys()].toSorted(compareText) };
}

interface Visit {
  name: string;
  next: number;
}

function findComponents(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const onStack = new Set<string>();
  const components: string[][] = [];
  const enter = (name: string): Visit => {
    index.set(name, index.size);
    low.set(name, index.size - 1);
    stack.push(name);
    onStack.add(name);
    return { name, next: 0 };
  };
  const lower = (name: string, value: number): void => void low.set(name, Math.min(low.get(name) ?? value, value));
  for (const root of [...edges.keys()].toSorted(compareText)) {
    if (index.has(root)) continue;
    const path: Visit[] = [enter(root)];
    while (path.length > 0) {
      const visit = path.at(-1) as Visit;
      const target = (edges.get(visit.name) ?? [])[visit.next];
      visit.next += 1;
      if (target === undefined) {
        path.pop();
        const parent = path.at(-1);
        if (parent !== undefined) lower(parent.name, low.get(visit.name) ?? 0);
        if (low.get(visit.name) === index.get(visit.name)) components.push(popComponent(stack, onStack, visit.name));
      } else if (!index.has(target)) path.push(enter(target));
      else if (onStack.has(target)) lower(visit.name, index.get(target) ?? 0);
    }
  }
  return components;
}

function popComponent(stack: string[], onStack: Set<string>, root: string): string[] {
  const component: string[] = [];
  for (;;) {
    const name = stack.pop();
    if (name === undefined) return component;
    onStack.delete(name);
    component.push(name);
    if (name === root) return component;
  }
}

/** The shortest way from a name back to itself inside its component, so that the message shows a real ring and no more. */
function shortestRing(
  edges: ReadonlyMap<string, readonly string[]>,
  members: ReadonlySet<string>,
  start: string,
): string[] {
  const cameFrom = new Map<string, string>();
  const queue = [start];
  for (let at = 0; at < queue.length; at += 1) {
    const name = queue[at] as string;
    for (const target of [...(edges.get(name) ?? [])].toSorted(compareText)) {
      if (target === start) {
        const ring = [name];
        for (let back = name; back !== start; ring.unshift(back)) back = cameFrom.get(back) as string;
        return ring;
      }
      if (!members.has(target) || cameFrom.has(target)) continue;
      cameFrom.set(target, name);
      queue.push(target);
    }
  }
  return [start];
}
