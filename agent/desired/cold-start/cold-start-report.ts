// The report of a cold start, from what each node said of its own: the actual critical path, walked back along the edges that
// opened gates, and what was lost beside it. Pure: the same words give the same report on every node.

import type {
  ColdService,
  ColdStartNode,
  ColdStartPathEntry,
  ColdStartReport,
  ColdStartService,
  ColdStartStatement,
} from "../../../shared/state/cold-start.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { type AxisPoint, alignNodes } from "./cold-start-axis.ts";

/** What the report is made from, besides the words. */
export interface ReportFrame {
  /** By the clock of the node that makes it. */
  beganMs: number;
  endedMs: number | undefined;
  missing: readonly { node: string; why: string }[];
}

/** One service on the common axis, in milliseconds. */
interface Start {
  name: string;
  node: string;
  by: string | undefined;
  word: ColdService;
  /** Set where its node can be set beside the others. */
  askedMs: number | undefined;
  healthyMs: number | undefined;
  beganMs: number | undefined;
}

/** A doubt below this is no more than the network's. */
const SMALL_DOUBT_MS = 50;

/** Builds the report. */
export function buildColdStartReport(
  words: ReadonlyMap<string, ColdStartStatement>,
  frame: ReportFrame,
): ColdStartReport {
  const points = alignNodes(words);
  const starts = listStarts(words, points);
  const path = walkBack(starts);
  const last = path.at(-1);
  const totalMs = last?.start.healthyMs;
  const pathMs = path.reduce((sum, { endMs, fromMs }) => sum + endMs - fromMs, 0);
  return {
    scope: words.size > 1 ? "realm" : "node",
    began: new Date(frame.beganMs).toISOString(),
    ended: frame.endedMs === undefined ? null : new Date(frame.endedMs).toISOString(),
    totalSeconds: secondsOrNull(totalMs),
    path: path.map(describeStep),
    pathSeconds: seconds(pathMs),
    overheadSeconds: totalMs === undefined ? null : seconds(totalMs - pathMs),
    ratio: totalMs === undefined || pathMs === 0 ? null : Math.round((totalMs / pathMs) * 1_000) / 1_000,
    nodes: [...words].map(([node, word]) => describeNode(node, word, points.get(node))).toSorted(byNode),
    services: [...starts.values()].map(describeStart).toSorted(byHealth),
    missing: frame.missing.toSorted(byNode),
    notes: listNotes(words, points),
  };
}

function listStarts(
  words: ReadonlyMap<string, ColdStartStatement>,
  points: ReadonlyMap<string, AxisPoint>,
): Map<string, Start> {
  const starts = new Map<string, Start>();
  for (const node of [...words.keys()].toSorted(compareText)) {
    const beganMs = points.get(node)?.beganMs;
    const place = (ms: number | null): number | undefined =>
      ms === null || beganMs === undefined ? undefined : beganMs + ms;
    for (const [service, word] of Object.entries(words.get(node)?.services ?? {})) {
      const name = `${node}/${service}`;
      const [, asked, , healthy] = word.at;
      const by = word.by === undefined || word.by.includes("/") ? word.by : `${node}/${word.by}`;
      starts.set(name, { name, node, by, word, beganMs, askedMs: place(asked), healthyMs: place(healthy) });
    }
  }
  return starts;
}

/** A part of the path; `fromMs` to `endMs` is what it counts, never more than until the next one's start. */
interface Step {
  start: Start;
  fromMs: number;
  endMs: number;
  /** From the end of the part before it. */
  lateMs: number;
}

/** From the service that was healthy last, along the edges that opened gates, to one that waited for none. */
function walkBack(starts: ReadonlyMap<string, Start>): Step[] {
  const [last] = [...starts.values()]
    .filter(({ healthyMs, askedMs }) => healthyMs !== undefined && askedMs !== undefined)
    .toSorted((left, right) => (right.healthyMs ?? 0) - (left.healthyMs ?? 0) || compareText(left.name, right.name));
  const backwards: Omit<Step, "lateMs">[] = [];
  const seen = new Set<string>();
  let limitMs = Infinity;
  for (let start = last; start !== undefined && !seen.has(start.name);) {
    seen.add(start.name);
    const endMs = Math.min(start.healthyMs ?? 0, limitMs);
    const fromMs = Math.min(start.askedMs ?? 0, endMs);
    backwards.push({ start, fromMs, endMs });
    limitMs = fromMs;
    start = findBefore(starts, start);
  }
  const forwards = backwards.toReversed();
  return forwards.map((step, index) => ({ ...step, lateMs: step.fromMs - (forwards[index - 1]?.endMs ?? 0) }));
}

/** What opened its gate, where that came up in this cold start and was not done without. */
function findBefore(starts: ReadonlyMap<string, Start>, { by, word }: Start): Start | undefined {
  const before = by === undefined || isWithout(word, by) ? undefined : starts.get(by);
  return before?.healthyMs === undefined || before.askedMs === undefined ? undefined : before;
}

function isWithout({ without = [], by }: ColdService, name: string): boolean {
  return without.includes(name) || (by !== undefined && without.includes(by));
}

function describeStep({ start: { name, word }, lateMs }: Step): ColdStartPathEntry {
  const [, asked, started, healthy] = word.at;
  const ranMs = started ?? asked ?? 0;
  return {
    name,
    lateSeconds: seconds(lateMs),
    engineSeconds: seconds(ranMs - (asked ?? ranMs)),
    readySeconds: seconds((healthy ?? ranMs) - ranMs),
  };
}

function describeNode(node: string, { run, done }: ColdStartStatement, point: AxisPoint | undefined): ColdStartNode {
  const doubt = point?.uncertainMs ?? Infinity;
  return {
    node,
    run,
    began: point === undefined ? null : seconds(point.beganMs),
    uncertainSeconds: Number.isFinite(doubt) ? seconds(doubt) : null,
    done: done === true,
  };
}

function describeStart({ name, node, by, word, beganMs }: Start): ColdStartService {
  const [gate, asked, started, healthy] = word.at.map((ms) =>
    ms === null || beganMs === undefined ? null : seconds(beganMs + ms),
  );
  return {
    name,
    node,
    gate: gate ?? null,
    asked: asked ?? null,
    started: started ?? null,
    healthy: healthy ?? null,
    waitedFor: by ?? null,
    waitedSeconds: secondsOrNull(word.forMs),
    slotSeconds: seconds(word.slotMs ?? 0),
    without: (word.without ?? []).map((one) => (one.includes("/") ? one : `${node}/${one}`)),
  };
}

function listNotes(words: ReadonlyMap<string, ColdStartStatement>, points: ReadonlyMap<string, AxisPoint>): string[] {
  const names = [...words.keys()].toSorted(compareText);
  return names.flatMap((node) => {
    const point = points.get(node);
    if (point === undefined)
      return [
        `nothing relates the clock of ${node} to the others': its times are left out, and the path ends before it`,
      ];
    const { uncertainMs } = point;
    if (uncertainMs <= SMALL_DOUBT_MS) return [];
    const most = Number.isFinite(uncertainMs) ? `by up to ${seconds(uncertainMs)} s` : "by what a message took";
    return [`when ${node} began is an estimate: it may be off ${most}`];
  });
}

function byNode(left: { node: string }, right: { node: string }): number {
  return compareText(left.node, right.node);
}

/** In the order in which they came up; what did not, last. */
function byHealth(left: ColdStartService, right: ColdStartService): number {
  const [a, b] = [left.healthy ?? Infinity, right.healthy ?? Infinity];
  return a === b ? compareText(left.name, right.name) : a - b;
}

function secondsOrNull(ms: number | undefined): number | null {
  return ms === undefined ? null : seconds(ms);
}

/** In milliseconds' steps: the difference that an edge makes is no more than that. */
function seconds(ms: number): number {
  return Math.round(ms) / 1_000;
}
