// What this node says of its services, from what a turn has seen and planned. Pure.

import { checkTarget, describeStart } from "../plan/rules/gate.ts";
import type { Plan, World } from "../plan/world.ts";
import { findService, type RunsMemory } from "../../shared/state/memory.ts";
import { isAlive, type ObservedContainer } from "../../shared/state/observed-state.ts";
import { nameReason } from "../../shared/state/reason.ts";
import type { ServiceView } from "../../shared/state/status.ts";
import type { ServiceStatement } from "./core/record.ts";
import { LONGEST_WHY_SAID, MOST_WAITING_SAID } from "./settings.ts";

/** What was said of a service, and of which reason: told again only where that is another one. */
export interface SaidStatement {
  word: ServiceStatement;
  reason: string;
}

/** Describes every service of this node; an explanation in which only figures moved stays as it was said before. */
export function describeStatements(
  world: World,
  { services: views, memory }: Pick<Plan, "services" | "memory">,
  before: Readonly<Record<string, SaidStatement>>,
): Record<string, SaidStatement> {
  const { engine } = world.observed;
  const containers = engine.reachable ? engine.containers : [];
  const words = views.map((view) => {
    const container = containers.find(({ id }) => id === view.container);
    return [
      view.name,
      describeStatement(world, view, {
        container,
        before: before[view.name],
        took: findService(memory.services, view.name)?.run.startTook,
      }),
    ] as const;
  });
  return Object.fromEntries(words);
}

interface Known {
  container: ObservedContainer | undefined;
  before: SaidStatement | undefined;
  took: RunsMemory["startTook"];
}

function describeStatement(world: World, view: ServiceView, { container, before, took }: Known): SaidStatement {
  const { healthy: ready } = checkTarget(world, { kind: "service", node: undefined, service: view.name });
  const reason = nameReason(view.fact);
  const same = before?.reason === reason ? before.word.why : undefined;
  const why = same ?? view.reason.slice(0, LONGEST_WHY_SAID);
  const tookMs = took?.ms ?? before?.word.tookMs;
  const waiting = view.waitingFor.slice(0, MOST_WAITING_SAID).map((name) => {
    return name.includes("/") ? name : `${world.desired.node}/${name}`;
  });
  const word = {
    ready,
    state: view.state,
    sinceMs: view.sinceMs,
    ...(ready ? {} : { why }),
    ...(container?.startedMs === undefined || !isAlive(container) ? {} : { start: describeStart(container) }),
    ...(view.revision === undefined ? {} : { revision: view.revision }),
    ...(waiting.length === 0 ? {} : { waiting }),
    ...(tookMs === undefined ? {} : { tookMs }),
  };
  return { word, reason };
}
