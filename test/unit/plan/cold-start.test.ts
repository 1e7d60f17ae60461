// The plan of a cold start: order, slots, critical path; by properties, and on a real platform's manifests.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { type ColdStartPlan, planColdStart } from "../../../agent/desired/cold-start/cold-start-plan.ts";
import type { RemoteService } from "../../../agent/desired/build/constraints.ts";
import { readTopology } from "../../../scripts/lab/cold/topology.ts";

function build(node: string, service: string, needs: readonly string[]): RemoteService {
  const requires = needs.map((name) => {
    const [on = "", what = ""] = name.split("/");
    const target = { kind: "service" as const, node: on, service: what };
    return { target, expiresMs: undefined, then: "fail" as const };
  });
  return {
    node,
    service,
    manifest: { requires, wants: [], routes: [], ports: [], volumes: [], state: "running", moved_from: undefined },
  };
}

/** Services that wait for earlier ones only, on three nodes. */
const fleet = fc
  .array(
    fc.record({
      node: fc.integer({ min: 0, max: 2 }),
      needs: fc.array(fc.nat()),
      takesMs: fc.integer({ min: 1, max: 20_000 }),
    }),
    {
      maxLength: 25,
    },
  )
  .map((entries) => {
    const names: string[] = [];
    const known = new Map<string, number>();
    const services = entries.map(({ node, needs, takesMs }, index) => {
      const name = `n${node}/s${index}`;
      const waits = names.length === 0 ? [] : [...new Set(needs.map((need) => names[need % names.length] ?? ""))];
      names.push(name);
      known.set(name, takesMs);
      return build(`n${node}`, `s${index}`, waits);
    });
    return { services, known };
  });

const SLOTS = { defaultMs: 5_000, slots: 4, slotMs: 30_000 };

function find(plan: ColdStartPlan, name: string): ColdStartPlan["services"][number] {
  const found = plan.services.find((service) => service.name === name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
}

describe("a cold start", () => {
  test("starts nothing before what it waits for is ready, nor more than four at once on a node", () => {
    fc.assert(
      fc.property(fleet, ({ services, known }) => {
        const plan = planColdStart(services, { ...SLOTS, known });
        expect(plan.services).toHaveLength(services.length);
        for (const service of plan.services) {
          for (const name of service.waitsFor) {
            expect(find(plan, name).readyMs).toBeLessThanOrEqual(service.startMs);
            expect(find(plan, name).wave).toBeLessThan(service.wave);
          }
          const beside = plan.services.filter(
            ({ node, startMs, readyMs }) =>
              node === service.node && startMs <= service.startMs && readyMs > service.startMs,
          );
          expect(beside.length).toBeLessThanOrEqual(4);
        }
      }),
    );
  });

  test("takes the critical path at least, and exactly that where there are slots enough", () => {
    fc.assert(
      fc.property(fleet, ({ services, known }) => {
        const plan = planColdStart(services, { ...SLOTS, known });
        expect(plan.totalMs).toBeGreaterThanOrEqual(plan.criticalMs);
        expect(plan.criticalPath.reduce((sum, name) => sum + (known.get(name) ?? 0), 0)).toBe(plan.criticalMs);
        const wide = planColdStart(services, { ...SLOTS, slots: 100, known });
        expect(wide.totalMs).toBe(wide.criticalMs);
      }),
    );
  });

  test("does not depend on the order in which services are read", () => {
    fc.assert(
      fc.property(fleet, ({ services, known }) => {
        expect(planColdStart(services.toReversed(), { ...SLOTS, known })).toEqual(
          planColdStart(services, { ...SLOTS, known }),
        );
      }),
    );
  });

  test("a platform's phases come out of its dependencies alone, with the proxy last", async () => {
    const { services, fleet: nodes } = await readTopology("breakpilot");
    const prod = services.filter(({ node }) => nodes.nodes[node]?.env === "prod");
    const plan = planColdStart(prod, { ...SLOTS, known: new Map() });
    const waves = Object.groupBy(plan.services, ({ wave }) => wave);
    expect(Object.keys(waves)).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(waves[5]?.map(({ name }) => name)).toEqual(["vm-edge/orca-proxy"]);
    expect(waves[1]?.map(({ name }) => name)).toEqual(["vm-edge/infisical"]);
    expect(plan.criticalPath.at(-1)).toBe("vm-edge/orca-proxy");
    expect(plan.services.every(({ isAssumed }) => isAssumed)).toBe(true);
    expect(plan.totalMs).toBe(30_000);
  });
});
