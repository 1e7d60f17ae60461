// Whoever gets the traffic, in whatever world: nobody ends while requests go there, and none goes to who is not well while
// another one is.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { buildFront, selectFrontPorts } from "../../../agent/desired/build/front-service.ts";
import { plan } from "../../../agent/plan/plan.ts";
import { DEFAULT_PLAN_SETTINGS, type Plan, type World } from "../../../agent/plan/world.ts";
import type { FrontRouting } from "../../../shared/state/front.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { beginService, EMPTY_MEMORY, setPart } from "../../../shared/state/memory.ts";
import type { HealthView, ObservedContainer } from "../../../shared/state/observed-state.ts";
import type { Step } from "../../../shared/state/step.ts";
import {
  buildContainer,
  buildDesired,
  buildHealth,
  buildTurn,
  containerOf,
  NOW_MS,
} from "../../builders/node/turns.ts";

const FRONT = "app.front";
const manifest = manifestSchema.parse({
  image: "app:1",
  ports: ["8080:80"],
  resources: { memory: "64MiB" },
  health: { http: { port: 80 } },
  update: { order: "start-first" },
});
const plain = buildDesired("app", { spec: { image: "app:1", behind: FRONT } });
const { front } = buildFront(plain, { manifest, image: "haproxy:1", aliases: ["app"] });
const desired = { ...plain, front, update: { ...plain.update, order: "start-first" as const } };

/** One container of the service: the wanted one, or an older one. */
interface Copy {
  name: "current" | "before" | "older";
  status: ObservedContainer["status"];
  /** Found: it ran before this agent, whose probes have not decided yet. */
  health: HealthView["status"] | "found";
}

const copy = (name: Copy["name"]): fc.Arbitrary<Copy> =>
  fc.record({
    name: fc.constant(name),
    status: fc.constantFrom("created", "running", "running", "running", "exited"),
    health: fc.constantFrom("starting", "healthy", "healthy", "unhealthy", "found"),
  });

const cases = fc.record({
  copies: fc.tuple(copy("current"), copy("before"), copy("older")).chain((all) => fc.shuffledSubarray(all)),
  front: fc.constantFrom<HealthView["status"] | "none">("healthy", "healthy", "healthy", "starting", "none"),
  told: fc.constantFrom("unknown", "another run", "nobody", "current", "before", "older", "gone"),
  isGood: fc.boolean(),
});
type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

const ADDRESSES: Record<string, string> = {
  current: "10.0.0.2",
  before: "10.0.0.3",
  older: "10.0.0.4",
  gone: "10.0.0.9",
};

function buildWorld({ copies, front: frontHealth, told, isGood }: Case): World {
  const containers = copies.map(({ name, status }) =>
    buildContainer(name, {
      service: "app",
      specHash: name === "current" ? desired.specHash : `v1:${name}`,
      image: name === "current" ? "app:1" : "app:0",
      status,
      frontName: FRONT,
      revision: name,
      networks: { "orca-vm1": status === "running" ? (ADDRESSES[name] ?? "") : "" },
      ...(status === "exited" ? { finishedMs: NOW_MS - 1_000, exitCode: 1 } : {}),
    }),
  );
  const spec = { specHash: front.service.specHash, image: "haproxy:1", caps: front.service.caps };
  const fronts =
    frontHealth === "none" ? [] : [buildContainer(FRONT, { ...spec, networks: { "orca-vm1": "10.0.0.1" } })];
  const view = (health: Copy["health"]): HealthView => {
    const status = health === "found" ? "starting" : health;
    return buildHealth({ status, sinceMs: NOW_MS - 5_000, ...(health === "found" ? { found: true } : {}) });
  };
  const running = copies.filter(({ status }) => status === "running");
  const health = Object.fromEntries([
    ...running.map((entry) => [entry.name, view(entry.health)] as const),
    ...(frontHealth === "none" ? [] : [[FRONT, view(frontHealth)] as const]),
  ]);
  const run = `${containerOf(FRONT)}@${NOW_MS - 60_000}`;
  const says: FrontRouting = { run: told === "another run" ? "old@1" : run, address: ADDRESSES[told] };
  const turn = buildTurn({
    views: [],
    desired: [desired, front.service],
    health,
    engine: {
      reachable: true,
      run: "run-1",
      containers: [...containers, ...fronts],
      volumes: {},
      foreign: [],
      networks: { "orca-vm1": { node: "vm1", internal: false, subnets: [] } },
    },
  });
  if (turn.desired === undefined) throw new Error("the turn has no desired state");
  const release = isGood ? desired.fingerprint : "before";
  const memory = setPart(beginService(desired.fingerprint), "release", {
    lastGood: {
      fingerprint: release,
      specHash: isGood ? desired.specHash : "v1:before",
      revision: "r",
      image: "i",
      settledMs: 1,
    },
  });
  return {
    observed: { ...turn.observed, hosts: {}, fronts: new Map(told === "unknown" ? [] : [[FRONT, says]]) },
    desired: turn.desired,
    memory: { ...EMPTY_MEMORY, services: { app: memory } },
    peers: { kind: "assume" },
    settings: DEFAULT_PLAN_SETTINGS,
    nowMs: NOW_MS,
    wanted: new Map(),
    releases: new Map(),
  };
}

function steps<K extends Step["kind"]>(planned: Plan, kind: K): Extract<Step, { kind: K }>[] {
  const all = planned.operations.flatMap((operation) => operation.steps);
  return all.filter((step): step is Extract<Step, { kind: K }> => step.kind === kind);
}

const isWell = ({ copies }: Case, name: string): boolean =>
  copies.some((entry) => entry.name === name && entry.status === "running" && entry.health === "healthy");
const isTold = ({ front: health, told }: Case, name: string): boolean => health === "healthy" && told === name;

describe("in any world", () => {
  const expectAlways = (property: (world: Case, planned: Plan) => void): void => {
    fc.assert(
      fc.property(cases, (world) => property(world, plan(buildWorld(world)))),
      { numRuns: 2_000 },
    );
    // A property of worlds that never come would hold of anything.
    expect(expect.getState().assertionCalls).toBeGreaterThan(0);
  };

  test("no container that gets the traffic and is well is stopped or removed", () => {
    expectAlways((world, planned) => {
      const ended = [...steps(planned, "stop-container"), ...steps(planned, "remove-container")];
      for (const name of ["current", "before", "older"])
        if (isTold(world, name) && isWell(world, name))
          expect(ended.map(({ container }) => container)).not.toContain(containerOf(name));
    });
  });

  test("nobody that is well ends before the front sends the traffic to another one that runs", () => {
    expectAlways((world, planned) => {
      const ended = new Set<string>(steps(planned, "stop-container").map(({ container }) => container));
      const other = world.copies.filter((entry) => ended.has(containerOf(entry.name)));
      for (const entry of other.filter(({ name }) => isWell(world, name))) {
        const serving = world.copies.find(({ name }) => name !== entry.name && isTold(world, name));
        expect(serving?.status).toBe("running");
      }
    });
  });

  test("the traffic goes to who is well where anybody is, and to nobody that does not run", () => {
    expectAlways((world, planned) => {
      for (const { address } of steps(planned, "switch-traffic")) {
        const names = world.copies.filter(({ name }) => isWell(world, name)).map(({ name }) => ADDRESSES[name]);
        if (names.length > 0) expect(names).toContain(address);
        const running = world.copies.filter(({ status }) => status === "running").map(({ name }) => ADDRESSES[name]);
        if (address !== undefined) expect(running).toContain(address);
      }
    });
  });

  test("who had the traffic before this agent began keeps it until its probes have decided", () => {
    expectAlways((world, planned) => {
      const had = world.copies.find(({ name, status }) => status === "running" && isTold(world, name));
      const rival = world.isGood && had?.name !== "current" && isWell(world, "current");
      const older = !world.isGood && had?.name === "current" && (isWell(world, "before") || isWell(world, "older"));
      if (had?.health !== "found" || rival || older) return;
      expect(steps(planned, "switch-traffic")).toEqual([]);
      expect(steps(planned, "stop-container").map(({ container }) => container)).not.toContain(containerOf(had.name));
    });
  });

  test("a front of which it is not known who gets its traffic is told nothing", () => {
    expectAlways((world, planned) => {
      if (world.told === "unknown" || world.told === "another run")
        expect(steps(planned, "switch-traffic")).toEqual([]);
    });
  });

  test("a release that is not good yet takes no traffic from one that is well", () => {
    expectAlways((world, planned) => {
      if (world.isGood || (!isWell(world, "before") && !isWell(world, "older"))) return;
      for (const { address } of steps(planned, "switch-traffic")) expect(address).not.toBe(ADDRESSES["current"]);
    });
  });

  test("a front that does not answer is told nothing, and the order in which things are seen changes nothing", () => {
    expectAlways((world, planned) => {
      if (world.front !== "healthy") expect(steps(planned, "switch-traffic")).toEqual([]);
      const again = plan(buildWorld({ ...world, copies: world.copies.toReversed() }));
      expect(JSON.stringify(again.operations)).toBe(JSON.stringify(planned.operations));
    });
  });
});

describe("the ports of a front", () => {
  const select = (parts: object): string[] =>
    selectFrontPorts(
      manifestSchema.parse({ image: "a:1", resources: { memory: "64MiB" }, health: { exec: ["true"] }, ...parts }),
    ).map(({ port, mode }) => `${port} ${mode}`);

  test("are those that the manifest names; what speaks HTTP in clear is switched by request", () => {
    expect(select({ ports: ["5432:5432"] })).toEqual(["5432 tcp"]);
    expect(select({ ports: ["80:8080", "443:8443"], health: { http: { port: 8080 } } })).toEqual([
      "8080 http",
      "8443 tcp",
    ]);
    expect(select({ ports: ["443:8443"], health: { http: { port: 8443, scheme: "https" } } })).toEqual(["8443 tcp"]);
    expect(select({ routes: [{ host: "a.example", port: 3000 }], health: { tcp: { port: 9 } } })).toEqual([
      "9 tcp",
      "3000 http",
    ]);
    expect(select({})).toEqual([]);
  });

  test("leave the front's own health check a free one", () => {
    const taken = manifestSchema.parse({
      image: "a:1",
      ports: ["8405:8405", "8406:8406"],
      resources: { memory: "64MiB" },
      health: { tcp: { port: 8405 } },
    });
    const built = buildFront(plain, { manifest: taken, image: "haproxy:1", aliases: [] });
    expect(built.front.service.health?.http?.port).toBe(8407);
    expect(new TextDecoder().decode(built.config)).toContain("bind :8407\n");
  });
});

describe("the front's own configuration", () => {
  test("has no line but its own: a port that is none is not rendered", () => {
    for (const port of ["80\n  http-request return string x", 0, 70_000, 1.5]) {
      const ports = [{ ...manifest.ports[0], containerPort: port }] as typeof manifest.ports;
      const build = (): unknown =>
        buildFront(plain, { manifest: { ...manifest, ports }, image: "haproxy:1", aliases: [] });
      expect(build, String(port)).toThrow(/is no port/);
    }
  });
});
