// Who is told of what, and how often: on a change and not on every turn, a flapping service within bounds, steady trouble
// never hidden, and the end of it told.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  type Alert,
  type AlertLimits,
  type AlertMemory,
  EMPTY_ALERTS,
  forgetAlert,
  judgeAlerts,
  listConditions,
} from "../../../agent/report/notify/alert-judge.ts";
import { beginState, type ReportState } from "../../../agent/report/status/report-state.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import { SERVICE_STATES, type ServiceState, type ServiceView } from "../../../shared/state/status.ts";
import { buildTurn, buildView, NOW_MS, type TurnParts } from "../../builders/node/turns.ts";

const HOUR_MS = 3_600_000;
const LIMITS: AlertLimits = { min: "info", repeatMs: 6 * HOUR_MS };

/** A node that a test moves through time. */
class Watched {
  memory: AlertMemory = EMPTY_ALERTS;
  nowMs = NOW_MS;
  limits: AlertLimits = LIMITS;
  state: ReportState = beginState(NOW_MS);
  auditTrouble: string | undefined;

  /** One turn; answers what is told. */
  turn(parts: TurnParts, afterMs = 1_000): Alert[] {
    this.nowMs += afterMs;
    const turn = buildTurn({ ...parts, endedMs: this.nowMs, source: { readMs: this.nowMs, ...parts.source } });
    this.state = reduceStatus(this.state, { kind: "turn", atMs: this.nowMs, turn });
    return this.look();
  }

  look(): Alert[] {
    const judged = judgeAlerts(
      this.memory,
      listConditions(this.state, this.nowMs, this.auditTrouble),
      this.limits,
      this.nowMs,
    );
    this.memory = judged.memory;
    return judged.alerts;
  }

  service(state: ServiceState, afterMs?: number, parts: Partial<ServiceView> = {}): Alert[] {
    return this.turn(
      { views: [buildView("web", { state, sinceMs: this.nowMs + (afterMs ?? 1_000), ...parts })] },
      afterMs,
    );
  }
}

const short = (alerts: readonly Alert[]): string[] =>
  alerts.map(({ subject, state, severity, resolved }) => `${subject} ${resolved ? "resolved" : state} ${severity}`);

describe("a change is told once", () => {
  test.each([
    ...(["failed", "stalled", "invalid", "refused", "held", "rolled-back"] as const).map(
      (state) => [state, "critical"] as const,
    ),
    ...(["backoff", "unhealthy"] as const).map((state) => [state, "warning"] as const),
    ["paused", "info"] as const,
  ])("%s is %s", (state, severity) => {
    const node = new Watched();
    expect(node.service("healthy")).toEqual([]);
    expect(short(node.service(state))).toEqual([`web ${state} ${severity}`]);
    for (let turn = 0; turn < 50; turn += 1) expect(node.service(state)).toEqual([]);
  });

  test.each(["waiting", "starting", "pulling", "healthy", "stopped", "completed", "removing", "unknown"] as const)(
    "%s is on its way, fine, or unknown with the engine: not told",
    (state) => {
      expect(new Watched().service(state)).toEqual([]);
    },
  );

  test("waiting and starting are told after five minutes", () => {
    for (const state of ["waiting", "starting"] as const) {
      const node = new Watched();
      expect(node.service(state)).toEqual([]);
      const sinceMs = node.nowMs;
      expect(node.service(state, 299_000, { sinceMs })).toEqual([]);
      expect(short(node.service(state, 1_000, { sinceMs }))).toEqual([`web ${state} warning`]);
    }
  });

  test("below the least severity nothing is told", () => {
    const node = new Watched();
    node.limits = { ...LIMITS, min: "critical" };
    expect(node.service("backoff")).toEqual([]);
    expect(short(node.service("failed"))).toEqual(["web failed critical"]);
  });

  test("trouble that stays is told again after the repeat interval", () => {
    const node = new Watched();
    node.service("failed");
    expect(node.service("failed", 6 * HOUR_MS - 1_000)).toEqual([]);
    const [again] = node.service("failed", 2_000);
    expect(again).toMatchObject({ state: "failed", previous: "failed", resolved: false });
  });
});

describe("the end of trouble", () => {
  test("is told once settled, whatever the least severity, and not before", () => {
    const node = new Watched();
    node.limits = { ...LIMITS, min: "critical" };
    node.service("failed");
    expect(node.service("starting")).toEqual([]);
    expect(node.service("healthy", 1_000, { settled: false })).toEqual([]);
    expect(node.service("healthy")).toMatchObject([
      { state: "healthy", previous: "failed", severity: "info", resolved: true },
    ]);
    expect(node.service("healthy")).toEqual([]);
  });

  test("of a service that is gone too", () => {
    const node = new Watched();
    node.service("failed");
    expect(node.turn({ views: [] })).toMatchObject([{ subject: "web", state: "gone", resolved: true }]);
  });

  test("is not told of trouble that nobody was told of", () => {
    const node = new Watched();
    node.limits = { ...LIMITS, min: "critical" };
    node.service("backoff");
    expect(node.service("healthy")).toEqual([]);
  });

  test("an engine that is away resolves nothing", () => {
    const node = new Watched();
    node.service("failed");
    expect(node.service("unknown")).toEqual([]);
  });
});

describe("flapping", () => {
  test("every service and state at most once in the repeat interval, however it flaps", () => {
    const states = fc.array(fc.constantFrom(...SERVICE_STATES), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(states, (list) => {
        const node = new Watched();
        const told = list.flatMap((state) => short(node.service(state)));
        expect(new Set(told).size).toBe(told.length);
      }),
    );
  });

  test("trouble that lasts after it was called resolved is not hidden by the bound", () => {
    const node = new Watched();
    node.service("backoff");
    node.service("healthy");
    expect(node.service("backoff")).toEqual([]);
    expect(node.service("backoff", 300_000)).toEqual([]);
    expect(short(node.service("backoff", 300_000))).toEqual(["web backoff warning"]);
  });

  test("a service that crashes and settles in turn all day does not tell all day", () => {
    const node = new Watched();
    const told: string[] = [];
    for (let round = 0; round < 24 * 60; round += 1) {
      told.push(...short(node.service("backoff", 20_000)), ...short(node.service("healthy", 40_000)));
    }
    // Four intervals of six hours, two words each.
    expect(told.length).toBeLessThanOrEqual(8);
  });

  test("a whole node in trouble tells at most thirty things in ten minutes, the gravest first, and the rest later", () => {
    const node = new Watched();
    const views = Array.from({ length: 60 }, (_, index) =>
      buildView(`s${index}`, { state: index >= 50 ? "failed" : "backoff", sinceMs: NOW_MS }),
    );
    const first = node.turn({ views });
    expect(first).toHaveLength(30);
    expect(first.slice(0, 10).every(({ severity }) => severity === "critical")).toBe(true);
    expect(node.turn({ views })).toEqual([]);
    const later = node.turn({ views }, 600_000);
    expect(new Set([...first, ...later].map(({ subject }) => subject)).size).toBe(60);
  });

  test("a clock that jumps back silences nobody", () => {
    const node = new Watched();
    node.service("failed");
    node.nowMs -= 30 * 24 * HOUR_MS;
    expect(short(node.service("stalled"))).toEqual(["web stalled critical"]);
  });
});

describe("the node itself", () => {
  test("an engine that does not answer is told after half a minute, and its return", () => {
    const node = new Watched();
    node.turn({ views: [] });
    const engine = { reachable: false, reason: "connect ENOENT" } as const;
    expect(node.turn({ views: [], engine })).toEqual([]);
    expect(node.turn({ views: [], engine }, 30_000)).toMatchObject([
      { subject: "@engine", service: undefined, state: "unreachable", severity: "critical", reason: "connect ENOENT" },
    ]);
    expect(node.turn({ views: [] })).toMatchObject([{ subject: "@engine", state: "ok", resolved: true }]);
  });

  test("a held input change at once, an unreadable source after five minutes", () => {
    for (const [kind, severity] of [
      ["removal", "critical"],
      ["trust", "critical"],
      ["approval", "warning"],
      ["freeze", "info"],
    ] as const) {
      const held = new Watched();
      held.limits = { ...LIMITS, min: "info" };
      const reason = "would remove 5 of 5";
      const source = {
        trouble: reason,
        holds: [
          { kind: "freeze", why: { code: "said", message: reason } },
          { kind, why: { code: "said", message: reason } },
        ] as const,
      };
      expect(short(held.turn({ views: [], source }))).toEqual([`@source held ${severity}`]);
    }
    const node = new Watched();
    node.turn({ views: [] });
    const readMs = node.nowMs;
    const source = { trouble: "GET: 500", retryMs: NOW_MS, readMs };
    expect(node.turn({ views: [], source }, 299_000)).toEqual([]);
    expect(short(node.turn({ views: [], source }, 1_000))).toEqual(["@source unreadable warning"]);
  });

  test("a source that was never read since the agent came is unreadable after five minutes, not at once", () => {
    const node = new Watched();
    const source = { trouble: "it is read for the first time", retryMs: NOW_MS, readMs: undefined };
    expect(node.turn({ views: [], source }, 1_000)).toEqual([]);
    expect(short(node.turn({ views: [], source }, 300_000))).toEqual(["@source unreadable warning"]);
  });

  test("a loop that fails for a minute, an audit log that cannot be written", () => {
    const node = new Watched();
    node.turn({ views: [] });
    node.nowMs += 61_000;
    node.state = reduceStatus(node.state, { kind: "turn-failed", atMs: node.nowMs, message: "boom", nextMs: 0 });
    expect(short(node.look())).toEqual(["@agent failing critical"]);
    node.auditTrouble = "no space left";
    expect(short(node.look())).toEqual(["@audit not-written critical"]);
  });

  test("disks below 20 and 10 per cent, of space or of inodes", () => {
    const node = new Watched();
    node.turn({ views: [] });
    const disk = { path: "/", totalBytes: 100, freeBytes: 19, inodes: 100, inodesFree: 100 };
    const host = { memoryTotalBytes: 1, memoryAvailableBytes: 1, cpus: 1, cpuLoadPercent: 0, uptimeSeconds: 1 };
    node.state = { ...node.state, host: { ...host, disks: [disk] } };
    expect(short(node.look())).toEqual(["@disk:/ full warning"]);
    node.state = { ...node.state, host: { ...host, disks: [{ ...disk, path: "/mnt/data", inodesFree: 9 }] } };
    const alerts = node.look();
    expect(short(alerts)).toContain("@disk:/mnt/data full critical");
    expect(alerts.find(({ severity }) => severity === "critical")?.reason).toBe(
      "/mnt/data: 9 % of its inodes are free",
    );
  });
});

test("what could not be delivered is told anew by the next look", () => {
  const node = new Watched();
  const [alert] = node.service("failed");
  if (alert === undefined) throw new Error("nothing was told");
  node.memory = forgetAlert(node.memory, alert);
  expect(short(node.service("failed"))).toEqual(["web failed critical"]);
  const [resolved] = node.service("healthy");
  if (resolved === undefined) throw new Error("no end was told");
  node.memory = forgetAlert(node.memory, resolved);
  expect(node.service("healthy")).toMatchObject([{ resolved: true, previous: "failed" }]);
});
