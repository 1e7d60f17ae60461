// What a node notes of its own cold start when a gate opens: of several things that it waited for, the one that came last.

import { expect, test } from "vitest";

import { watchColdStart } from "../../../agent/plan/memory/cold-watch.ts";
import { plan } from "../../../agent/plan/plan.ts";
import { DEFAULT_PLAN_SETTINGS, type World } from "../../../agent/plan/world.ts";
import type { OwnColdStart } from "../../../shared/state/cold-start.ts";
import { EMPTY_MEMORY } from "../../../shared/state/memory.ts";
import { buildDesired, buildTurn, buildView, NOW_MS } from "../../builders/node/turns.ts";

function look(waits: Record<string, number>, healthy: Record<string, number>, without: string[] = []): OwnColdStart {
  const turn = buildTurn({ views: [], desired: [buildDesired("web")], containers: [] });
  if (turn.desired === undefined) throw new Error("the turn has no desired state");
  const world: World = {
    desired: turn.desired,
    observed: turn.observed,
    memory: EMPTY_MEMORY,
    peers: { kind: "assume" },
    settings: DEFAULT_PLAN_SETTINGS,
    nowMs: NOW_MS,
    wanted: new Map(),
    releases: new Map(),
  };
  const view = buildView("web", { state: "starting", start: { at: "begun", without } });
  const before: OwnColdStart = {
    run: "run",
    beganMs: NOW_MS - 10_000,
    services: {
      web: { word: { at: [null, null, null, null] }, waits },
      ...Object.fromEntries(
        Object.entries(healthy).map(([name, ms]) => [name, { word: { at: [0, 0, 10, ms] }, waits: {} }] as const),
      ),
    },
  };
  return watchColdStart(before, { world, planned: { ...plan(world), services: [view] } }, 10_000);
}

test.each<{
  is: string;
  waits: Record<string, number>;
  healthy: Record<string, number>;
  without?: string[];
  by: string;
}>([
  {
    is: "the last of those that came",
    waits: { app: 1_000, db: 1_000, side: 1_000 },
    healthy: { app: 4_000, db: 3_000, side: 9_000 },
    by: "side",
  },
  {
    is: "that whatever their names",
    waits: { app: 1_000, side: 1_000 },
    healthy: { app: 9_000, side: 4_000 },
    by: "app",
  },
  {
    is: "what came, before what was given up",
    waits: { app: 1_000, portal: 1_000 },
    healthy: { app: 4_000 },
    without: ["portal"],
    by: "app",
  },
  {
    is: "what was given up where nothing else came",
    waits: { portal: 2_000 },
    healthy: {},
    without: ["portal"],
    by: "portal",
  },
])("it is $is", ({ waits, healthy, without, by }) => {
  const { word } = look(waits, healthy, without).services["web"] ?? {};
  expect(word).toMatchObject({ by, forMs: 10_000 - (waits[by] ?? 0) });
});
