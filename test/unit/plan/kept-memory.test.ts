// Whatever an agent finds in its own state (of an earlier version, of a later one, damaged): nothing throws, the services that it
// does not concern are planned as ever, and nothing that runs well is stopped for it.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { takeOverLater } from "../../../agent/plan/rules/later.ts";
import { plan } from "../../../agent/plan/plan.ts";
import { applyRollbacks, nameRolledBack } from "../../../agent/plan/rules/rollout.ts";
import { DEFAULT_PLAN_SETTINGS, type Plan, type World } from "../../../agent/plan/world.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import { sha256 } from "../../../shared/state/identity.ts";
import { readInForce } from "../../../shared/state/kept/in-force-schema.ts";
import { readNodeMemory, SERVICE_KEYS } from "../../../shared/state/kept/memory-schema.ts";
import {
  mapFromStored,
  mapToStored,
  type StoredNode,
  type StoredService,
} from "../../../shared/state/kept/service-parts.ts";
import { type FileContent, findKeptHash, readContentName } from "../../../shared/state/file-content.ts";
import { describeReason } from "../../../shared/text/describe-reason.ts";
import { readRelease, writeRelease } from "../../../shared/state/kept/release-schema.ts";
import type { Lost } from "../../../shared/state/kept/salvage.ts";
import { EMPTY_MEMORY, type NodeMemory } from "../../../shared/state/memory.ts";
import type { ObservedContainer, ObservedEngine } from "../../../shared/state/observed-state.ts";
import {
  buildContainer,
  buildDesired,
  buildExit,
  buildHealth,
  buildRelease,
  buildTurn,
  NOW_MS,
} from "../../builders/node/turns.ts";

const SEEDS = process.env["ORCA_SLOW"] === undefined ? 2_000 : 10_000;

/** Each in another place of its life: running, rolled back, waiting to be tried again, a job, one that a person stopped. */
const NAMES = ["runs", "back", "fails", "job", "stopped"] as const;
const DESIRED: readonly DesiredService[] = [
  buildDesired("runs"),
  buildDesired("back"),
  buildDesired("fails"),
  buildDesired("job", { kind: "job", schedule: "@once" }),
  buildDesired("stopped"),
];

/** Every field that a version has ever stored of a service. */
const EVERYTHING: StoredNode = {
  services: {
    all: {
      fingerprint: "f",
      intentMs: 1,
      attempt: 2,
      restarts: 3,
      nextStartMs: 4,
      lastExit: buildExit("all"),
      exitMs: 5,
      run: { name: "c@1", number: 6, begunMs: 7, files: { a: "b" }, telling: { a: "c" }, stale: true },
      seen: { container: "c", engineRun: "run-1" },
      healthy: { container: "c", engineRun: "run-1", run: "c@1", sinceMs: 8 },
      took: { run: "c@1", ms: 9 },
      stopping: "c",
      waiting: { sinceMs: 10, engineRun: "run-1", met: { db: { start: "x", atMs: 11 } } },
      ungated: "started without db",
      failure: { fingerprint: "f", step: "s", failure: "retry", fault: "gone", message: "m", attempt: 1, nextMs: 12 },
      release: buildRelease("a".repeat(40)),
      rollout: { fingerprint: "f", engineRun: "run-1", spentMs: 13, seenMs: 14, sick: "ended with 1" },
      rolledBack: {
        wanted: "f",
        to: "g",
        revision: "a".repeat(40),
        reason: "it was asked for",
        why: { code: "asked-for" },
        uid: 0,
      },
      stoppedBy: { wanted: "f", uid: 1 },
      emptyBy: { uid: 2 },
      startAsked: { uid: 3, ignoreRequires: true },
      applied: { container: "c@1", files: { a: "b" }, stale: true },
      own: { specHash: "v1:1", volumes: [{ name: "v", target: "/data" }] },
      heldFor: "g",
      restartAsked: { uid: 4, atMs: 15 },
      job: { accountedMs: 16, current: { dueMs: 17 }, runs: [], skipped: 18 },
      repeated: { steps: "s", count: 1, rounds: 2, untilMs: 19 },
      later: { container: "c", fingerprint: "f" },
      shown: { state: "healthy", sinceMs: 20 },
      backup: { wanted: "f", sinceMs: 21, by: "pg_dump_20261120_0217" },
    },
  },
  removals: {},
  pauses: { all: { sinceMs: 21, uid: 5 } },
};

const GOOD = buildDesired("back", { revision: "b".repeat(40), spec: { image: "app:0" } });

function memoryOf(name: string, parts: Partial<StoredService> = {}): StoredService {
  const desired = DESIRED.find((service) => service.name === name) as DesiredService;
  return { fingerprint: desired.fingerprint, intentMs: NOW_MS - 90_000, attempt: 1, restarts: 2, ...parts };
}

const MEMORY: StoredNode = {
  services: {
    runs: memoryOf("runs", {
      lastExit: buildExit("runs"),
      release: buildRelease("a".repeat(40), { fingerprint: (DESIRED[0] as DesiredService).fingerprint }),
      shown: { state: "healthy", sinceMs: NOW_MS - 50_000 },
    }),
    back: memoryOf("back", {
      fingerprint: GOOD.fingerprint,
      rolledBack: {
        wanted: (DESIRED[1] as DesiredService).fingerprint,
        to: GOOD.fingerprint,
        revision: "b".repeat(40),
        reason: "it did not settle",
      },
      release: buildRelease("b".repeat(40), { fingerprint: GOOD.fingerprint }),
    }),
    fails: memoryOf("fails", {
      failure: {
        fingerprint: (DESIRED[2] as DesiredService).fingerprint,
        step: "ensure-image",
        failure: "infrastructure",
        message: "pull image: refused",
        attempt: 3,
        nextMs: NOW_MS + 30_000,
      },
      waiting: { sinceMs: NOW_MS - 5_000, engineRun: "run-1", met: { db: { start: "x", atMs: NOW_MS } } },
    }),
    job: memoryOf("job", {
      job: { accountedMs: NOW_MS - 100_000, current: { dueMs: NOW_MS - 1_000 }, runs: [], skipped: 0 },
    }),
    stopped: memoryOf("stopped", {
      stoppedBy: { wanted: (DESIRED[4] as DesiredService).fingerprint, uid: 1_000 },
    }),
  },
  removals: {
    gone: { sinceMs: NOW_MS - 60_000, specHash: "v1:99", failure: { message: "x", attempt: 1, nextMs: NOW_MS } },
  },
  pauses: { fails: { sinceMs: NOW_MS - 60_000, uid: 0 } },
  lanes: { "web.front/traffic": { message: "no", attempt: 1, nextMs: NOW_MS + 1_000, about: "switch" } },
};

const RELEASE = { ...buildRelease("b".repeat(40), { fingerprint: GOOD.fingerprint }), desired: GOOD };

const CONTAINERS: readonly ObservedContainer[] = [
  ...(["runs", "fails"] as const).map((name) => {
    const { specHash } = DESIRED.find((service) => service.name === name) as DesiredService;
    return buildContainer(name, { specHash, status: name === "fails" ? "exited" : "running" });
  }),
  buildContainer("back", { specHash: GOOD.specHash, image: "app:0" }),
  buildContainer("gone", { specHash: "v1:99", status: "exited" }),
];

/** The node's own things are there: only the services are asked about. */
function settle(engine: ObservedEngine): ObservedEngine {
  if (!engine.reachable) return engine;
  const containers = engine.containers.map((entry) => ({ ...entry, networks: { "orca-vm1": "172.28.0.2" } }));
  return { ...engine, networks: { "orca-vm1": { node: "vm1" } } as never, containers };
}

/** Plans with what was stored, as the loop does. */
function planWith(storedMemory: unknown, storedRelease: unknown): { planned: Plan; lost: Lost[] } {
  const lost: Lost[] = [];
  const memory = mapFromStored(readNodeMemory(storedMemory, lost));
  const { release } = readRelease(storedRelease);
  const turn = buildTurn({
    views: [],
    desired: DESIRED,
    containers: CONTAINERS,
    health: { runs: buildHealth(), back: buildHealth() },
  });
  const state = turn.desired as NonNullable<typeof turn.desired>;
  const find = (_service: string, id: string): DesiredService | undefined =>
    release?.fingerprint === id ? release.desired : undefined;
  const chosen = applyRollbacks(
    state,
    memory,
    { find, judge: () => undefined },
    { volumes: undefined, backups: {}, broken: {}, begun: new Map(), emergency: undefined },
  );
  const taken = takeOverLater(settle(turn.observed.engine), chosen.desired, memory);
  const world: World = {
    ...chosen,
    observed: { ...turn.observed, engine: taken.engine, hosts: {} },
    memory: taken.memory,
    peers: { kind: "assume" },
    settings: DEFAULT_PLAN_SETTINGS,
    nowMs: NOW_MS,
  };
  return { planned: plan(world), lost };
}

const copy = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

type Path = readonly (string | number)[];

function listPaths(value: unknown, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  const below = Object.entries(value).flatMap(([key, part]) => listPaths(part, [...path, key]));
  return path.length === 0 ? below : [path, ...below];
}

const STRANGE = [
  null,
  0,
  -1,
  1e300,
  "",
  "x",
  true,
  [],
  {},
  [null],
  { a: 1 },
  [[]],
  "2026-11-30",
  { __proto__: null, then: 1 },
];
const change = fc.record({
  at: fc.nat(),
  how: fc.constantFrom("remove" as const, "replace" as const, "add" as const),
  what: fc.constantFrom(...STRANGE),
});
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

/** Changes one place of a stored value; answers where. */
function damage(value: unknown, { at, how, what }: Change): Path {
  const paths = listPaths(value);
  const path = paths[at % paths.length] as Path;
  let parent = value as Record<string, unknown>;
  for (const key of path.slice(0, -1)) parent = parent[key] as Record<string, unknown>;
  const key = path.at(-1) as string;
  if (how === "remove") delete parent[key];
  else if (how === "add") parent[`${key}New`] = copy(what);
  else parent[key] = copy(what);
  return path;
}

const whole = planWith(copy(MEMORY), copy(writeRelease(RELEASE)));
const show = ({ planned }: { planned: Plan }, name: string): unknown => {
  const view = planned.services.find((entry) => entry.name === name);
  return { state: view?.state, operations: planned.operations.filter(({ lane }) => lane === name) };
};

test("what is whole is read whole", () => {
  expect(whole.lost).toEqual([]);
  expect(readRelease(copy(writeRelease(RELEASE)))).toEqual({ release: RELEASE, fault: undefined });
  expect(readNodeMemory(copy(MEMORY), [])).toEqual(copy(MEMORY));
  expect(NAMES.map((name) => [name, whole.planned.services.find((view) => view.name === name)?.state])).toEqual([
    ["runs", "healthy"],
    ["back", "rolled-back"],
    ["fails", "paused"],
    ["job", "starting"],
    ["stopped", "stopped"],
  ]);
});

test("what the parts of a memory hold is stored in one flat record, whole, as versions before the parts wrote and read it", () => {
  expect(mapToStored(mapFromStored(MEMORY))).toEqual(MEMORY);
  expect(mapToStored(mapFromStored(EVERYTHING))).toEqual(EVERYTHING);
  expect(Object.keys(EVERYTHING.services["all"] ?? {}).toSorted()).toEqual([...SERVICE_KEYS].toSorted());
  expect(readNodeMemory(copy(mapToStored(mapFromStored(EVERYTHING))), [])).toEqual(copy(EVERYTHING));
  expect(mapToStored(mapFromStored({}))).toEqual(EMPTY_MEMORY);
});

test("a memory without its services or its pauses is one of which something was lost, and that is said", () => {
  const lost: Lost[] = [];
  expect(readNodeMemory({}, lost)).toMatchObject({ services: {}, pauses: {} });
  expect(lost.map(({ path, reason }) => `${path}: ${reason}`)).toEqual([
    "memory.services: it is missing",
    "memory.pauses: it is missing",
  ]);
});

test("a stored memory changed anywhere costs the service that it speaks of, and no other", () => {
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const stored = copy(MEMORY);
      const paths = changes.map((one) => damage(stored, one));
      const read = planWith(stored, copy(writeRelease(RELEASE)));
      const about = new Set(paths.map((path) => (path.length > 1 ? path[1] : undefined)));
      for (const view of read.planned.services) expect(view.reason).not.toContain("planning failed");
      for (const name of NAMES) {
        if (about.has(name) || about.has(undefined)) continue;
        expect(show(read, name), name).toEqual(show(whole, name));
      }
      // What runs well goes on, whatever is remembered of it.
      expect(read.planned.operations.filter(({ lane }) => lane === "runs")).toEqual([]);
    }),
    { numRuns: SEEDS },
  );
});

test("a stored release changed anywhere: it is gone back to whole, or not at all, and it is said", () => {
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const stored = copy(writeRelease(RELEASE));
      for (const one of changes) damage(stored, one);
      const read = planWith(copy(MEMORY), stored);
      for (const view of read.planned.services) expect(view.reason).not.toContain("planning failed");
      for (const name of NAMES) if (name !== "back") expect(show(read, name), name).toEqual(show(whole, name));
      const { release, fault } = readRelease(stored);
      if (release?.desired === undefined && JSON.stringify(stored).includes('"desired":'))
        expect(fault).toBeTypeOf("string");
    }),
    { numRuns: SEEDS },
  );
});

test("the inputs in force changed anywhere still name every service, or are taken for unknown", () => {
  const inForce = {
    revision: "a".repeat(40),
    acceptedMs: NOW_MS,
    fleet: "[nodes.vm1]",
    services: Object.fromEntries(
      NAMES.map((name) => [name, { text: "image = 1", revision: "a".repeat(40), files: { a: "b" } }]),
    ),
  };
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const stored = copy(inForce);
      const removed = changes.map((one) => [one.how, damage(stored, one)] as const);
      const lost: Lost[] = [];
      const read = readInForce(stored, lost);
      const gone = new Set(removed.flatMap(([how, path]) => (how === "remove" && path.length === 2 ? [path[1]] : [])));
      if (read === undefined) expect(lost).not.toEqual([]);
      if (read === undefined) return;
      // A list that says "none" cannot be told from one that was damaged to say so.
      if (removed.some(([, path]) => path.length === 1)) return;
      for (const name of NAMES)
        if (!gone.has(name) && removed.every(([, path]) => path[1] !== name || path.length > 2))
          expect(Object.keys(read.services)).toContain(name);
      for (const service of Object.values(read.services)) expect(service.text).toBeTypeOf("string");
    }),
    { numRuns: SEEDS },
  );
});

describe("a service whose planning throws", () => {
  const broken = { ...buildDesired("broken"), update: undefined } as unknown as DesiredService;

  function planBroken(engine?: { reachable: false; reason: string }): Plan {
    const specHash = (DESIRED[0] as DesiredService).specHash;
    const turn = buildTurn({
      views: [],
      desired: [broken, DESIRED[0] as DesiredService],
      containers: [buildContainer("broken", { specHash: broken.specHash }), buildContainer("runs", { specHash })],
      health: { broken: buildHealth(), runs: buildHealth({ sinceMs: NOW_MS - 90_000 }) },
      ...(engine === undefined ? {} : { engine }),
    });
    const memory = mapFromStored({
      services: { broken: memoryOf("runs", { fingerprint: broken.fingerprint, restarts: 7 }) },
    });
    const desired = turn.desired as NonNullable<typeof turn.desired>;
    const world: World = {
      desired,
      wanted: new Map(),
      releases: new Map([["broken", broken]]),
      observed: { ...turn.observed, engine: settle(turn.observed.engine), hosts: {} },
      memory,
      peers: { kind: "assume" },
      settings: DEFAULT_PLAN_SETTINGS,
      nowMs: NOW_MS,
    };
    return plan(world);
  }

  test("is unknown with its reason, keeps its memory, and holds up no other", () => {
    const planned = planBroken();
    expect(planned.services.find(({ name }) => name === "broken")).toMatchObject({
      state: "unknown",
      reason: expect.stringMatching(/^planning failed: Cannot read properties of undefined/) as unknown,
      restarts: 7,
    });
    expect(planned.services.find(({ name }) => name === "runs")?.state).toBe("healthy");
    expect(planned.operations.filter(({ lane }) => lane === "broken")).toEqual([]);
    expect(planned.memory.services["broken"]?.backoff).toMatchObject({ restarts: 7 });
  });

  test("is unknown as all others are while the engine does not answer", () => {
    const planned = planBroken({ reachable: false, reason: "gone" });
    expect(planned.services.map(({ state }) => state)).toEqual(["unknown", "unknown"]);
  });
});

describe("a container that a later version made", () => {
  const later = `v2:${sha256("another rule")}`;
  const [runs] = DESIRED as [DesiredService];

  function planLater(memory: NodeMemory, desired: DesiredService): Plan {
    const turn = buildTurn({
      views: [],
      desired: [desired],
      containers: [buildContainer("runs", { specHash: later, image: "sha256:later" })],
      health: { runs: buildHealth() },
    });
    const state = turn.desired as NonNullable<typeof turn.desired>;
    const taken = takeOverLater(settle(turn.observed.engine), state, memory);
    return plan({
      desired: state,
      wanted: new Map(),
      releases: new Map(),
      observed: { ...turn.observed, engine: taken.engine, hosts: {} },
      memory: taken.memory,
      peers: { kind: "assume" },
      settings: DEFAULT_PLAN_SETTINGS,
      nowMs: NOW_MS,
    });
  }

  test("stays while the intent is the one that it was found with, and gives way to the next", () => {
    const first = planLater(EMPTY_MEMORY, runs);
    expect([first.operations, first.services[0]?.state]).toEqual([[], "healthy"]);
    const second = planLater(mapFromStored(readNodeMemory(copy(mapToStored(first.memory)), [])), runs);
    expect(second.operations).toEqual([]);
    const changed = buildDesired("runs", { spec: { image: "app:2" } });
    expect(planLater(second.memory, changed).operations[0]?.steps.map(({ kind }) => kind)).toContain(
      "create-container",
    );
  });
});

test("what an earlier version kept of a container's output within a text is cut off when it is read back", () => {
  const failed = { fingerprint: "f", step: "exec-in-container", failure: "retry", attempt: 0, nextMs: NOW_MS };
  const kept = {
    ...memoryOf("runs"),
    failure: { ...failed, message: "run psql in container: exit code 2: CANARY\nmore" },
    rolledBack: {
      wanted: "a",
      to: "b",
      revision: "c",
      reason: "c did not settle within 2m: check ended with 1: CANARY",
    },
    rollout: { fingerprint: "f", engineRun: "run-1", spentMs: 1, seenMs: 1, sick: "check ended with 1: CANARY" },
  };
  const known = readNodeMemory({ ...MEMORY, services: { runs: kept } }, []).services?.["runs"];
  expect(known).toMatchObject({
    failure: { message: "run psql in container: exit code 2" },
    rolledBack: { reason: "c did not settle within 2m: check ended with 1" },
    rollout: { sick: "check ended with 1" },
  });
});

test("why a service went back is stored as a code, with the words that earlier versions read; a later version's code is left out", () => {
  const fault = {
    code: "not-settled-within",
    revision: "c",
    withinMs: 120_000,
    why: { code: "does-not-run" },
  } as const;
  const back = { wanted: "a", to: "b", revision: "c", reason: describeReason(fault, 0) };
  const read = (rolledBack: object): unknown =>
    readNodeMemory({ ...MEMORY, services: { runs: { ...memoryOf("runs"), rolledBack } } }, []).services?.["runs"]
      ?.rolledBack;
  expect(read({ ...back, why: fault })).toEqual({ ...back, why: fault });
  expect(read(back)).toEqual(back);
  const later = { ...fault, why: { code: "of-a-later-version" } };
  expect(read({ ...back, why: later })).toEqual(back);
  expect(describeReason(nameRolledBack({ ...back, why: fault }, true), 0)).toBe(
    describeReason(nameRolledBack(back, true), 0),
  );
});

test("a release that was recorded while its start was blocked is read by every version, without that", () => {
  const blocked = { code: "secret-pending", path: "/prod/a/B" } as const;
  const stored = copy(writeRelease({ ...RELEASE, desired: { ...GOOD, blocked } }));
  expect(JSON.stringify(stored)).not.toContain("blocked");
  expect(readRelease(stored)).toEqual({ release: RELEASE, fault: undefined });
  const words = { ...RELEASE, desired: { ...GOOD, blocked: "it is not started: the secret is being read" } };
  expect(readRelease(copy(words)).release?.desired?.blocked).toBe(undefined);
});

test("the files of a release are stored by the names that earlier versions know, and come back as what they hold", () => {
  const file = { target: "/f", mode: "0444", owner: "1:1", onChange: "restart" } as const;
  const contents: FileContent[] = [
    { kind: "plain", hash: "ab12" },
    { kind: "secret", path: "/prod/app/A", version: "3" },
    { kind: "rendered", recipe: "cd34", secrets: ["/prod/app/A@3", "/prod/app/B@1"] },
  ];
  const files = contents.map((content) => ({ ...file, content }));
  const front = { ports: [80], drainMs: 1, service: { ...GOOD, files: files.slice(0, 1) } };
  const release = { ...RELEASE, desired: { ...GOOD, files, front } };
  const stored = copy(writeRelease(release));
  const names = ["ab12", "secret:/prod/app/A@3", "rendered:cd34+/prod/app/A@3+/prod/app/B@1"];
  expect(stored).toMatchObject({
    desired: { files: names.map((hash) => ({ hash })), front: { service: { files: [{ hash: "ab12" }] } } },
  });
  expect(JSON.stringify(stored)).not.toContain('"content"');
  expect(readRelease(stored).release?.desired).toMatchObject({
    files,
    front: { service: { files: files.slice(0, 1) } },
  });
  expect(names.map(readContentName)).toEqual(contents);
  expect(contents.map(findKeptHash)).toEqual(["ab12", undefined, "cd34"]);
});
