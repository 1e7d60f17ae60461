// A service that stands still while its volumes are copied: stopped before, started again whatever came of it; and what the loop keeps of
// it, so that the next agent starts what this one had stopped.

import { expect, test, vi } from "vitest";

import type { ChildAnswer } from "../../../agent/backup/backup-exchange.ts";
import { StandingStill } from "../../../agent/backup/keeper/standing-still.ts";
import { applyRequest } from "../../../agent/loop/requests.ts";
import type { ObservedEngine } from "../../../shared/state/observed-state.ts";
import { EMPTY_MEMORY } from "../../../shared/state/memory.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";

const BASE = buildStorePlan({ engine: "files" });
const PLAN = { ...BASE, source: { ...BASE.source, stop: true } };
const check = (): Promise<ChildAnswer> => Promise.resolve({ kind: "checked" });
const work = (): Promise<ChildAnswer> => Promise.resolve(MADE);
const MADE = { kind: "failed" as const, reason: "the answer of the work" };

function engine(status: string): ObservedEngine {
  return {
    reachable: true,
    containers: [{ id: "c1", service: "pg", status, startedMs: 1, networks: { orca: "10.1.0.2" } }],
  } as unknown as ObservedEngine;
}

function open(): { still: StandingStill; clock: FakeClock; asked: (string | undefined)[] } {
  const clock = new FakeClock();
  const asked: (string | undefined)[] = [];
  const still = new StandingStill({ clock, holdStill: (_service, store) => asked.push(store) });
  return { still, clock, asked };
}

test("the work begins once it has stopped, and it may start again when that is done", async () => {
  const { still, asked } = open();
  const said: string[] = [];
  still.follow(engine("running"));
  const looking = async (): Promise<ChildAnswer> => {
    said.push("work");
    expect(still.find(PLAN)).toEqual({ id: "c1", isStopped: true });
    return MADE;
  };
  const done = still.during(PLAN, new AbortController().signal, { check, work: looking });
  await vi.waitFor(() => expect(asked).not.toEqual([]));
  expect([asked, said]).toEqual([["db"], []]);
  still.follow(engine("running"));
  expect(said).toEqual([]);
  still.follow(engine("exited"));
  expect(await done).toBe(MADE);
  expect(asked).toEqual(["db", undefined]);
});

test("work that throws, a stop that never comes and an agent that ends all let it start again", async () => {
  const thrown = open();
  thrown.still.follow(engine("running"));
  const failing = thrown.still.during(PLAN, new AbortController().signal, {
    check,
    work: () => Promise.reject(new Error("no disk")),
  });
  await vi.waitFor(() => expect(thrown.asked).not.toEqual([]));
  thrown.still.follow(engine("exited"));
  await expect(failing).rejects.toThrow("no disk");
  expect(thrown.asked).toEqual(["db", undefined]);

  const hanging = open();
  hanging.still.follow(engine("running"));
  const late = hanging.still.during(PLAN, new AbortController().signal, { check, work });
  await vi.waitFor(() => expect(hanging.asked).not.toEqual([]));
  await hanging.clock.advance(4_000_000);
  expect(await late).toMatchObject({ reason: "pg did not stop, so that its volumes could be copied" });
  expect(hanging.asked).toEqual(["db", undefined]);

  const ending = open();
  const abort = new AbortController();
  ending.still.follow(engine("running"));
  const cut = ending.still.during(PLAN, abort.signal, { check, work });
  await vi.waitFor(() => expect(ending.asked).not.toEqual([]));
  abort.abort();
  expect(await cut).toMatchObject({ kind: "failed" });
  expect(ending.asked).toEqual(["db", undefined]);
});

test("it is waited for until it is healthy again, two minutes at most, and not by an agent that ends", async () => {
  const never = new AbortController().signal;
  const untilBack = async (begin: (still: StandingStill, clock: FakeClock) => Promise<void>, signal = never) => {
    const { still, clock } = open();
    still.follow(engine("running"));
    const done = still.during(PLAN, never, { check, work });
    await vi.waitFor(() => still.follow(engine("exited")));
    await done;
    let back: string | undefined;
    const waiting = still.untilBack(PLAN, signal).then((answer) => (back = answer));
    await Promise.resolve();
    const early = back;
    await begin(still, clock);
    return [early, await waiting];
  };
  expect(await untilBack(async (still) => still.follow(engine("running")))).toEqual([undefined, "healthy"]);
  expect(await untilBack((_still, clock) => clock.advance(130_000))).toEqual([undefined, "away"]);
  const starting = [{ name: "pg", state: "starting" as const }];
  const slow = untilBack(async (still, clock) => {
    still.follow(engine("running"), starting);
    await clock.advance(130_000);
  });
  expect(await slow).toEqual([undefined, "runs"]);
  const comes = untilBack(async (still, clock) => {
    still.follow(engine("running"), starting);
    await clock.advance(30_000);
    still.follow(engine("running"), [{ name: "pg", state: "healthy" }]);
  });
  expect(await comes).toEqual([undefined, "healthy"]);
  const ending = new AbortController();
  expect(await untilBack(async () => ending.abort(), ending.signal)).toEqual([undefined, "away"]);
  // Nothing is waited for where nobody was stopped.
  expect(await open().still.untilBack(PLAN, never)).toBe("healthy");
});

test("what is found wrong before stops nobody", async () => {
  const { still, asked } = open();
  still.follow(engine("running"));
  const refused = { kind: "failed" as const, reason: "the image's tar is not GNU tar" };
  const answer = await still.during(PLAN, new AbortController().signal, { check: async () => refused, work });
  expect([answer, asked]).toEqual([refused, []]);
});

test("one that does not run, or need not stop, is read as it is", async () => {
  for (const [plan, status] of [
    [PLAN, "exited"],
    [BASE, "running"],
  ] as const) {
    const { still, asked } = open();
    still.follow(engine(status));
    expect(await still.during(plan, new AbortController().signal, { check, work })).toBe(MADE);
    expect(asked).toEqual([]);
  }
});

test("the loop keeps which service is copied until that is over", () => {
  const held = applyRequest(EMPTY_MEMORY, { kind: "cold-copy", service: "pg", store: "db" }, 5);
  expect(held.copies).toEqual({ pg: { store: "db", sinceMs: 5 } });
  const both = applyRequest(held, { kind: "cold-copy", service: "mail", store: "files" }, 6);
  const one = applyRequest(both, { kind: "cold-copy", service: "pg", store: undefined }, 7);
  expect(one.copies).toEqual({ mail: { store: "files", sinceMs: 6 } });
  expect(applyRequest(one, { kind: "cold-copy", service: "mail", store: undefined }, 8)).toEqual(EMPTY_MEMORY);
});
