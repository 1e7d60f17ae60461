// The properties of plan() that carry the trust: one world, one plan, whatever order it comes in; nothing is changed that is
// read; no step names a container that is not Orca's; a world that is as it should be needs nothing.

import * as fc from "fast-check";
import { expect, test } from "vitest";

import { plan } from "../../../agent/plan/plan.ts";
import { DEFAULT_PLAN_SETTINGS, type Plan, type World } from "../../../agent/plan/world.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { EMPTY_MEMORY } from "../../../shared/state/memory.ts";
import type { ObservedContainer } from "../../../shared/state/observed-state.ts";
import {
  buildContainer,
  buildDesired,
  buildHealth,
  buildTurn,
  containerOf,
  NOW_MS,
} from "../../builders/node/turns.ts";

const NAMES = ["a", "b", "c", "d", "e", "f"] as const;
const RUNS = process.env["ORCA_SLOW"] === undefined ? 300 : 20_000;

interface Service {
  name: string;
  image: string;
  running: boolean;
  requires: string[];
  /** What runs for it: nothing, the wanted container, one of another spec. */
  actual: "none" | "same" | "other" | "both";
  status: ObservedContainer["status"];
  wanted: boolean;
  healthy: boolean;
  onNetwork: boolean;
  exitCode: number;
  memoryMiB: number;
}

const service = (name: string): fc.Arbitrary<Service> =>
  fc.record({
    name: fc.constant(name),
    image: fc.constantFrom("app:1", "app:2"),
    running: fc.boolean(),
    // Lint and the agent refuse a circle: each requires services before it alone.
    requires: fc.subarray(NAMES.slice(0, NAMES.indexOf(name as (typeof NAMES)[number]))),
    actual: fc.constantFrom("none", "same", "other", "both"),
    status: fc.constantFrom("created", "running", "exited", "paused", "dead"),
    wanted: fc.boolean(),
    healthy: fc.boolean(),
    onNetwork: fc.boolean(),
    exitCode: fc.constantFrom(0, 1, 137),
    memoryMiB: fc.constantFrom(32, 64),
  });

/** Nobody can require what Git does not want here: such a service is refused before anything is planned. */
const services = fc.tuple(...NAMES.map(service)).map((entries) => {
  const wanted = new Set(entries.flatMap((entry) => (entry.wanted ? [entry.name] : [])));
  return entries.map((entry) => ({ ...entry, requires: entry.requires.filter((name) => wanted.has(name)) }));
});

const HEALTH = manifestSchema.parse({
  image: "app:1",
  health: { tcp: { port: 80 } },
  resources: { memory: "64MiB" },
}).health;

function buildWanted({ name, image, running, requires }: Service): DesiredService {
  return buildDesired(name, {
    spec: { image },
    running,
    requires: requires.map((other) => ({
      target: { kind: "service", node: undefined, service: other },
      expiresMs: undefined,
      then: "fail",
    })),
    health: HEALTH,
  });
}

function buildActual(entry: Service): ObservedContainer[] {
  if (entry.actual === "none") return [];
  if (entry.actual === "both") {
    const before = { ...entry, actual: "other" as const, status: "exited" as const };
    return [...buildActual({ ...entry, actual: "same" }), ...buildActual(before)];
  }
  const ended = entry.status === "exited" || entry.status === "dead";
  const specHash = entry.actual === "same" ? buildWanted(entry).specHash : "v1:other";
  return [
    buildContainer(entry.name, {
      id: entry.actual === "same" ? containerOf(entry.name) : containerOf(`${entry.name} before`),
      image: entry.actual === "same" ? entry.image : "app:0",
      specHash,
      status: entry.status,
      // One that does not run has its networks, but no address and no process.
      networks: entry.onNetwork ? { "orca-vm1": entry.status === "running" ? "10.0.0.2" : "" } : {},
      pid: entry.status === "running" || entry.status === "paused" ? 1_000 : 0,
      startedMs: entry.status === "created" ? undefined : NOW_MS - 60_000,
      ...(ended ? { finishedMs: NOW_MS - 1_000, exitCode: entry.exitCode } : {}),
      caps: { memoryBytes: entry.memoryMiB * 2 ** 20, nanoCpus: 0, cpuShares: 0, pids: 512 },
    }),
  ];
}

function buildWorld(entries: readonly Service[], order?: "backwards"): World {
  const containers = (order === undefined ? entries : entries.toReversed()).flatMap((entry) => {
    const list = buildActual(entry);
    return order === undefined ? list : list.toReversed();
  });
  const running = entries.filter((entry) => entry.actual !== "none" && entry.status === "running");
  const health = running.map((entry) => {
    const status = entry.healthy ? ("healthy" as const) : ("starting" as const);
    return [entry.name, buildHealth({ status, sinceMs: NOW_MS - 50_000 })] as const;
  });
  const turn = buildTurn({
    views: [],
    desired: entries.filter((entry) => entry.wanted).map(buildWanted),
    health: Object.fromEntries(health),
    engine: {
      reachable: true,
      run: "run-1",
      containers,
      volumes: {},
      foreign: [{ name: "stranger", image: "other:1", running: true, ports: [], node: undefined }],
      networks: { "orca-vm1": { node: "vm1", internal: false, subnets: [] } },
    },
  });
  if (turn.desired === undefined) throw new Error("the turn has no desired state");
  const observed = { ...turn.observed, hosts: {} };
  return {
    desired: turn.desired,
    observed,
    memory: EMPTY_MEMORY,
    peers: { kind: "assume" },
    settings: DEFAULT_PLAN_SETTINGS,
    nowMs: NOW_MS,
    wanted: new Map(),
    releases: new Map(),
  };
}

/** A plan as text, whatever order its maps and objects were filled in. */
function print(planned: Plan): string {
  const sort = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sort);
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).map(([key, inner]) => [key, sort(inner)] as const);
    return Object.fromEntries(entries.toSorted(([left], [right]) => (left < right ? -1 : 1)));
  };
  return JSON.stringify(sort(planned), undefined, 1);
}

function freeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of value instanceof Map ? value.values() : Object.values(value)) freeze(inner);
  return value;
}

test("the same world in any order gives the same plan, and is not changed by planning", () => {
  fc.assert(
    fc.property(services, fc.infiniteStream(fc.nat()), fc.boolean(), (entries, order, isRemembered) => {
      // As at the first turn of an agent, and as at the turn after one that has seen the same.
      const memory = isRemembered ? plan(buildWorld(entries)).memory : EMPTY_MEMORY;
      const build = (list: readonly Service[], how?: "backwards"): World => ({ ...buildWorld(list, how), memory });
      const keys = new Map(entries.map((entry) => [entry, order.next().value] as const));
      const shuffled = entries.toSorted((left, right) => (keys.get(left) ?? 0) - (keys.get(right) ?? 0));
      const first = print(plan(freeze(build(entries))));
      expect(print(plan(freeze(build(shuffled))))).toBe(first);
      expect(print(plan(freeze(build(shuffled, "backwards"))))).toBe(first);
      expect(print(plan(build(entries)))).toBe(first);
    }),
    { numRuns: RUNS },
  );
});

test("a step names a container of the same service that carries Orca's labels, or one that is to be made", () => {
  let named = 0;
  fc.assert(
    fc.property(services, (entries) => {
      const { operations } = plan(buildWorld(entries));
      expect(new Set(operations.map((operation) => operation.lane)).size).toBe(operations.length);
      for (const { lane, steps } of operations) {
        const ids = steps.flatMap((step) => ("container" in step ? [step.container] : []));
        named += ids.length;
        for (const id of ids) expect(["created", containerOf(lane), containerOf(`${lane} before`)]).toContain(id);
      }
    }),
    { numRuns: RUNS },
  );
  expect(named).toBeGreaterThan(0);
});

test("what runs as wanted, healthy and on its network, needs nothing", () => {
  fc.assert(
    fc.property(services, (entries) => {
      const asWanted = entries.map((entry) => ({
        ...entry,
        wanted: true,
        running: true,
        actual: "same" as const,
        status: "running" as const,
        healthy: true,
        onNetwork: true,
        memoryMiB: 64,
      }));
      const world = buildWorld(asWanted);
      const first = plan(world);
      expect(first.operations).toEqual([]);
      const again = plan({ ...world, memory: first.memory });
      expect(again.operations).toEqual([]);
      expect(again.newExits).toEqual([]);
    }),
    { numRuns: RUNS },
  );
});

test("what is wanted, is not there and waits for nobody is started, as many at once as there are slots", () => {
  fc.assert(
    fc.property(services, fc.integer({ min: 1, max: 8 }), (entries, startSlots) => {
      const missing = entries.map((entry) => ({
        ...entry,
        actual: "none" as const,
        running: true,
        requires: [],
      }));
      const { operations } = plan({ ...buildWorld(missing), settings: { ...DEFAULT_PLAN_SETTINGS, startSlots } });
      const begun = operations.filter(({ steps }) => steps.some(({ kind }) => kind === "start-container"));
      const wanted = missing.filter((entry) => entry.wanted).map(({ name }) => name);
      expect(begun.map(({ lane }) => lane).toSorted()).toEqual(wanted.toSorted().slice(0, startSlots));
    }),
    { numRuns: RUNS },
  );
});

test("nothing is stopped for a start that its gate does not allow", () => {
  let held = 0;
  fc.assert(
    fc.property(services, (entries) => {
      const world = buildWorld(entries);
      const { operations } = plan(world);
      for (const entry of entries) {
        if (!entry.wanted || !entry.running || entry.actual !== "other" || entry.status !== "running") continue;
        const missing = entry.requires.filter((name) => {
          const other = entries.find((candidate) => candidate.name === name);
          return other === undefined || !["same", "both"].includes(other.actual) || other.status !== "running";
        });
        if (missing.length === 0) continue;
        held += 1;
        const steps = operations.find((operation) => operation.lane === entry.name)?.steps ?? [];
        expect(steps.map((step) => step.kind)).not.toContain("stop-container");
      }
    }),
    { numRuns: RUNS },
  );
  expect(held).toBeGreaterThan(0);
});
