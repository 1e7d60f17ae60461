// What this node tells others of a service that leaves it: whoever takes it over starts once it has ended, and no sooner.

import { expect, test } from "vitest";

import { describeStatements } from "../../../agent/gossip/service-statements.ts";
import { plan } from "../../../agent/plan/plan.ts";
import { DEFAULT_PLAN_SETTINGS, type World } from "../../../agent/plan/world.ts";
import { EMPTY_MEMORY } from "../../../shared/state/memory.ts";
import type { ObservedContainer } from "../../../shared/state/observed-state.ts";
import { buildContainer, buildTurn, containerOf, NOW_MS } from "../../builders/node/turns.ts";

/** The start that is told of `db`, which is no longer in Git. */
function tellStart(containers: readonly ObservedContainer[]): string | undefined {
  const { desired, observed } = buildTurn({ views: [], desired: [], containers });
  if (desired === undefined) throw new Error("the turn has no desired state");
  const world: World = {
    observed: { ...observed, hosts: {} },
    desired,
    memory: EMPTY_MEMORY,
    peers: { kind: "assume" },
    settings: DEFAULT_PLAN_SETTINGS,
    nowMs: NOW_MS,
    wanted: new Map(),
    releases: new Map(),
  };
  const word = describeStatements(world, plan(world), {})["db"]?.word;
  expect(["removing", "stopped"]).toContain(word?.state);
  return word?.start;
}

const RUN = `${containerOf("db").slice(0, 12)}@${NOW_MS - 60_000}`;
const before = (parts: Partial<ObservedContainer>): ObservedContainer =>
  buildContainer("before", { service: "db", specHash: "v1:before", ...parts });

test.each(["running", "paused", "restarting"] as const)("what is %s has not ended", (status) => {
  expect(tellStart([buildContainer("db", { status })])).toBe(RUN);
});

test("what runs beside an older container that has ended has not ended", () => {
  const ended = before({ status: "exited", startedMs: NOW_MS - 90_000, finishedMs: NOW_MS - 70_000, exitCode: 0 });
  expect(tellStart([ended, buildContainer("db")])).toBe(RUN);
});

test("what has ended is told without a start", () => {
  const parts = { finishedMs: NOW_MS - 1_000, exitCode: 0 };
  expect(tellStart([buildContainer("db", { status: "exited", ...parts })])).toBe(undefined);
  expect(tellStart([buildContainer("db", { status: "created", startedMs: undefined })])).toBe(undefined);
});
