// The agent's own weekly look at the host: when it looks, that it tells of what is new alone, over restarts too, and that an alert comes of
// it once; at last with the real program.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { WeeklyDoctor } from "../../../agent/daemon/weekly-doctor.ts";
import type { Finding } from "../../../agent/doctor/finding.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import {
  type AlertMemory,
  EMPTY_ALERTS,
  judgeAlerts,
  listConditions,
} from "../../../agent/report/notify/alert-judge.ts";
import { beginState, type ReportState } from "../../../agent/report/status/report-state.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const SSH: Finding = { id: "S01", check: "ssh", severity: "fail", what: "passwords", why: "guessed", fix: "no" };
const DISK: Finding = {
  id: "F01",
  check: "free space",
  severity: "warn",
  what: "/: 15 % free",
  why: "full",
  fix: "prune",
};
const OLD: Finding = {
  id: "P05",
  check: "age of secrets",
  severity: "info",
  what: "/prod/KEY (91d)",
  why: "seen",
  fix: "new",
};
const CHOICE: Finding = {
  id: "D10",
  check: "default bridge",
  severity: "info",
  what: "icc",
  why: "by hand",
  fix: "no",
};
const UNSEEN: Finding = { ...SSH, severity: "warn", what: "it cannot be looked at", unseen: true };

let root = "";
let clock = new FakeClock();
let events: AgentEvent[] = [];
let answers: (Finding[] | string)[] = [];
let looks = 0;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-weekly-"));
  [clock, events, answers, looks] = [new FakeClock(), [], [], 0];
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function open(): WeeklyDoctor {
  return new WeeklyDoctor({
    config: "/etc/orca/agent.toml",
    program: "orca",
    statePath: join(root, "doctor.json"),
    clock,
    emit: (event) => events.push(event),
    run: async () => {
      looks += 1;
      const next = answers.shift() ?? [];
      if (typeof next === "string") return { kind: "failed", reason: next, tooLarge: false };
      return { kind: "answered", answer: Buffer.from(JSON.stringify({ findings: next })) };
    },
  });
}

/** Turns for a while, one a minute; answers what the looks in it found new. */
async function turn(doctor: WeeklyDoctor, forMs: number): Promise<string[][]> {
  const before = events.length;
  for (let passed = 0; passed < forMs; passed += 10 * MINUTE_MS) {
    await clock.advance(10 * MINUTE_MS);
    doctor.follow();
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  await doctor.close();
  return events
    .slice(before)
    .flatMap((event) => (event.kind === "doctor-looked" ? [event.look.fresh.map(({ id }) => id)] : []));
}

test("looks ten minutes after the first start, then once a week, also over restarts, and tells of what is new alone", async () => {
  answers = [[SSH, OLD, CHOICE], [SSH, DISK], [{ ...DISK, what: "/: 12 % free" }], [SSH, DISK]];
  expect(await turn(open(), DAY_MS)).toEqual([["S01", "P05"]]);
  // Restarted each day.
  for (let day = 1; day < 7; day += 1) expect(await turn(open(), DAY_MS)).toEqual([]);
  expect(await turn(open(), DAY_MS)).toEqual([["F01"]]);
  // The same with another number is not new; what was gone for a look is.
  expect(await turn(open(), 7 * DAY_MS)).toEqual([[]]);
  expect(await turn(open(), 7 * DAY_MS)).toEqual([["S01"]]);
  expect(looks).toBe(4);
});

test("what cannot be looked at is told to nobody, and is not forgotten", async () => {
  answers = [[SSH], [UNSEEN], [SSH]];
  expect(await turn(open(), DAY_MS)).toEqual([["S01"]]);
  expect(await turn(open(), 7 * DAY_MS)).toEqual([[]]);
  expect(events.at(-1)).toMatchObject({ look: { weak: 1 } });
  expect(await turn(open(), 7 * DAY_MS)).toEqual([[]]);
});

test("a look that fails says why, and is tried again after six hours", async () => {
  answers = ["it took longer than 120 s", [SSH]];
  expect(await turn(open(), DAY_MS)).toEqual([[], ["S01"]]);
  expect(events[0]).toMatchObject({ kind: "doctor-looked", look: { trouble: "it took longer than 120 s" } });
});

test("a clock that was set back, and a state that cannot be read, mean one look more and no fault", async () => {
  answers = [[SSH], [SSH], [SSH]];
  await turn(open(), DAY_MS);
  clock.jump(-30 * DAY_MS);
  expect(await turn(open(), DAY_MS)).toEqual([[]]);
  writeFileSync(join(root, "doctor.json"), "{");
  expect(await turn(open(), DAY_MS)).toEqual([["S01"]]);
});

test("an alert goes out once for what is new, none for what is known, and one when all is gone", () => {
  let state: ReportState = beginState(0);
  let memory: AlertMemory = EMPTY_ALERTS;
  const hear = (atMs: number, weak: number, fresh: Finding[]): void => {
    const told = fresh.map(({ id = "", check, what, fix }) => ({ id, check, severity: "fail" as const, what, fix }));
    state = reduceStatus(state, { kind: "doctor-looked", atMs, look: { weak, fresh: told, trouble: undefined } });
  };
  const tell = (nowMs: number): string[] => {
    const conditions = listConditions(state, nowMs, undefined).filter(({ subject }) => subject === "@doctor");
    const judged = judgeAlerts(memory, conditions, { min: "warning", repeatMs: 6 * 3_600_000 }, nowMs);
    memory = judged.memory;
    return judged.alerts.map(({ resolved, reason }) => (resolved ? "resolved" : reason));
  };
  expect(tell(0)).toEqual([]);
  hear(1_000, 2, [SSH, DISK]);
  expect(tell(2_000)).toEqual(["new at the host: S01 ssh: passwords; F01 free space: /: 15 % free: see orca doctor"]);
  for (let hour = 1; hour < 48; hour += 1) expect(tell(hour * 3_600_000)).toEqual([]);
  // The agent was restarted: it has not looked yet, and nothing is over.
  state = beginState(0);
  expect(tell(3 * DAY_MS)).toEqual([]);
  hear(7 * DAY_MS, 2, []);
  expect(tell(7 * DAY_MS + 1_000)).toEqual([]);
  hear(14 * DAY_MS, 3, [OLD]);
  expect(tell(14 * DAY_MS + 1_000)).toHaveLength(1);
  hear(21 * DAY_MS, 0, []);
  expect(tell(21 * DAY_MS + 1_000)).toEqual(["resolved"]);
});

test("the real program looks at this machine, and its answer is understood", async () => {
  writeFileSync(
    join(root, "agent.toml"),
    `node = "vm1"\nsource = { dir = "${root}" }\nstate = { dir = "${root}/state" }\n`,
    { mode: 0o600 },
  );
  let moved = 0;
  const late = {
    ...systemClock,
    nowMs: () => systemClock.nowMs(),
    monotonicMs: () => systemClock.monotonicMs() + moved,
  };
  const doctor = new WeeklyDoctor({
    config: join(root, "agent.toml"),
    program: PROGRAM,
    statePath: join(root, "doctor.json"),
    clock: { ...late, after: (delayMs, callback) => systemClock.after(delayMs, callback) },
    emit: (event) => events.push(event),
  });
  doctor.follow();
  expect(events).toEqual([]);
  moved = 600_001;
  doctor.follow();
  await expect.poll(() => events.length, { timeout: 100_000 }).toBe(1);
  await doctor.close();
  const [event] = events;
  if (event?.kind !== "doctor-looked") throw new Error("another event");
  expect(event.look.trouble).toBeUndefined();
  // There is no policy here: that much is known of any machine.
  expect(event.look.fresh.map(({ check }) => check)).toContain("policy");
  expect(readFileSync(join(root, "doctor.json"), "utf8")).toContain("P13 ");
});
