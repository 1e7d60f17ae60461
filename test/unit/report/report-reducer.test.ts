// What status knows after each event: views, changes by name, actions, OOM kills, peaks; and what it must not keep.

import { describeReason } from "../../../shared/text/describe-reason.ts";
import { describe, expect, test } from "vitest";

import { beginState, KEPT_ACTIONS, type ReportState } from "../../../agent/report/status/report-state.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import type { Step } from "../../../shared/state/step.ts";
import {
  buildContainer,
  buildDesired,
  buildExit,
  buildHealth,
  buildTurn,
  buildView,
  containerOf,
  NOW_MS,
  type TurnParts,
} from "../../builders/node/turns.ts";

function turn(parts: TurnParts): AgentEvent {
  return { kind: "turn", atMs: parts.endedMs ?? NOW_MS, turn: buildTurn(parts) };
}

function reduceAll(events: readonly AgentEvent[], from: ReportState = beginState(NOW_MS)): ReportState {
  return events.reduce(reduceStatus, from);
}

const START: Step = { kind: "start-container", service: "web", container: containerOf("web") };
const PULL: Step = { kind: "ensure-image", service: "web", image: "app:1" };

describe("turns", () => {
  test("a change of state is told once, with what it was before", () => {
    const first = reduceAll([turn({ views: [buildView("web", { state: "starting", reason: "first start" })] })]);
    expect(first.changes).toMatchObject([{ service: "web", state: "starting", previous: undefined }]);
    const second = reduceStatus(first, turn({ views: [buildView("web")] }));
    expect(second.changes).toMatchObject([{ service: "web", state: "healthy", previous: "starting" }]);
    const third = reduceStatus(second, turn({ views: [buildView("web", { reason: "another word" })] }));
    expect(third.changes).toEqual([]);
    expect(third.services.get("web")?.transitions.map(({ from, to }) => [from, to])).toEqual([
      ["starting", "healthy"],
      [undefined, "starting"],
    ]);
  });

  test("a service that is gone is told and forgotten", () => {
    const state = reduceAll([
      turn({ views: [buildView("web"), buildView("db")] }),
      turn({ views: [buildView("web")] }),
    ]);
    expect([...state.services.keys()]).toEqual(["web"]);
    expect(state.changes).toMatchObject([{ service: "db", state: undefined, previous: "healthy" }]);
  });

  test("a turn that knew of no desired state leaves what was known of services", () => {
    const state = reduceAll([turn({ views: [buildView("web")] }), turn({ views: [], state: "none" })]);
    expect(state.services.get("web")?.view.state).toBe("healthy");
    expect(state.changes).toEqual([]);
    expect(reduceAll([turn({ views: [], state: "none" })]).known).toBe(false);
  });

  test("health is the running container's, and none of one that does not run", () => {
    const views = [buildView("web"), buildView("db", { state: "backoff" })];
    const health = { web: buildHealth({ message: "GET: 200" }), db: buildHealth() };
    const containers = [buildContainer("web"), buildContainer("db", { status: "exited", pid: 0 })];
    const state = reduceAll([turn({ views, health, containers })]);
    expect(state.services.get("web")).toMatchObject({ health: "healthy", pid: 1_003 });
    expect(state.services.get("db")).toMatchObject({ health: undefined, pid: 0 });
  });

  test("an engine that does not answer keeps the list of unmanaged containers", () => {
    const foreign = [{ name: "old", image: "x:1", running: true, ports: ["80:80"], node: undefined }];
    const state = reduceAll([
      turn({ views: [], foreign }),
      turn({ views: [], engine: { reachable: false, reason: "connect ENOENT" }, endedMs: NOW_MS + 1_000 }),
    ]);
    expect(state.unmanaged).toEqual(foreign);
    expect(state.engine).toMatchObject({ reachable: false, reason: "connect ENOENT", sinceMs: NOW_MS + 1_000 });
  });

  test("a password in the source's address is left out", () => {
    const source = {
      location: "https://bot:hunter2@git.example/x.git",
      trouble: "GET https://bot:hunter2@git.example: 500",
    };
    const text = JSON.stringify(reduceAll([turn({ views: [], source })]).source);
    expect(text).toContain("git.example");
    expect(text).not.toContain("hunter2");
  });

  test("a failed turn counts and shows until one is completed", () => {
    const failed = reduceAll([{ kind: "turn-failed", atMs: NOW_MS, message: "Error: boom\n    at x", nextMs: NOW_MS }]);
    expect(failed.turn).toMatchObject({ failed: 1, completed: 0, trouble: { message: "Error: boom" } });
    expect(reduceStatus(failed, turn({ views: [] })).turn).toMatchObject({
      failed: 1,
      completed: 1,
      trouble: undefined,
    });
  });
});

describe("changes of intent", () => {
  const next = (parts: Parameters<typeof buildDesired>[1]): AgentEvent =>
    turn({ views: [buildView("web")], desired: [buildDesired("web", { revision: "b".repeat(40), ...parts })] });

  test("names what changed; values only of what everybody may read", () => {
    const spec = { image: "app:2", env: { KC_DB: "other", NEW: "x" }, ports: ["127.0.0.1:80:80"] };
    const state = reduceAll([turn({ views: [buildView("web")] }), next({ spec })]);
    expect(state.services.get("web")?.change).toEqual({
      atMs: NOW_MS,
      fromRevision: "a".repeat(40),
      toRevision: "b".repeat(40),
      fields: [
        { field: "env.KC_DB" },
        { field: "env.NEW" },
        { field: "image", from: "app:1", to: "app:2" },
        { field: "ports" },
      ],
    });
  });

  test("names caps, files and what only the agent acts on", () => {
    const state = reduceAll([
      turn({ views: [buildView("web")] }),
      next({
        caps: { memoryBytes: 2 ** 27, nanoCpus: 15e8, cpuShares: 0, pids: 512 },
        files: [
          {
            target: "/etc/app.conf",
            content: { kind: "plain", hash: "1" },
            mode: "0444",
            owner: undefined,
            onChange: "restart",
          },
        ],
        owner: "identity",
        running: false,
        wantsTimeoutMs: 1,
      }),
    ]);
    expect(state.services.get("web")?.change?.fields).toEqual([
      { field: "files./etc/app.conf" },
      { field: "owner", to: "identity" },
      { field: "resources.cpus", to: "1.5" },
      { field: "resources.memory", from: "64 MiB", to: "128 MiB" },
      { field: "state", from: "running", to: "stopped" },
      { field: "wants_timeout" },
    ]);
  });

  test("which volume a restore has made is named as that, and volumes of the manifest stay the same", () => {
    const spec = (name: string, base: object): object => ({
      image: "app:1",
      volumes: [{ name, target: "/d", ...base }],
    });
    const state = reduceAll([
      turn({ views: [buildView("web")], desired: [buildDesired("web", { spec: spec("data", {}) as never })] }),
      next({ spec: spec("data.2", { of: "data" }) as never, fingerprint: "other" }),
    ]);
    const fields = state.services.get("web")?.change?.fields ?? [];
    expect(fields.filter(({ field }) => field.includes("volume"))).toEqual([
      { field: "restored volume of data", to: "data.2" },
    ]);
  });

  test("a changed comment is no change", () => {
    const state = reduceAll([turn({ views: [buildView("web")] }), next({ fingerprint: "other" })]);
    expect(state.services.get("web")?.change).toBeUndefined();
  });

  test("no environment value, file content or log line is kept", () => {
    const spec = { image: "app:1", env: { A: "CANARY-1" }, labels: { x: "CANARY-2" }, command: ["run", "CANARY-3"] };
    const state = reduceAll([
      turn({
        views: [buildView("web")],
        desired: [buildDesired("web", { spec })],
        containers: [buildContainer("web", { logTail: ["CANARY-4"] })],
        state: { contents: new Map([["h", Buffer.from("CANARY-5")]]) },
      }),
      next({ spec: { ...spec, env: { A: "CANARY-6" } } }),
      { kind: "exited", atMs: NOW_MS, exit: buildExit("web", { logTail: ["CANARY-7"] }) },
    ]);
    expect(JSON.stringify([...state.services])).not.toContain("CANARY");
    expect(JSON.stringify(state)).not.toContain("CANARY");
  });
});

describe("what a command printed", () => {
  test("an exec probe's output is cut out of every reason, and kept for the socket only", () => {
    const said = { message: "pg_isready ended with 2", output: "FATAL: password CANARY" };
    const fact = { code: "unhealthy", failures: 3, said } as const;
    const view = buildView("web", { state: "unhealthy", fact });
    const cause = { kind: "unhealthy", why: fact, detail: describeReason(fact, NOW_MS) } as const;
    const state = reduceAll([
      turn({ views: [view], health: { web: buildHealth({ status: "unhealthy", ...said }) } }),
      { kind: "step-done", atMs: NOW_MS, lane: "web", step: START, cause, tookMs: 5, changed: true },
      {
        kind: "step-failed",
        atMs: NOW_MS,
        lane: "web",
        step: START,
        cause,
        message: "run x in container: exit code 1",
        output: "CANARY",
      },
    ]);
    const record = state.services.get("web");
    expect(record?.probe).toBe("pg_isready ended with 2: FATAL: password CANARY");
    expect(JSON.stringify({ ...record, probe: undefined })).not.toContain("CANARY");
    expect(record?.view.reason).toBe("unhealthy after 3 failed probes: pg_isready ended with 2");
    expect(JSON.stringify(state.changes)).not.toContain("CANARY");
  });
});

describe("actions", () => {
  const cause = {
    kind: "commit",
    why: { code: "said", said: { message: "new spec from abc" } },
    detail: "new spec from abc",
  } as const;
  const known = reduceAll([turn({ views: [buildView("web")] })]);
  const done = (atMs: number): AgentEvent => ({
    kind: "step-done",
    atMs,
    lane: "web",
    step: START,
    cause,
    tookMs: 12,
    changed: true,
  });
  const failed = (atMs: number, message: string): AgentEvent => ({
    kind: "step-failed",
    atMs,
    lane: "web",
    step: PULL,
    cause,
    message,
  });

  test("keeps the last ones, newest first, and what changed nothing is none", () => {
    const unchanged: AgentEvent = {
      kind: "step-done",
      atMs: NOW_MS,
      lane: "web",
      step: PULL,
      cause,
      tookMs: 1,
      changed: false,
    };
    const state = reduceAll([unchanged, ...Array.from({ length: 30 }, (_, index) => done(NOW_MS + index))], known);
    const actions = state.services.get("web")?.actions ?? [];
    expect(actions).toHaveLength(KEPT_ACTIONS);
    expect(actions[0]).toMatchObject({
      atMs: NOW_MS + 29,
      action: "start-container",
      cause: "commit: new spec from abc",
      ok: true,
    });
  });

  test("the same failure again is one entry with a count", () => {
    const state = reduceAll([done(1), failed(2, "no route"), failed(3, "no route"), failed(4, "disk full")], known);
    const actions = state.services.get("web")?.actions ?? [];
    expect(actions.map(({ message, times, atMs }) => [message, times, atMs])).toEqual([
      ["disk full", 1, 4],
      ["no route", 2, 3],
      [undefined, 1, 1],
    ]);
  });

  test("what a person asked for is there with who asked, without the words of a command", () => {
    const actor = { uid: 1000, user: "ada" };
    const state = reduceAll(
      [{ kind: "acted", atMs: 9, actor, action: "exec", service: "web", detail: '["psql","CANARY"]' }],
      known,
    );
    expect(state.services.get("web")?.actions[0]).toMatchObject({ action: "exec", cause: "uid 1000 (ada) asked" });
    expect(JSON.stringify([...state.services])).not.toContain("CANARY");
  });

  test("what happens before the first turn is not lost", () => {
    const state = reduceAll([done(5), turn({ views: [buildView("web")] })]);
    expect(state.services.get("web")?.actions).toHaveLength(1);
  });
});

describe("memory", () => {
  test("an OOM counts once for a run, whether it is seen running or as an exit", () => {
    const running = turn({ views: [buildView("web")], containers: [buildContainer("web", { oomKilled: true })] });
    const exit = buildExit("web", { oom: true, startedMs: NOW_MS - 60_000 });
    const state = reduceAll([running, running, { kind: "exited", atMs: NOW_MS, exit }]);
    expect(state.services.get("web")?.oom).toMatchObject({ kills: 1, capBytes: 64 * 2 ** 20 });
    const again = reduceStatus(state, { kind: "exited", atMs: NOW_MS, exit: { ...exit, startedMs: NOW_MS } });
    expect(again.services.get("web")?.oom?.kills).toBe(2);
  });

  test("an exit code of 137 alone is no OOM", () => {
    const exit = buildExit("web", { exitCode: 137, signal: 9 });
    const state = reduceAll([turn({ views: [buildView("web")] }), { kind: "exited", atMs: NOW_MS, exit }]);
    expect(state.services.get("web")?.oom).toBeUndefined();
  });

  test("keeps the peak, and takes nothing above the cap for a reading", () => {
    const sample = (workingSetBytes: number): Parameters<typeof reduceStatus>[1] => ({
      kind: "sampled",
      atMs: NOW_MS,
      host: undefined,
      engineVersion: "20.10",
      memory: new Map([[1_003, { workingSetBytes }]]),
    });
    const base = reduceAll([turn({ views: [buildView("web")] })]);
    const state = [sample(30), sample(50), sample(40), sample(2 ** 40)].reduce(reduceStatus, base);
    expect(state.services.get("web")).toMatchObject({ memoryUsedBytes: undefined, peakBytes: 50 });
    expect(state.engine.version).toBe("20.10");
  });

  test("another image has another peak", () => {
    const base = reduceAll([turn({ views: [buildView("web")] })]);
    const record = base.services.get("web");
    if (record === undefined) throw new Error("web is not known");
    const used = { ...base, services: new Map([["web", { ...record, peakBytes: 50 }]]) };
    const desired = [buildDesired("web", { spec: { image: "app:2" } })];
    expect(
      reduceStatus(used, turn({ views: [buildView("web")], desired })).services.get("web")?.peakBytes,
    ).toBeUndefined();
  });
});
