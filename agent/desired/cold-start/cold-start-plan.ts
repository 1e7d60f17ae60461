// How a whole realm comes up after a power loss: in which waves, along which critical path, and when at the earliest, with so
// many starts at once on each node. Pure; for `orca fleet plan` and for measuring real cold starts against it.

import { layerByNeed } from "../../../shared/fleet/graph.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { placeName, type RemoteService } from "../build/constraints.ts";

/** One service of a cold start. */
interface ColdStart {
  /** `node/service`. */
  name: string;
  node: string;
  /** The services that must be healthy before it starts, and those it only wants. */
  waitsFor: readonly string[];
  /** 0 for what waits for nothing. */
  wave: number;
  takesMs: number;
  /** True where nothing was measured and a default stands in. */
  isAssumed: boolean;
  startMs: number;
  readyMs: number;
}

/** A whole cold start. */
export interface ColdStartPlan {
  services: readonly ColdStart[];
  /** From the first to the last service of the longest chain. */
  criticalPath: readonly string[];
  criticalMs: number;
  /** The estimate: the critical path, or more where a node has more to start than fits beside each other. */
  totalMs: number;
}

/** How long a start takes: measured, by name; else the default. */
export interface StartTimes {
  known: ReadonlyMap<string, number>;
  defaultMs: number;
  /** Starts at once on each node, and how long a start that takes longer holds its slot. */
  slots: number;
  slotMs: number;
}

type Draft = Omit<ColdStart, "wave" | "startMs" | "readyMs">;

/** Plans the cold start of some services; a service in a dependency cycle, which lint refuses, is left out. */
export function planColdStart(services: readonly RemoteService[], times: StartTimes): ColdStartPlan {
  const drafts = new Map(services.filter(startsAtBoot).map((service) => [nameOf(service), buildDraft(service, times)]));
  const known = new Map(
    [...drafts].map(([name, draft]) => [name, { ...draft, waitsFor: draft.waitsFor.filter((one) => drafts.has(one)) }]),
  );
  const { waves } = layerByNeed(new Map([...known].map(([name, { waitsFor }]) => [name, waitsFor])));
  const waveOf = new Map(waves.flatMap((names, wave) => names.map((name) => [name, wave] as const)));
  const order = waves.flat().flatMap((name) => known.get(name) ?? []);
  const path = new Map<string, { endMs: number; before: string | undefined }>();
  for (const { name, waitsFor, takesMs } of order) {
    const before = latest(waitsFor, (one) => path.get(one)?.endMs ?? 0);
    path.set(name, { endMs: (before === undefined ? 0 : (path.get(before)?.endMs ?? 0)) + takesMs, before });
  }
  const scheduled = schedule(order, times);
  const last = latest([...path.keys()], (name) => path.get(name)?.endMs ?? 0);
  const criticalPath: string[] = [];
  for (let name = last; name !== undefined; name = path.get(name)?.before) criticalPath.unshift(name);
  return {
    services: order
      .map((draft) => ({ ...draft, wave: waveOf.get(draft.name) ?? 0, ...(scheduled.get(draft.name) ?? NEVER) }))
      .toSorted((left, right) => left.startMs - right.startMs || compareText(left.name, right.name)),
    criticalPath,
    criticalMs: last === undefined ? 0 : (path.get(last)?.endMs ?? 0),
    totalMs: Math.max(0, ...[...scheduled.values()].map(({ readyMs }) => readyMs)),
  };
}

const NEVER = { startMs: 0, readyMs: 0 };

function nameOf({ node, service }: RemoteService): string {
  return placeName(node, service);
}

function startsAtBoot({ manifest }: RemoteService): boolean {
  return manifest.state === "running";
}

function buildDraft(service: RemoteService, { known, defaultMs }: StartTimes): Draft {
  const { node, manifest } = service;
  const name = nameOf(service);
  const targets = [...manifest.requires.map((entry) => entry.target), ...manifest.wants];
  const waitsFor = targets.flatMap((target) =>
    target.kind === "service" ? [placeName(target.node ?? node, target.service)] : [],
  );
  const takesMs = known.get(name);
  return { name, node, waitsFor, takesMs: takesMs ?? defaultMs, isAssumed: takesMs === undefined };
}

function latest(names: readonly string[], endOf: (name: string) => number): string | undefined {
  return names.toSorted((left, right) => endOf(right) - endOf(left) || compareText(left, right))[0];
}

/** Lets every service start as soon as what it waits for is ready and its node has a slot, as the agents do. */
function schedule(
  order: readonly Draft[],
  { slots, slotMs }: StartTimes,
): Map<string, { startMs: number; readyMs: number }> {
  const done = new Map<string, { startMs: number; readyMs: number }>();
  const busy = new Map<string, number[]>();
  const waiting = new Set(order);
  while (waiting.size > 0) {
    const open = [...waiting].filter(({ waitsFor }) => waitsFor.every((one) => done.has(one)));
    const next = open
      .map((draft) => ({ draft, startMs: earliest(draft, { done, busy, slots }) }))
      .toSorted((left, right) => left.startMs - right.startMs || compareText(left.draft.name, right.draft.name))[0];
    if (next === undefined) return done;
    const { draft, startMs } = next;
    const readyMs = startMs + draft.takesMs;
    done.set(draft.name, { startMs, readyMs });
    busy.set(draft.node, [...(busy.get(draft.node) ?? []), Math.min(readyMs, startMs + slotMs)]);
    waiting.delete(draft);
  }
  return done;
}

interface Progress {
  done: ReadonlyMap<string, { readyMs: number }>;
  busy: ReadonlyMap<string, readonly number[]>;
  slots: number;
}

function earliest({ node, waitsFor }: Draft, { done, busy, slots }: Progress): number {
  const needsMs = Math.max(0, ...waitsFor.map((one) => done.get(one)?.readyMs ?? 0));
  // The slot that is free first once all but `slots - 1` of the node's starts have ended.
  const ends = (busy.get(node) ?? []).toSorted((left, right) => right - left);
  return Math.max(needsMs, ends[slots - 1] ?? 0);
}
