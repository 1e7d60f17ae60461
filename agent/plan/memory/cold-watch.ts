// What one node's own cold start looks like so far, turn by turn: when each gate opened and by what, when starts were asked for,
// containers ran and services were healthy. Pure; agent/cold-starts.ts calls it with the time since the node began.

import type { ColdService, OwnColdStart, WatchedStart } from "../../../shared/state/cold-start.ts";
import { findHealth, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import { compareText } from "../../../shared/text/problem.ts";
import type { ServiceView, StartStage } from "../../../shared/state/status.ts";
import { checkTarget } from "../rules/gate.ts";
import type { Plan, World } from "../world.ts";

/** On its way: it may still become healthy without anybody's help. */
const PENDING: ReadonlySet<string> = new Set(["waiting", "pulling", "starting", "backoff", "unhealthy"]);
/** A service that has not come by then is not waited for any longer. */
const LONGEST_MS = 1_800_000;
const MOST_NAMES = 16;

/** Looks at one turn. */
export function watchColdStart(
  before: OwnColdStart,
  { world, planned }: { world: World; planned: Plan },
  nowMs: number,
): OwnColdStart {
  if (before.doneMs !== undefined || !world.observed.engine.reachable) return before;
  const services = { ...before.services };
  for (const view of planned.services) {
    const known = services[view.name];
    if (known === undefined && !isStarting(world, view)) continue;
    services[view.name] = watchOne(known ?? BEGUN, { world, planned, view, before, nowMs });
  }
  const isOver = nowMs >= LONGEST_MS || !planned.services.some((view) => services[view.name] && isPending(view));
  return { ...before, services, ...(isOver ? { doneMs: nowMs } : {}) };
}

const BEGUN: WatchedStart = { word: { at: [null, null, null, null] }, waits: {} };

function isPending(view: ServiceView): boolean {
  return PENDING.has(view.state);
}

/** Belongs to this cold start: it does not run yet and is to be started; of jobs only those that run once. */
function isStarting(world: World, view: ServiceView): boolean {
  const desired = world.desired.services.get(view.name);
  return desired !== undefined && isPending(view) && (desired.kind === "service" || desired.schedule === "@once");
}

interface Look {
  world: World;
  planned: Plan;
  view: ServiceView;
  before: OwnColdStart;
  nowMs: number;
}

function watchOne(known: WatchedStart, look: Look): WatchedStart {
  if (known.word.at[3] !== null) return known;
  const gated = watchGate(known, look);
  const { word } = gated;
  const [gate] = word.at;
  const asked = findAsked(word.at[1], look) ?? null;
  const container = findContainer(look);
  const started = findStarted(word.at[2], { asked, container, look });
  const healthy = findHealthy(started, container, look);
  if (healthy === null && asked === word.at[1] && started === word.at[2]) return gated;
  return { ...gated, word: { ...word, at: [gate ?? asked ?? healthy, asked ?? started ?? healthy, started, healthy] } };
}

/** The gate: what it waits for and since when; and, once it is open, what it had waited for last. */
function watchGate(known: WatchedStart, { view, before, nowMs }: Look): WatchedStart {
  const { start } = view;
  if (start?.at === "gate") {
    const names = view.waitingFor.slice(0, MOST_NAMES);
    const waits = Object.fromEntries(names.map((name) => [name, known.waits[name] ?? nowMs]));
    // One that closes again, because what it requires is gone once more, was not open.
    return { word: { at: [null, null, null, null] }, waits };
  }
  if (start === undefined) return known;
  const isOpening = known.word.at[0] === null;
  const word = isOpening ? openGate(known, before, start, nowMs) : { ...known.word };
  if (start.at === "slot") return { ...known, word, slotSinceMs: known.slotSinceMs ?? nowMs };
  const { slotSinceMs, waits } = known;
  if (start.without.length > 0) word.without = start.without.slice(0, MOST_NAMES);
  if (slotSinceMs !== undefined) word.slotMs = nowMs - slotSinceMs;
  return { word, waits };
}

function openGate({ waits }: WatchedStart, before: OwnColdStart, start: StartStage, nowMs: number): ColdService {
  const without = start.at === "begun" ? start.without : [];
  const healthyAt = (name: string): number => before.services[name]?.word.at[3] ?? -1;
  // Of several that came between two turns, the one that is known to be the latest; what was given up counts where nothing else came.
  const [by] = Object.keys(waits).toSorted(
    (left, right) =>
      Number(without.includes(left)) - Number(without.includes(right)) ||
      healthyAt(right) - healthyAt(left) ||
      compareText(left, right),
  );
  const at: ColdService["at"] = [nowMs, null, null, null];
  return by === undefined ? { at } : { at, by, forMs: nowMs - (waits[by] ?? nowMs) };
}

/** The moment at which the start was begun; a pull before it moves it on. */
function findAsked(known: number | null, { world, planned, view, nowMs }: Look): number | null {
  const isStart = (steps: readonly { kind: string }[]): boolean => steps.some(({ kind }) => kind === "start-container");
  const flying = world.observed.operations.find(({ lane, starts }) => lane === view.name && starts);
  if (flying?.stage === "ensure-image") return nowMs;
  if (known !== null) return known;
  return planned.operations.some(({ lane, steps }) => lane === view.name && isStart(steps)) ? nowMs : null;
}

function findContainer({ world, view }: Look): ObservedContainer | undefined {
  const { engine } = world.observed;
  if (!engine.reachable) return undefined;
  const running = engine.containers.filter(({ service, status }) => service === view.name && status === "running");
  return running.toSorted((left, right) => (right.startedMs ?? 0) - (left.startedMs ?? 0))[0];
}

/** From the host's wall clock to this start's time, kept between what is certain: a clock that is set at boot breaks nothing. */
function place(wallMs: number, { world, nowMs }: Look, notBeforeMs: number | null): number {
  return Math.round(Math.min(nowMs, Math.max(notBeforeMs ?? 0, nowMs - (world.nowMs - wallMs))));
}

function findStarted(
  known: number | null,
  { asked, container, look }: { asked: number | null; container: ObservedContainer | undefined; look: Look },
): number | null {
  if (container?.startedMs === undefined) return known;
  // A second run counts anew: what it took until it was healthy is the last run's.
  const at = place(container.startedMs, look, asked);
  return known !== null && Math.abs(at - known) < SAME_RUN_MS ? known : at;
}

/** The same start seen twice differs by what the clocks were read at. */
const SAME_RUN_MS = 50;

function findHealthy(started: number | null, container: ObservedContainer | undefined, look: Look): number | null {
  const { world, view, nowMs } = look;
  if (!checkTarget(world, { kind: "service", node: undefined, service: view.name }).healthy) return null;
  const health = container === undefined ? undefined : findHealth(world.observed, container);
  return health?.status === "healthy" ? place(health.sinceMs, look, started) : nowMs;
}
