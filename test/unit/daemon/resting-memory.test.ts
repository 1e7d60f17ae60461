// When memory is given back: at rest, seldom, and not while there is work.

import { expect, test } from "vitest";

import { RestingMemory } from "../../../agent/daemon/resting-memory.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { buildTurn } from "../../builders/node/turns.ts";

const MINUTE_MS = 60_000;
const started: AgentEvent = { kind: "agent-started", atMs: 0, node: "vm-a", engine: "/run/docker.sock", version: "1" };
const saved: AgentEvent = { kind: "settled", atMs: 0, service: "web", revision: "abc" };

function begin(): { clock: FakeClock; resting: RestingMemory; given: number[] } {
  const clock = new FakeClock();
  const given: number[] = [];
  const resting = new RestingMemory(clock, () => {
    given.push(clock.monotonicMs());
    return Promise.resolve();
  });
  return { clock, resting, given };
}

test("it is given back half a minute after the last work, and then each hour", async () => {
  const { clock, resting, given } = begin();
  resting.hear(started);
  await clock.advance(20_000);
  resting.hear(started);
  await clock.advance(29_000);
  expect(given).toEqual([]);
  await clock.advance(1_000);
  expect(given).toEqual([50_000]);
  await clock.advance(121 * MINUTE_MS);
  expect(given).toEqual([50_000, 50_000 + 60 * MINUTE_MS, 50_000 + 120 * MINUTE_MS]);
});

test("work that comes again and again has it given back every ten minutes at most", async () => {
  const { clock, resting, given } = begin();
  for (let minute = 0; minute < 25; minute += 1) {
    resting.hear(started);
    await clock.advance(MINUTE_MS);
  }
  expect(given).toEqual([30_000, 30_000 + 10 * MINUTE_MS, 30_000 + 20 * MINUTE_MS]);
});

test("a turn that brings another revision is work; one that changes nothing is none, and neither is what is only told", async () => {
  const { clock, resting, given } = begin();
  const turn = buildTurn({ views: [] });
  resting.hear({ kind: "turn", atMs: 0, turn });
  for (let second = 0; second < 60; second += 1) {
    resting.hear({ kind: "turn", atMs: 0, turn });
    resting.hear(saved);
    await clock.advance(1_000);
  }
  expect(given).toEqual([30_000]);
});

test("once it has ended it gives nothing back", async () => {
  const { clock, resting, given } = begin();
  resting.hear(started);
  resting.close();
  resting.hear(started);
  await clock.advance(120 * MINUTE_MS);
  expect(given).toEqual([]);
});
