// One run and the next: what was seen of one says nothing of the other, and a clock that was set changes no age.

import { describe, expect, test } from "vitest";

import { followClock } from "../../../agent/plan/memory/clock-step.ts";
import { plan } from "../../../agent/plan/plan.ts";
import { DEFAULT_PLAN_SETTINGS, type World } from "../../../agent/plan/world.ts";
import { EMPTY_MEMORY, type NodeMemory, type ServiceMemory } from "../../../shared/state/memory.ts";
import type { HealthView, ObservedContainer, ObservedState } from "../../../shared/state/observed-state.ts";
import {
  buildContainer,
  buildDesired,
  buildHealth,
  buildTurn,
  containerOf,
  NOW_MS,
} from "../../builders/node/turns.ts";

const OLD_MS = NOW_MS - 3_600_000;
const desired = buildDesired("app", { health: { tcp: { port: 80 } } as never });
const operation = { lane: "app", fingerprint: desired.fingerprint, steps: [] };

interface Parts {
  container?: Partial<ObservedContainer>;
  health?: Partial<HealthView>;
  memory?: Partial<ServiceMemory>;
  observed?: Partial<ObservedState>;
}

/** A container that was started anew a moment ago; its health is that of the run before unless a test says otherwise. */
function buildWorld(parts: Parts = {}): World {
  const container = buildContainer("app", {
    specHash: desired.specHash,
    networks: { "orca-vm1": "10.0.0.2" },
    startedMs: NOW_MS - 30,
    ...parts.container,
  });
  const health = buildHealth({ startedMs: OLD_MS, sinceMs: OLD_MS, probedMs: NOW_MS - 10, ...parts.health });
  const turn = buildTurn({
    views: [],
    desired: [desired],
    health: { app: health },
    engine: {
      reachable: true,
      run: "run-1",
      containers: [container],
      volumes: {},
      foreign: [],
      networks: { "orca-vm1": { node: "vm1", internal: false, subnets: [] } },
    },
  });
  if (turn.desired === undefined) throw new Error("the turn has no desired state");
  const run = `${containerOf("app")}@${OLD_MS}`;
  const memory: ServiceMemory = {
    fingerprint: desired.fingerprint,
    intentMs: NOW_MS - 600_000,
    attempt: 2,
    restarts: 5,
    run: { name: run, number: 7, begunMs: OLD_MS, files: {} },
    healthy: { container: containerOf("app"), engineRun: "run-1", run, sinceMs: OLD_MS },
    ...parts.memory,
  };
  return {
    desired: turn.desired,
    observed: { ...turn.observed, hosts: {}, ...parts.observed },
    peers: { kind: "assume" },
    memory: { ...EMPTY_MEMORY, services: { app: memory } },
    settings: DEFAULT_PLAN_SETTINGS,
    nowMs: NOW_MS,
    wanted: new Map(),
    releases: new Map(),
  };
}

test("a run is not well by the health of the run before: nothing is recorded as good, and no backoff ends", () => {
  const planned = plan(buildWorld());
  expect(planned.newReleases).toEqual([]);
  expect(planned.services).toMatchObject([{ state: "starting", reason: "not probed yet", settled: false }]);
  expect(planned.memory.services["app"]).toMatchObject({ attempt: 2, run: { number: 8, begunMs: NOW_MS - 30 } });
});

test("what waits for it waits until this run is well", () => {
  const world = buildWorld();
  const waiting = buildDesired("web", {
    requires: [{ target: { kind: "service", node: undefined, service: "app" } }] as never,
  });
  const services = new Map([...world.desired.services, ["web", waiting]]);
  const planned = plan({ ...world, desired: { ...world.desired, services } });
  expect(planned.services.find(({ name }) => name === "web")).toMatchObject({ state: "waiting", waitingFor: ["app"] });
});

test("while a run of it is ended or begun, nobody knows which one is seen", () => {
  const inFlight = {
    lane: "app",
    fingerprint: desired.fingerprint,
    stage: "start-container" as const,
    starts: true,
    cause: {
      kind: "config" as const,
      why: { code: "said" as const, said: { message: "new content" } },
      detail: "new content",
    },
    changing: [containerOf("app")],
    sinceMs: NOW_MS - 5_000,
    progress: undefined,
  };
  const planned = plan(buildWorld({ container: { startedMs: OLD_MS }, observed: { operations: [inFlight] } }));
  expect(planned.newReleases).toEqual([]);
  expect(planned.memory.services["app"]?.run?.number).toBe(7);
  expect(planned.services).toMatchObject([{ state: "starting" }]);
});

describe("the wall clock was set while it started", () => {
  const outcome = {
    operation: {
      ...operation,
      cause: {
        kind: "crash" as const,
        why: { code: "said" as const, said: { message: "it ended" } },
        detail: "it ended",
      },
    },
    startBegunMs: NOW_MS - 400,
    endedMs: NOW_MS - 20,
    result: { kind: "done" as const, steps: 1 },
  };

  test.each([
    ["a year ahead", NOW_MS - 31_536_000_000],
    ["a year back", NOW_MS + 31_536_000_000],
  ])("%s: its age and its measured start are those of the agent's own clock", (_name, startedMs) => {
    const world = buildWorld({
      container: { startedMs },
      health: { startedMs, sinceMs: NOW_MS - 10 },
      observed: { outcomes: [outcome] },
      memory: { seen: { container: containerOf("app"), engineRun: "run-1" } },
    });
    const { run, took } = plan(world).memory.services["app"] ?? {};
    expect(run?.begunMs).toBe(NOW_MS - 400);
    expect(took?.ms).toBe(390);
  });
});

describe("what is remembered moves with the clock", () => {
  const memory: NodeMemory = {
    ...EMPTY_MEMORY,
    services: {
      app: {
        fingerprint: "f",
        attempt: 1,
        restarts: 1,
        intentMs: 100,
        nextStartMs: 200,
        exitMs: 90,
        run: { name: "c@1", number: 1, begunMs: 50, files: {} },
        healthy: { container: "c", engineRun: "r", run: "c@1", sinceMs: 60 },
        waiting: { sinceMs: 70, engineRun: "r", met: { db: { start: "d@1", atMs: 80 } } },
        failure: { fingerprint: "f", step: "s", failure: "retry", message: "m", attempt: 0, nextMs: 300 },
        rollout: { fingerprint: "f", engineRun: "r", spentMs: 5, seenMs: 110 },
        repeated: { steps: "s", count: 1, rounds: 0, untilMs: 400 },
        shown: { state: "healthy", sinceMs: 120 },
        release: { fingerprint: "f", specHash: "s", revision: "r", image: "i", settledMs: 130 },
      },
    },
    removals: { old: { sinceMs: 10, specHash: "s", failure: { message: "m", attempt: 0, nextMs: 20 } } },
    lanes: { l: { message: "m", attempt: 0, nextMs: 30, about: "a" } },
    nodeFailure: { message: "m", attempt: 0, nextMs: 40 },
    pauses: { app: { sinceMs: 5, uid: 0 } },
    clock: { boot: "b", offsetMs: 1_000 },
  };

  test("every time that something is counted from; what names a moment stays", () => {
    const moved = followClock(memory, { boot: "b", offsetMs: 2_000 });
    expect(moved).toEqual({
      ...memory,
      services: {
        app: {
          ...memory.services["app"],
          intentMs: 1_100,
          nextStartMs: 1_200,
          exitMs: 1_090,
          run: { name: "c@1", number: 1, begunMs: 1_050, files: {} },
          healthy: { container: "c", engineRun: "r", run: "c@1", sinceMs: 1_060 },
          waiting: { sinceMs: 1_070, engineRun: "r", met: { db: { start: "d@1", atMs: 1_080 } } },
          failure: { ...memory.services["app"]?.failure, nextMs: 1_300 },
          rollout: { ...memory.services["app"]?.rollout, seenMs: 1_110 },
          repeated: { ...memory.services["app"]?.repeated, untilMs: 1_400 },
          shown: { state: "healthy", sinceMs: 1_120 },
        },
      },
      removals: { old: { sinceMs: 1_010, specHash: "s", failure: { message: "m", attempt: 0, nextMs: 1_020 } } },
      lanes: { l: { message: "m", attempt: 0, nextMs: 1_030, about: "a" } },
      nodeFailure: { message: "m", attempt: 0, nextMs: 1_040 },
      clock: { boot: "b", offsetMs: 2_000 },
    });
  });

  test("nothing at the noise of a reading, and nothing after a boot, whose clock says all there is to know", () => {
    expect(followClock(memory, { boot: "b", offsetMs: 1_030 })).toBe(memory);
    const booted = followClock(memory, { boot: "another", offsetMs: 9_000_000 });
    expect(booted).toEqual({ ...memory, clock: { boot: "another", offsetMs: 9_000_000 } });
  });
});
