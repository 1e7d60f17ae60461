// What this node says of its services, from what a turn has seen and planned. Pure.

import { checkTarget, describeStart } from "../plan/gate.ts";
import type { World } from "../plan/world.ts";
import type { ObservedContainer } from "../../shared/observed-state.ts";
import type { ServiceView } from "../../shared/status.ts";
import type { ServiceWord } from "./core/record.ts";

const LONGEST_WHY = 200;
const MOST_WAITING = 16;

/** Describes every service of this node; an explanation in which only numbers changed stays as it was said before. */
export function describeWords(
  world: World,
  views: readonly ServiceView[],
  before: Readonly<Record<string, ServiceWord>>,
): Record<string, ServiceWord> {
  const { engine } = world.observed;
  const containers = engine.reachable ? engine.containers : [];
  const words = views.map((view) => {
    const container = containers.find(({ id }) => id === view.container);
    return [view.name, describeWord(world, view, { container, before: before[view.name] })] as const;
  });
  return Object.fromEntries(words);
}

function describeWord(
  world: World,
  view: ServiceView,
  { container, before }: { container: ObservedContainer | undefined; before: ServiceWord | undefined },
): ServiceWord {
  const { healthy: ready } = checkTarget(world, { kind: "service", node: undefined, service: view.name });
  const why = view.reason.slice(0, LONGEST_WHY);
  const waiting = view.waitingFor.slice(0, MOST_WAITING).map((name) => {
    return name.includes("/") ? name : `${world.desired.node}/${name}`;
  });
  return {
    ...{ ready, state: view.state, sinceMs: view.sinceMs },
    ...(ready ? {} : { why: before?.why !== undefined && blur(before.why) === blur(why) ? before.why : why }),
    ...(container?.startedMs === undefined || container.status !== "running"
      ? {}
      : { start: describeStart(container) }),
    ...(view.revision === undefined ? {} : { revision: view.revision }),
    ...(waiting.length === 0 ? {} : { waiting }),
    ...measureStart(world, { container, before }),
  };
}

/** What its last start took; kept as it was said while the same run goes on. */
function measureStart(
  world: World,
  { container, before }: { container: ObservedContainer | undefined; before: ServiceWord | undefined },
): Pick<ServiceWord, "tookMs"> {
  const health = container === undefined ? undefined : world.observed.health.get(container.id);
  const isSameRun =
    container !== undefined && before?.start === describeStart(container) && before.tookMs !== undefined;
  if (isSameRun || health?.status !== "healthy" || container?.startedMs === undefined)
    return before?.tookMs === undefined ? {} : { tookMs: before.tookMs };
  return { tookMs: Math.max(0, health.sinceMs - container.startedMs) };
}

function blur(text: string): string {
  return text.replaceAll(/\d+/g, "#");
}
