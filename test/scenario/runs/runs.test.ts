// What a run has read, its health and its clocks are facts of that run: the faults that come of carrying them to the next one.

import { afterEach, expect, test } from "vitest";

import { listCauses } from "../../builders/node/delivered.ts";
import { RunModel } from "../../builders/node/run-model.ts";

let model: RunModel;

afterEach(() => model.node.dispose());

async function bringUp(times?: ConstructorParameters<typeof RunModel>[1]): Promise<void> {
  model = new RunModel(["app"], times);
  await model.start();
}

/** Waits until nothing more comes, and expects that the newest run has the newest content. */
async function expectRest(): Promise<void> {
  await model.node.clock.advance(120_000);
  expect(model.listFaults()).toEqual([]);
  expect(model.early).toEqual([]);
}

function countRuns(): number {
  return model.node.engine.running("app")?.run ?? 0;
}

/** Every state that status has shown of it. */
function listStates(): string[] {
  const shown = model.node.events.flatMap((event) => (event.kind === "turn" ? event.turn.services : []));
  return [...new Set(shown.map(({ state }) => state))];
}

test("new content that comes while the engine's start call is open goes to the next run, and is no drift", async () => {
  await bringUp();
  const since = model.node.events.length;
  model.change("app", "file");
  await model.node.clock.advance(4_000);
  // The process runs with the first change; the engine has not said so yet.
  expect(countRuns()).toBe(2);
  expect(model.node.engine.running("app")?.seen["/file"]).toBe("file-1");
  model.change("app", "file");
  await expectRest();
  expect(countRuns()).toBe(3);
  const causes = listCauses(model.node, "app", since);
  expect(causes.filter((cause) => !cause.startsWith("config: new content in /file"))).toEqual([]);
});

test("a secret that comes while the engine's start call is open goes to the next run", async () => {
  await bringUp();
  model.change("app", "secret");
  await model.node.clock.advance(4_000);
  expect(model.node.engine.running("app")?.seen["/run/secrets/pw"]).toBe("secret-1");
  model.change("app", "secret");
  await expectRest();
  expect(countRuns()).toBe(3);
});

test.each(["file", "secret", "spec"] as const)(
  "a stop that takes longer than healthy_within rolls nothing back: %s",
  async (change) => {
    await bringUp({ stopMs: 45_000, startMs: 0, answerMs: 0 });
    model.change("app", change);
    await expectRest();
    expect(listStates()).not.toContain("rolled-back");
  },
);

test("the health of the run before, which took long to end, records nothing as good", async () => {
  await bringUp({ stopMs: 10_000, startMs: 0, answerMs: 0 });
  const { node } = model;
  const since = node.events.length;
  model.change("app", "file");
  await node.clock.advanceUntil(() => countRuns() === 2, 30_000, "the next run");
  const settled = (): boolean => node.events.slice(since).some(({ kind }) => kind === "settled");
  expect(settled()).toBe(false);
  await node.clock.advance(2_500);
  expect(settled()).toBe(false);
  await expectRest();
  expect(settled()).toBe(true);
});

test("content that goes back restarts the process that has read it", async () => {
  await bringUp();
  model.change("app", "bad");
  await model.node.until("rolled-back", ["app"], 60_000);
  await expectRest();
  expect(countRuns()).toBeGreaterThan(2);
  expect(model.node.engine.running("app")?.seen["/file"]).toBe("first");
});

test("taken back while its process is being told of it: it is told again", async () => {
  await bringUp();
  const { engine, clock } = model.node;
  engine.answersAfterMs.signalContainer = 2_000;
  model.change("app", "signalled");
  await clock.advance(1_000);
  expect(engine.running("app")?.seen["/signalled"]).toBe("signalled-1");
  model.change("app", "back");
  await expectRest();
  expect(engine.running("app")?.seen["/signalled"]).toBe("first");
  expect(countRuns()).toBe(1);
});

test("an agent killed while its process is told, and the content taken back meanwhile: it is told again", async () => {
  await bringUp();
  const { node } = model;
  node.engine.answersAfterMs.signalContainer = 2_000;
  model.change("app", "signalled");
  await node.clock.advance(1_000);
  node.kill();
  expect(node.engine.running("app")?.seen["/signalled"]).toBe("signalled-1");
  model.change("app", "back");
  await node.start();
  await expectRest();
  expect(node.engine.running("app")?.seen["/signalled"]).toBe("first");
});

test("told, and settling begins with that: a signal that takes long is no time of its health", async () => {
  await bringUp();
  const { engine, clock, events } = model.node;
  engine.latencyMs.signalContainer = 30_000;
  const since = events.length;
  model.change("app", "signalled");
  await clock.advance(31_000);
  expect(events.slice(since).some(({ kind }) => kind === "settled")).toBe(false);
  await expectRest();
});

test.each([1, 2, 3, 4])(
  "an agent killed before call %i of a restart: the next one knows what the run has read",
  async (call) => {
    await bringUp();
    const { node } = model;
    node.engine.dieBeforeCall = call;
    model.change("app", "file");
    await node.clock.advance(20_000);
    node.kill();
    model.change("app", "file");
    await node.start();
    await expectRest();
  },
);

test("a lost memory restarts nothing: a run is taken at its word, and what lies there tells what it has", async () => {
  await bringUp();
  const { node } = model;
  const runs = countRuns();
  await node.stop();
  await node.start();
  await expectRest();
  expect(countRuns()).toBe(runs);
});
