// Creations go through a turnstile: a few at once, hurried ones beside them, and nobody waits for one that is slow.

import { expect, test } from "vitest";

import { Turnstile } from "../../../agent/apply/turnstile.ts";

const NEVER = new AbortController().signal;

/** A turnstile with two places and a clock in the hand of the test. */
function build(): { turnstile: Turnstile; passTime: () => void; timers: () => number } {
  const timers = new Set<() => void>();
  const clock = {
    after: (_ms: number, work: () => void) => {
      timers.add(work);
      return () => void timers.delete(work);
    },
  };
  const passTime = (): void => {
    for (const work of timers) {
      timers.delete(work);
      work();
    }
  };
  return { turnstile: new Turnstile({ clock, places: 2, heldMs: 2_000 }), passTime, timers: () => timers.size };
}

/** Lets several ask for a place; answers who has entered so far and what each gives its place up with. */
function ask(turnstile: Turnstile, names: readonly string[], hurried: readonly string[] = []) {
  const leaves = new Map<string, () => void>();
  for (const name of names)
    void turnstile.enter(hurried.includes(name), NEVER).then((leave) => leaves.set(name, leave));
  return leaves;
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("two enter, the next ones in their order; hurried ones never wait, and those behind them do", async () => {
  const { turnstile, timers } = build();
  const leaves = ask(turnstile, ["a", "b", "c", "d", "e"], ["d"]);
  await settle();
  expect([...leaves.keys()]).toEqual(["a", "b", "d"]);
  // Three hold two places: the first to go makes no room. Given up twice, it is one place.
  for (let time = 0; time < 2; time += 1) {
    leaves.get("a")?.();
    await settle();
    expect([...leaves.keys()]).toEqual(["a", "b", "d"]);
  }
  leaves.get("b")?.();
  await settle();
  expect([...leaves.keys()]).toEqual(["a", "b", "d", "c"]);
  for (const name of ["d", "c", "e"]) {
    leaves.get(name)?.();
    await settle();
  }
  expect([...leaves.keys()]).toEqual(["a", "b", "d", "c", "e"]);
  expect(timers()).toBe(0);
});

test("one that is slow holds nobody back for longer than its time", async () => {
  const { turnstile, passTime } = build();
  const leaves = ask(turnstile, ["slow", "slower", "c"]);
  await settle();
  passTime();
  await settle();
  expect([...leaves.keys()]).toEqual(["slow", "slower", "c"]);
});

test("an abort ends the wait, and takes no place", async () => {
  const { turnstile } = build();
  const abort = new AbortController();
  const leaves = ask(turnstile, ["a", "b"]);
  const waiting = turnstile.enter(false, abort.signal);
  abort.abort();
  (await waiting)();
  const aborted = await turnstile.enter(false, abort.signal);
  aborted();
  await settle();
  const after = ask(turnstile, ["c"]);
  await settle();
  expect([...after.keys()]).toEqual([]);
  leaves.get("a")?.();
  await settle();
  expect([...after.keys()]).toEqual(["c"]);
});
