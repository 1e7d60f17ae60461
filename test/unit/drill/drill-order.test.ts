// In which order a drill brings a node up, whom each service waits for there, and whether there is room for it.

import { expect, test } from "vitest";

import { orderServices } from "../../../agent/drill/core/drill-order.ts";
import { refuseRoom } from "../../../agent/drill/drill-full.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import type { TurnSummary } from "../../../shared/state/event.ts";
import type { RequirementTarget } from "../../../shared/manifest/requirement.ts";

const here = (service: string): RequirementTarget => ({ kind: "service", node: undefined, service });
const MIB = 2 ** 20;

function build(
  name: string,
  requires: readonly RequirementTarget[] = [],
  more: Partial<Pick<DesiredService, "kind" | "running" | "wants">> = {},
): [string, DesiredService] {
  const service = {
    name,
    kind: "service",
    running: true,
    wants: [],
    requires: requires.map((target) => ({ target, expiresMs: undefined, then: "start" })),
    ...more,
  };
  return [name, service as unknown as DesiredService];
}

test("each comes after those that it requires; jobs and stopped ones are not run, and nobody waits for them", () => {
  const services = new Map([
    build("admin", [here("backend"), here("migrate"), here("off")]),
    build("backend", [here("pg"), { kind: "service", node: "vm-edge", service: "keycloak" }]),
    build("migrate", [here("pg")], { kind: "job" }),
    build("off", [], { running: false }),
    build("pg", [{ kind: "endpoint", url: "tcp://10.0.0.9:25" }]),
  ]);
  expect(orderServices(services).map(({ service, after, outside }) => [service.name, after, outside])).toEqual([
    ["pg", [], ["tcp://10.0.0.9:25"]],
    ["backend", ["pg"], ["vm-edge/keycloak"]],
    ["admin", ["backend"], []],
  ]);
});

test("a circle of wants holds up nobody", () => {
  const services = new Map([
    build("one", [], { wants: [here("two")] }),
    build("two", [], { wants: [here("one")] }),
    build("three", [here("three")]),
  ]);
  const order = orderServices(services);
  expect(order.map(({ service }) => service.name).toSorted()).toEqual(["one", "three", "two"]);
  const seen: string[] = [];
  for (const { service, after } of order) {
    expect(after.filter((name) => !seen.includes(name))).toEqual([]);
    seen.push(service.name);
  }
});

test("a node that does not fit beside itself is refused with both numbers", () => {
  const container = (service: string, workingSetBytes: number | undefined) => ({
    service,
    status: "running",
    workingSetBytes,
    caps: { memoryBytes: 400 * MIB },
  });
  const turn = {
    desired: { services: new Map([build("pg"), build("web")]), backups: [{ source: { memoryBytes: 100 * MIB } }] },
    observed: { engine: { reachable: true, containers: [container("pg", 80 * MIB), container("web", undefined)] } },
  } as unknown as TurnSummary;
  // A quarter more than what they use, the cap where that is not known, and one restore: 700 MiB.
  expect(refuseRoom(turn, 700 * MIB)).toBe(undefined);
  expect(refuseRoom(turn, 699 * MIB)).toBe(
    "the node a second time takes about 700 MiB of memory, and 699 MiB are free: drill it on its spare",
  );
});
