// One run and the next: what was seen of one says nothing of the other, and a clock that was set changes no age.

import { describe, expect, test } from "vitest";

import { followClock } from "../../../agent/plan/memory/clock-step.ts";
import { plan } from "../../../agent/plan/plan.ts";
import { DEFAULT_PLAN_SETTINGS, type World } from "../../../agent/plan/world.ts";
import { EMPTY_MEMORY, type NodeMemory, type RunsMemory, type ServiceMemory } from "../../../shared/state/memory.ts";
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
  run?: Partial<RunsMemory>;
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
    intent: { fingerprint: desired.fingerprint, sinceMs: NOW_MS - 600_000 },
    run: {
      newest: { name: run, number: 7, begunMs: OLD_MS, files: {} },
      lastHealthy: { container: containerOf("app"), engineRun: "run-1", run, sinceMs: OLD_MS },
      ...parts.run,
    },
    gate: {},
    backoff: { attempt: 2, restarts: 5 },
    operator: {},
    release: {},
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
  expect(planned.memory.services["app"]).toMatchObject({
    backoff: { attempt: 2 },
    run: { newest: { number: 8, begunMs: NOW_MS - 30 } },
  });
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
  expect(planned.memory.services["app"]?.run.newest?.number).toBe(7);
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
      run: { lastSeen: { container: containerOf("app"), engineRun: "run-1" } },
    });
    const { newest, startTook } = plan(world).memory.services["app"]?.run ?? {};
    expect(newest?.begunMs).toBe(NOW_MS - 400);
    expect(startTook?.ms).toBe(390);
  });
});

describe("what is remembered moves with the clock", () => {
  const lastGood = { fingerprint: "f", specHash: "s", revision: "r", image: "i", settledMs: 130 };
  const failure = { fingerprint: "f", step: "s", failure: "retry" as const, message: "m", attempt: 0, nextMs: 300 };
  const operator = { restartAsked: { uid: 1, atMs: 140 } };
  const memory: NodeMemory = {
    ...EMPTY_MEMORY,
    services: {
      app: {
        intent: { fingerprint: "f", sinceMs: 100 },
        run: {
          newest: { name: "c@1", number: 1, begunMs: 50, files: {} },
          lastHealthy: { container: "c", engineRun: "r", run: "c@1", sinceMs: 60 },
          lastExitMs: 90,
        },
        gate: { waiting: { sinceMs: 70, engineRun: "r", healthySeen: { db: { start: "d@1", atMs: 80 } } } },
        backoff: {
          attempt: 1,
          restarts: 1,
          nextStartMs: 200,
          failure,
          repeated: { steps: "s", count: 1, rounds: 0, untilMs: 400 },
        },
        operator,
        release: { lastGood, rollout: { fingerprint: "f", engineRun: "r", spentMs: 5, seenMs: 110 } },
        shownState: { state: "healthy", sinceMs: 120 },
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
          intent: { fingerprint: "f", sinceMs: 1_100 },
          run: {
            newest: { name: "c@1", number: 1, begunMs: 1_050, files: {} },
            lastHealthy: { container: "c", engineRun: "r", run: "c@1", sinceMs: 1_060 },
            lastExitMs: 1_090,
          },
          gate: { waiting: { sinceMs: 1_070, engineRun: "r", healthySeen: { db: { start: "d@1", atMs: 1_080 } } } },
          backoff: {
            attempt: 1,
            restarts: 1,
            nextStartMs: 1_200,
            failure: { ...failure, nextMs: 1_300 },
            repeated: { steps: "s", count: 1, rounds: 0, untilMs: 1_400 },
          },
          operator,
          release: { lastGood, rollout: { fingerprint: "f", engineRun: "r", spentMs: 5, seenMs: 1_110 } },
          shownState: { state: "healthy", sinceMs: 1_120 },
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
