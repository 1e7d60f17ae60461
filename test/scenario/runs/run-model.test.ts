// A run is one start of one container: whatever changes at whatever moment of a stop, a start, a probe or a settling, the newest
// run ends with the newest content, or it is held and said; and nothing is recorded as good before its own time.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { type Change, RunModel, SETTLE_MS } from "../../builders/node/run-model.ts";

const FIRST: readonly Change[] = ["file", "signalled", "secret", "spec", "bad"];
const SECOND: readonly Change[] = [...FIRST, "back"];

/** Where the first change is when the second comes, by the engine of the model: moments after it, in milliseconds. */
const MOMENTS: Readonly<Record<string, number>> = {
  "in the same turn": 0,
  "when its stop has just begun": 1,
  "in the middle of its stop": 1_000,
  "when it is stopped and its start is under way": 2_500,
  "when it has started, is not well, and nobody has said so": 3_500,
  "when it is well, and nobody has said so": 4_200,
  "when it was probed for the first time": 4_501,
  "while it settles": 6_000,
  "in the last moment of its settling": 4_500 + SETTLE_MS - 1,
  "when it has settled": 9_000,
  "while it is sick": 15_000,
  "while it goes back": 25_000,
};

describe("two changes, in every order and at every moment", () => {
  test.each(Object.entries(MOMENTS))("the second one comes %s", { timeout: 120_000 }, async (_when, momentMs) => {
    const pairs = FIRST.flatMap((first) => SECOND.map((second) => ({ name: `${first}-${second}`, first, second })));
    const model = new RunModel(pairs.map(({ name }) => name));
    await model.start();
    for (const { name, first } of pairs) model.change(name, first);
    if (momentMs > 0) await model.node.clock.advance(momentMs);
    for (const { name, second } of pairs) model.change(name, second);
    await model.node.clock.advance(90_000);
    expect(model.listFaults()).toEqual([]);
    expect(model.early).toEqual([]);
    await model.node.dispose();
  });
});

type Event =
  | { kind: "change"; service: "a" | "b"; change: Change }
  | { kind: "crash"; service: "a" | "b" }
  | { kind: "by-hand"; service: "a" | "b" }
  | { kind: "kill-agent" }
  | { kind: "stop-agent" }
  | { kind: "clock"; byMs: number };

const service = fc.constantFrom("a" as const, "b" as const);
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("change" as const), service, change: fc.constantFrom(...SECOND) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("crash" as const), service }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("by-hand" as const), service }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("kill-agent" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("stop-agent" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("clock" as const),
      byMs: fc.constantFrom(-31_536_000_000, -3_600_000, -2_000, 1_500, 3_600_000, 31_536_000_000),
    }),
  },
);
const history = fc.array(fc.tuple(fc.integer({ min: 0, max: 9_000 }), event), { minLength: 3, maxLength: 9 });

async function happen(model: RunModel, what: Event): Promise<void> {
  const { node } = model;
  if (what.kind === "change") return model.change(what.service, what.change);
  if (what.kind === "clock") return node.clock.jump(what.byMs);
  if (what.kind === "stop-agent") {
    await node.stop();
    return node.start();
  }
  if (what.kind === "kill-agent") {
    node.kill();
    return node.start();
  }
  const container = node.engine.running(what.service);
  if (container !== undefined) node.engine.end(container, 1, what.kind === "by-hand" ? { byHand: "15" } : {});
}

const runs = process.env["ORCA_SLOW"] === "1" ? 500 : 15;

test(
  `any ${runs} sequences of changes, crashes, ends of the agent and clocks that are set`,
  { timeout: 1_800_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(history, async (events) => {
        const model = new RunModel(["a", "b"]);
        await model.start();
        for (const [afterMs, what] of events) {
          await model.node.clock.advance(afterMs);
          await happen(model, what);
        }
        await model.node.clock.advance(400_000);
        expect(model.listFaults()).toEqual([]);
        expect(model.early).toEqual([]);
        await model.node.dispose();
      }),
      { numRuns: runs, endOnFailure: false },
    );
  },
);
