// The wall clock is set while the agent reports: what is shown is as old as it was, and nobody is told of trouble that is not there.

import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { ColdStarts } from "../../../agent/loop/cold-starts.ts";
import { moveAlerts } from "../../../agent/report/notify/alert-judge.ts";
import { ReadMark } from "../../../agent/sources/git/poll/last-read-file.ts";
import type { ColdStartMemory } from "../../../shared/state/cold-start.ts";
import { Secret } from "../../../shared/secret/secret.ts";
import { TestReport } from "../../builders/node/report.ts";
import { buildView, NOW_MS } from "../../builders/node/turns.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

const YEAR_MS = 31_536_000_000;
const STEPS: readonly (readonly [string, number])[] = [
  ["a year ahead", YEAR_MS],
  ["a year back", -YEAR_MS],
  ["ten minutes ahead", 600_000],
  ["ten minutes back", -600_000],
];

const END = { by: "itself", exitCode: 1, oom: false } as const;

let hook: Server;
let told: string[];
let clock: FakeClock;
let report: TestReport;
let stateDir: string;

beforeEach(async () => {
  told = [];
  hook = createServer((request, response) => {
    let body = "";
    request.on("data", (piece: Buffer) => (body += piece.toString("utf8")));
    request.on("end", () => {
      told.push((JSON.parse(body) as { subject: string }).subject);
      response.end();
    });
  });
  await new Promise<void>((resolve) => hook.listen(0, "127.0.0.1", resolve));
  clock = new FakeClock(NOW_MS);
  stateDir = mkdtempSync(join(tmpdir(), "orca-report-clock-"));
  report = open();
});

afterEach(async () => {
  await report.dispose();
  hook.close();
  rmSync(stateDir, { recursive: true, force: true });
});

function open(): TestReport {
  const url = new Secret(`http://127.0.0.1:${(hook.address() as AddressInfo).port}/`);
  const alerts = { url, min: "warning" as const, repeatMs: 3_600_000 };
  return new TestReport({ clock, options: { alerts, stateDir, bootId: "boot-1" } });
}

/** A turn in which a service waits since a moment ago, and the source cannot be read. */
function turn(): void {
  const endedMs = clock.nowMs();
  report.turn({
    endedMs,
    views: [
      buildView("web", {
        state: "waiting",
        fact: { code: "backoff", end: END, now: { attempt: 1, untilMs: endedMs + 30_000 } },
        sinceMs: endedMs - 20_000,
      }),
    ],
    source: { readMs: endedMs - 60_000, trouble: "nothing listens", retryMs: endedMs + 10_000 },
  });
}

/** Whatever was to be told has been told. */
async function settle(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe.each(STEPS)("%s", (_name, byMs) => {
  test("ages in status stay what they were, without waiting for a turn", () => {
    turn();
    const before = report.report.status();
    clock.jump(byMs);
    const after = report.report.status();
    expect(Date.parse(after.at) - Date.parse(before.at)).toBe(byMs);
    expect(after.agent.uptimeSeconds).toBe(before.agent.uptimeSeconds);
    expect(after.turn.ageSeconds).toBe(before.turn.ageSeconds);
    expect(after.source?.ageSeconds).toBe(60);
    expect(after.notes).toEqual(before.notes);
    const age = (status: typeof before): number => Date.parse(status.at) - Date.parse(status.services[0]?.since ?? "");
    expect(age(after)).toBe(20_000);
    expect(after.services[0]?.reason).toBe("it ended with exit code 1; restart 1 in 30s");
  });

  test("nobody is told of a wait or a source that only looks long", async () => {
    turn();
    clock.jump(byMs);
    // Something other than a turn makes it look.
    report.report.emit({ kind: "state-not-saved", atMs: clock.nowMs(), message: "full" });
    await settle();
    expect(told).toEqual([]);
    expect(report.report.status().notes.join()).toContain("the agent's state: full");
  });

  test("what was told is told again after its time and no sooner, a restart of the agent between", async () => {
    const failed = (): void => {
      report.turn({ endedMs: clock.nowMs(), views: [buildView("web", { state: "failed", sinceMs: clock.nowMs() })] });
    };
    failed();
    await settle();
    expect(told).toEqual(["web"]);
    await report.dispose();
    clock.jump(byMs);
    report = open();
    failed();
    await settle();
    expect(told).toEqual(["web"]);
    await clock.advance(3_601_000);
    clock.jump(-byMs);
    failed();
    await settle();
    expect(told).toEqual(["web", "web"]);
  });

  test("a source is as old as it was where its forge answers no more", async () => {
    const mark = new ReadMark(stateDir, clock);
    mark.note();
    await clock.advance(30_000);
    clock.jump(byMs);
    expect(clock.nowMs() - (mark.readMs ?? 0)).toBe(30_000);
  });

  test("a cold start that the agent's restart cuts in two goes on where it was", async () => {
    const beganMs = clock.monotonicMs() - 40_000;
    const own = { run: "r", beganMs: clock.nowMs() - 40_000, clock: { boot: "boot-1", beganMs }, services: {} };
    const word = { run: "r", at: [0, 0, 0, null] as [number, number, number, null] };
    const memory: ColdStartMemory = {
      reports: [],
      known: [],
      own: { ...own, services: { web: { word, waits: {} } } },
    };
    clock.jump(byMs);
    const parts = { node: "vm1", clock, emit: () => undefined, memory, peers: { coldStartStatements: () => [] } };
    const starts = new ColdStarts({ ...parts, bootId: "boot-1" });
    starts.hear();
    expect(Date.parse(starts.list()[0]?.began ?? "")).toBe(clock.nowMs() - 40_000);
  });
});

test("a memory that nothing moves stays the same object", () => {
  const memory = { told: {}, sent: {}, since: {}, recent: [] };
  expect(moveAlerts(memory, 0)).toBe(memory);
});
