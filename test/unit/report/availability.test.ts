// Availability over 30 simulated days against a log of planted outages, by seed: the thresholds of the real probes, the keeper and SQLite as
// they are, an agent that is killed and started again. And what peers say of a host that was lost.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { beginHealth, nextHealth } from "../../../agent/health/thresholds.ts";
import { Store } from "../../../agent/host/store/store.ts";
import { PromiseKeeper } from "../../../agent/report/promise/promise-keeper.ts";
import type { LostNode } from "../../../shared/slo/availability.ts";
import type { HealthCheck } from "../../../shared/manifest/manifest.ts";
import type { HealthView } from "../../../shared/state/observed-state.ts";
import type { ServiceState } from "../../../shared/state/status.ts";
import { buildContainer, buildDesired, buildTurn, buildView } from "../../builders/node/turns.ts";

const INTERVAL = 60_000;
const MINUTE = 60_000;
const DAY = 86_400_000;
const START = Date.UTC(2026, 9, 1);
const CHECK = { interval: INTERVAL, timeout: 5_000, retries: 3, start_period: 0 } as HealthCheck;
const RUNS = process.env["ORCA_SLOW"] === undefined ? 3 : 60;

let directory = "";
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "orca-availability-"))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** One node with one service in the test's hand. Its wall clock and its monotonic one begin at a boot. */
class Machine {
  nowMs = START;
  bootedMs = START - DAY;
  boot = "boot-1";
  lost: LostNode[] = [];
  store = Store.open(directory, START);
  keeper = this.#open();
  isDown: (atMs: number) => boolean = () => false;
  #view: HealthView | undefined;
  #startedMs = START - 1_000;
  #probedMs = Number.NEGATIVE_INFINITY;
  state: ServiceState = "healthy";
  desired: Parameters<typeof buildDesired>[1] = {};

  #open(): PromiseKeeper {
    return new PromiseKeeper({
      clock: { nowMs: () => this.nowMs, monotonicMs: () => this.nowMs - this.bootedMs, after: () => () => undefined },
      bootId: this.boot,
      store: () => this.store.promises,
      hearLosses: () => this.lost,
    });
  }

  /** kill -9, and a new agent at a later time. */
  killUntil(atMs: number): void {
    this.store.close();
    this.nowMs = atMs;
    this.store = Store.open(directory, atMs);
    this.keeper = this.#open();
    this.#view = undefined;
    this.#probedMs = Number.NEGATIVE_INFINITY;
  }

  /** The host is off until then: what ran is gone. */
  rebootAt(atMs: number, agentMs: number): void {
    this.bootedMs = atMs;
    this.boot = `boot-${atMs}`;
    this.killUntil(agentMs);
    this.#startedMs = agentMs;
  }

  /** Probes and turns until then; a turn comes when a view changes its status, and at least every two minutes. */
  runUntil(endMs: number): void {
    let turnedMs = Number.NEGATIVE_INFINITY;
    for (; this.nowMs < endMs; this.nowMs += 15_000) {
      const changed = this.#probe();
      if (!changed && this.nowMs - turnedMs < 105_000) continue;
      turnedMs = this.nowMs;
      this.turn();
    }
  }

  turn(): void {
    const view = buildView("web", { state: this.state, settled: this.state === "healthy" });
    const turn = buildTurn({
      endedMs: this.nowMs,
      views: [view],
      desired: [buildDesired("web", this.desired)],
      containers: [buildContainer("web", { startedMs: this.#startedMs })],
      health: this.#view === undefined ? {} : { web: this.#view },
    });
    this.keeper.hear({ kind: "turn", atMs: this.nowMs, turn });
  }

  get times(): { up: number; down: number; unknown: number } {
    const { upMs = 0, downMs = 0, unknownMs = 0 } = this.keeper.list()[0] ?? {};
    return { up: upMs, down: downMs, unknown: unknownMs };
  }

  get incident(): { tookMs: number; ended: boolean; state: string } | undefined {
    const incident = this.keeper.list()[0]?.incident;
    return incident && { tookMs: incident.tookMs, ended: incident.endedMs !== undefined, state: incident.state };
  }

  #probe(): boolean {
    if (this.nowMs - this.#probedMs < INTERVAL) return false;
    this.#probedMs = this.nowMs;
    const before = this.#view ?? beginHealth({ startedMs: this.#startedMs }, this.nowMs, true);
    const kind = this.isDown(this.nowMs) ? "failed" : "ok";
    const at = { nowMs: this.nowMs, begunMs: this.#startedMs, watchedMs: this.nowMs };
    this.#view = nextHealth(before, { kind, message: "" }, CHECK, at);
    this.state = this.#view.status === "healthy" ? "healthy" : "unhealthy";
    return this.#view.status !== before.status;
  }
}

/** What happens, one after the other: an outage or a kill of the agent, each with quiet around it. */
const happenings = fc.array(
  fc.record({
    kind: fc.constantFrom("outage", "outage", "kill"),
    quietMs: fc.integer({ min: 10 * MINUTE, max: 2 * DAY }),
    forMs: fc.integer({ min: 1_000, max: 3 * 3_600_000 }),
  }),
  { minLength: 15, maxLength: 30 },
);

describe("against a log of planted outages", () => {
  test("each is measured within one interval of the probes, and the agent's own gaps are unknown and nothing else", () => {
    fc.assert(
      fc.property(happenings, (list) => {
        rmSync(directory, { recursive: true, force: true });
        const machine = new Machine();
        machine.runUntil(START + 10 * MINUTE);
        for (const { kind, quietMs, forMs } of list) {
          const endMs = machine.nowMs + quietMs + forMs + 15 * MINUTE;
          if (endMs > START + 29 * DAY) break;
          machine.runUntil(machine.nowMs + quietMs);
          const before = machine.times;
          const fromMs = machine.nowMs;
          if (kind === "outage") {
            machine.isDown = (atMs) => atMs >= fromMs + 7_000 && atMs < fromMs + 7_000 + forMs;
            machine.runUntil(endMs);
            const after = machine.times;
            expect(Math.abs(after.down - before.down - forMs)).toBeLessThanOrEqual(INTERVAL);
            expect(after.unknown).toBe(before.unknown);
            expect(after.up + after.down - before.up - before.down).toBeLessThanOrEqual(
              machine.nowMs - fromMs + 120_000,
            );
          } else {
            machine.killUntil(fromMs + forMs);
            machine.runUntil(machine.nowMs + 10 * MINUTE);
            const after = machine.times;
            expect(after.down).toBe(before.down);
            // The minute before a kill may not have been written, and a turn after it no probe has answered yet.
            expect(after.unknown - before.unknown).toBeGreaterThanOrEqual(forMs);
            expect(after.unknown - before.unknown).toBeLessThanOrEqual(forMs + 4 * MINUTE);
          }
        }
        const { up, down, unknown } = machine.times;
        // All time is one of the three: what was not written before a kill is counted with the gap.
        expect(Math.abs(up + down + unknown - (machine.nowMs - START))).toBeLessThanOrEqual(4 * MINUTE);
        machine.store.close();
      }),
      { numRuns: RUNS },
    );
  }, 240_000);

  test("what lies further back than 30 days counts no more", () => {
    const machine = new Machine();
    machine.isDown = (atMs) => atMs > START + 3_600_000 && atMs < START + 3 * 3_600_000;
    machine.runUntil(START + 6 * 3_600_000);
    expect(machine.times.down).toBeGreaterThan(7_000_000);
    machine.killUntil(START + 31 * DAY);
    machine.runUntil(machine.nowMs + 2 * 3_600_000);
    expect(machine.times.down).toBe(0);
    expect(machine.times.unknown).toBeGreaterThan(29 * DAY);
    machine.store.close();
  });
});

test("that a service is up for the first time is written at once: what a kill a moment later takes is unknown", () => {
  const machine = new Machine();
  machine.turn();
  machine.runUntil(START + 30_000);
  machine.killUntil(START + 60_000);
  machine.turn();
  expect(machine.times.unknown).toBeGreaterThanOrEqual(30_000);
  machine.store.close();
});

describe("a service that Git has stopped", () => {
  test("counts neither way, and a job is not measured", () => {
    const machine = new Machine();
    machine.runUntil(START + 3_600_000);
    const before = machine.times;
    machine.desired = { running: false };
    machine.turn();
    machine.nowMs += DAY;
    machine.turn();
    machine.desired = {};
    machine.turn();
    const { up, down, unknown } = machine.times;
    expect(up + down + unknown - before.up - before.down - before.unknown).toBeLessThan(2 * MINUTE);
    machine.desired = { kind: "job" };
    machine.turn();
    expect(machine.keeper.list()).toEqual([]);
    machine.store.close();
  });
});

describe("a host that was lost", () => {
  const lose = (): Machine => {
    const machine = new Machine();
    machine.runUntil(START + DAY);
    machine.rebootAt(START + DAY + 3 * 3_600_000, START + DAY + 3 * 3_600_000 + 2 * MINUTE);
    machine.runUntil(machine.nowMs + 3_600_000);
    return machine;
  };

  test("was down from its boot on until the service was up; before that nobody knows without peers", () => {
    const { times, store } = lose();
    expect(times.down).toBeGreaterThanOrEqual(2 * MINUTE);
    expect(times.down).toBeLessThan(4 * MINUTE);
    expect(Math.abs(times.unknown - 3 * 3_600_000)).toBeLessThan(4 * MINUTE);
    store.close();
  });

  test("counts as down for as long as a peer says that it was dead, once, also after a restart; so does its incident", () => {
    const machine = lose();
    const before = machine.times;
    const fromMs = START + DAY + 5 * MINUTE;
    machine.lost = [{ node: "vm1", fromMs, toMs: START + DAY + 3 * 3_600_000 + 60_000 }];
    machine.runUntil(machine.nowMs + 5 * MINUTE);
    const after = machine.times;
    const moved = START + DAY + 3 * 3_600_000 - fromMs;
    expect(after.down - before.down).toBe(moved);
    expect(before.unknown - after.unknown).toBe(moved);
    expect(machine.incident).toMatchObject({ state: "lost", ended: true });
    expect(machine.incident?.tookMs).toBeGreaterThan(moved);
    expect(machine.incident?.tookMs).toBeLessThan(moved + 5 * MINUTE);
    machine.killUntil(machine.nowMs + 1_000);
    machine.runUntil(machine.nowMs + 5 * MINUTE);
    expect(machine.times.down).toBe(after.down);
    machine.store.close();
  });

  test("stays unknown where only the agent was away: its containers may have served all the time", () => {
    const machine = new Machine();
    machine.runUntil(START + DAY);
    machine.killUntil(START + DAY + 3_600_000);
    machine.lost = [{ node: "vm1", fromMs: START + DAY, toMs: START + DAY + 3_600_000 }];
    machine.runUntil(machine.nowMs + 10 * MINUTE);
    expect(machine.times.down).toBe(0);
    expect(machine.times.unknown).toBeGreaterThanOrEqual(3_600_000);
    machine.store.close();
  });

  test("is remembered by its peers: from when it was suspected until it is heard again, over a restart of theirs", () => {
    const machine = new Machine();
    machine.turn();
    const tell = (state: "suspect" | "dead" | "alive" | "left"): void =>
      machine.keeper.hear({ kind: "gossip", atMs: 0, event: { kind: "peer", node: "vm2", state, why: "" } });
    tell("suspect");
    machine.nowMs += 5_000;
    tell("dead");
    tell("dead");
    expect(machine.keeper.losses).toEqual([{ node: "vm2", fromMs: START }]);
    machine.killUntil(START + 60_000);
    machine.turn();
    expect(machine.keeper.losses).toEqual([{ node: "vm2", fromMs: START }]);
    tell("alive");
    expect(machine.keeper.losses).toEqual([{ node: "vm2", fromMs: START, toMs: START + 60_000 }]);
    machine.nowMs += 8 * DAY;
    tell("left");
    expect(machine.keeper.losses).toEqual([]);
    machine.store.close();
  });
});

describe("an incident", () => {
  test("lasts from the first failed probe until the service has settled, and is remembered", () => {
    const machine = new Machine();
    machine.runUntil(START + 3_600_000);
    expect(machine.incident).toBeUndefined();
    const fromMs = machine.nowMs;
    machine.isDown = (atMs) => atMs >= fromMs && atMs < fromMs + 20 * MINUTE;
    machine.runUntil(fromMs + 10 * MINUTE);
    expect(machine.incident).toMatchObject({ state: "unhealthy", ended: false });
    expect(machine.incident?.tookMs).toBeGreaterThan(8 * MINUTE);
    machine.killUntil(machine.nowMs + 1_000);
    machine.runUntil(fromMs + 30 * MINUTE);
    expect(machine.incident).toMatchObject({ ended: true });
    expect(Math.abs((machine.incident?.tookMs ?? 0) - 20 * MINUTE)).toBeLessThanOrEqual(2 * INTERVAL);
    machine.killUntil(machine.nowMs + 1_000);
    machine.turn();
    expect(machine.incident).toMatchObject({ ended: true });
    machine.store.close();
  });
});
