// What could not be delivered to a container that runs: it goes on, and is not taken for good with what it has not got.

import { expect, test } from "vitest";

import { plan } from "../../../agent/plan/plan.ts";
import { DEFAULT_PLAN_SETTINGS, type World } from "../../../agent/plan/world.ts";
import type { DesiredFile } from "../../../shared/state/desired-state.ts";
import { type BackoffMemory, EMPTY_MEMORY, type ServiceMemory } from "../../../shared/state/memory.ts";
import { fileKey } from "../../../shared/state/observed-state.ts";
import { type FileContent, nameContent } from "../../../shared/state/file-content.ts";
import {
  buildContainer,
  buildDesired,
  buildHealth,
  buildTurn,
  containerOf,
  NOW_MS,
} from "../../builders/node/turns.ts";

const TARGET = "/run/secrets/password";

function passwordOf(version: string): FileContent {
  return { kind: "secret", path: "/prod/app/PASSWORD", version };
}

function buildWorld(onChange: DesiredFile["onChange"], backoff: Partial<BackoffMemory> = {}): World {
  const file: DesiredFile = { target: TARGET, content: passwordOf("2"), mode: "0400", owner: undefined, onChange };
  const desired = buildDesired("app", { files: [file] });
  const container = buildContainer("app", {
    specHash: desired.specHash,
    networks: { "orca-vm1": "10.0.0.2" },
    startedMs: NOW_MS - 3_600_000,
  });
  const turn = buildTurn({
    views: [],
    desired: [desired],
    health: { app: buildHealth({ startedMs: NOW_MS - 3_600_000, sinceMs: NOW_MS - 3_000_000 }) },
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
  const old = nameContent(passwordOf("1"));
  const files = new Map([[fileKey("app", desired.specHash, TARGET), old]]);
  const startedMs = NOW_MS - 3_600_000;
  const newest = {
    name: `${containerOf("app")}@${startedMs}`,
    number: 1,
    begunMs: startedMs,
    files: { [TARGET]: old },
  };
  const memory: ServiceMemory = {
    intent: { fingerprint: desired.fingerprint, sinceMs: NOW_MS - 600_000 },
    run: { newest },
    gate: {},
    backoff: { attempt: 0, restarts: 0, ...backoff },
    operator: {},
    release: {},
  };
  return {
    desired: turn.desired,
    observed: { ...turn.observed, files, hosts: {} },
    peers: { kind: "assume" },
    memory: { ...EMPTY_MEMORY, services: { app: memory } },
    settings: DEFAULT_PLAN_SETTINGS,
    nowMs: NOW_MS,
    wanted: new Map(),
    releases: new Map(),
  };
}

const FAILED = { step: "write-files", failure: "retry", message: "write file: no space", attempt: 4 } as const;

test.each([
  ["restart", "restart" as const],
  ["a signal", { signal: "SIGHUP" }],
])("a delivery with %s that fails: healthy for long, and neither settled nor a release", (_name, onChange) => {
  const world = buildWorld(onChange);
  const { fingerprint = "" } = world.memory.services["app"]?.intent ?? {};
  const failing = buildWorld(onChange, { failure: { ...FAILED, fingerprint, nextMs: NOW_MS + 30_000 } });
  const planned = plan(failing);
  expect(planned.operations).toEqual([]);
  expect(planned.services).toMatchObject([{ state: "healthy", settled: false, nextMs: NOW_MS + 30_000 }]);
  expect(planned.services[0]?.reason).toContain("has a new value: write file: no space");
  expect(planned.newReleases).toEqual([]);
  expect(planned.standings.get("app")).toMatchObject({ settled: false });
});

test("a delivery that comes late: its settling begins when the run was told, not with the intent ten minutes ago", () => {
  const world = buildWorld({ signal: "SIGHUP" });
  const planned = plan(world);
  const [operation] = planned.operations;
  if (operation === undefined) throw new Error("nothing is delivered");
  expect(operation).toMatchObject({ lane: "app", cause: { kind: "rotation" } });
  expect(planned.services).toMatchObject([{ state: "healthy", settled: false }]);
  expect(planned.newReleases).toEqual([]);
  const outcome = { operation, endedMs: NOW_MS + 9_000, result: { kind: "done" as const, steps: 2 } };
  const files = new Map([...world.observed.files].map(([key]) => [key, nameContent(passwordOf("2"))]));
  const observed = { ...world.observed, files, outcomes: [outcome] };
  const after = plan({ ...world, observed, memory: planned.memory, nowMs: NOW_MS + 10_000 });
  expect(after.operations).toEqual([]);
  expect(after.services).toMatchObject([
    { state: "healthy", settled: false, reason: "healthy for 1s, settled in 29s" },
  ]);
  expect(after.newReleases).toEqual([]);
});
