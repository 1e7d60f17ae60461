// What `orca fleet plan` prints: what was never measured and what is left out is said to be so.

import { expect, test } from "vitest";

import { printColdStartPlan } from "../../../agent/cli/fleet/fleet-plan.ts";
import type { ColdStartPlan } from "../../../agent/desired/cold-start/cold-start-plan.ts";

function planOf(assumed: readonly boolean[]): ColdStartPlan {
  const services = assumed.map((isAssumed, index) => {
    const name = `vm1/s${index}`;
    return { name, node: "vm1", waitsFor: [], wave: 0, takesMs: 5_000, isAssumed, startMs: 0, readyMs: 5_000 };
  });
  const criticalPath = services.slice(0, 1).map(({ name }) => name);
  const ms = services.length === 0 ? 0 : 5_000;
  return { services, criticalPath, criticalMs: ms, totalMs: ms };
}

function head(assumed: readonly boolean[], unusable = 0): string[] {
  const text = printColdStartPlan(planOf(assumed), { realm: "prod", defaultMs: 5_000, unusable });
  return (text.split("\n\n")[0] ?? "").trimEnd().split("\n");
}

test("nothing that starts is not ready after 0 ms", () => {
  expect(head([])).toEqual(["cold start of prod: nothing starts"]);
  expect(head([], 1)).toEqual([
    "cold start of prod: nothing starts",
    "1 manifest is left out, since orca lint finds errors there",
  ]);
});

test("what was never measured is said, all of it or a part", () => {
  expect(head([true, true])).toEqual([
    "cold start of prod: 2 services, ready after 5s",
    "critical path 5s: vm1/s0",
    "no start was measured here: for each of them 5s stands in (--assume)",
  ]);
  expect(head([true, false], 2)[2]).toBe("1 start marked with ? was never measured: 5s stands in (--assume)");
  expect(head([true, false], 2)[3]).toBe("2 manifests are left out, since orca lint finds errors there");
  expect(head([false])).toHaveLength(2);
});
