// The judge of the fleet's cold starts: it finds a start that came too early, and is not content with none at all.

import { expect, test } from "vitest";

import type { ColdStartPlan } from "../../../agent/desired/cold-start/cold-start-plan.ts";
import { findEarlyStarts } from "../../builders/fleet/cold-order.ts";

const service = (name: string, takesMs: number, ...waitsFor: string[]): ColdStartPlan["services"][number] =>
  ({ name, takesMs, waitsFor }) as unknown as ColdStartPlan["services"][number];
const plan = { services: [service("a/db", 5_000), service("b/app", 2_000, "a/db"), service("c/web", 1_000, "b/app")] };
const judge = (starts: Record<string, number>, except: string[] = []): string[] =>
  findEarlyStarts(plan, new Map(Object.entries(starts)), except);

test.each<[string, Record<string, number>, string[], string[]]>([
  ["in order", { "a/db": 0, "b/app": 5_010, "c/web": 7_020 }, [], []],
  ["as early as clocks allow", { "a/db": 0, "b/app": 4_960, "c/web": 6_920 }, [], []],
  ["too early", { "a/db": 0, "b/app": 4_900, "c/web": 7_000 }, [], ["b/app began 100 ms before a/db was ready"]],
  ["before what never started", { "b/app": 100 }, [], ["b/app began Infinity ms before a/db was ready"]],
  ["before what is left out on purpose", { "b/app": 100, "c/web": 2_200 }, ["a/db"], []],
  ["nothing at all", { "d/other": 1 }, [], ["nothing of the plan has started"]],
])("%s", (...row) => {
  const [, starts, except, said] = row;
  expect(judge(starts, except)).toEqual(said);
});
