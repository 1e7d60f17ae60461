// Any sequence of edits, crashes, hand-made changes, outages and kills ends where the manifests say, by seed. A failing run
// prints its seed and the shortest sequence that still fails.

import * as fc from "fast-check";
import { expect, test } from "vitest";

import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import { TestNode } from "../../builders/node/node.ts";
import {
  buildSimulated,
  calm,
  event,
  type Event,
  FRONT,
  FRONTED,
  happen,
  type Order,
  SERVICES,
  SICK_IMAGE,
  type Wanted,
} from "../../builders/node/simulated-events.ts";

/** Sequences that failed once. */
const FAILED: [Event[]][] = [
  [
    [
      { kind: "wait", ms: 48 },
      { kind: "edit", service: "d", image: "app:1", state: "stopped", requires: false, order: "start-first" },
      { kind: "engine-restart" },
      { kind: "crash", service: "a" },
      { kind: "crash", service: "a" },
    ],
  ],
  [
    [
      { kind: "wait", ms: 16 },
      { kind: "pause", service: "a" },
      { kind: "edit", service: "a", image: "app:2", state: "running", requires: false, order: "stop-first" },
      { kind: "engine-restart" },
      { kind: "engine-restart" },
    ],
  ],
];

/** The front runs where one is wanted, and sends the traffic to the container that runs. */
function expectTraffic(node: TestNode, order: Order | undefined): void {
  const running = node.engine.of(FRONTED).find((entry) => entry.status === "running");
  const fronts = node.engine.of(FRONT).filter((entry) => entry.status === "running");
  expect(fronts).toHaveLength(order === "start-first" ? 1 : 0);
  if (order !== "start-first") return;
  const served = node.fronts.serving(FRONT);
  expect(served, "who gets the traffic").toBe(running === undefined ? undefined : [...running.networks.values()][0]);
}

async function begin(): Promise<{ node: TestNode; wanted: Wanted; doubles: string[] }> {
  const node = new TestNode({ settings: { frontImage: FRONT_IMAGE } });
  const doubles = node.watchDoubles();
  node.engine.images.set(FRONT_IMAGE, {});
  node.engine.images.set(SICK_IMAGE, {});
  node.engine.rejects = ({ spec }) => spec.image === SICK_IMAGE;
  const first = { image: "app:1", state: "running", order: "start-first" } as const;
  const wanted: Wanted = new Map(SERVICES.map((name) => [name, first]));
  node.source.set(
    Object.fromEntries(SERVICES.map((name) => [name, buildSimulated({ ...first, requires: true }, name)])),
  );
  await node.start();
  return { node, wanted, doubles };
}

function expectEnd(node: TestNode, wanted: Wanted): void {
  for (const [name, want] of wanted) {
    const containers = node.engine.of(name);
    const running = containers.filter((container) => container.status === "running");
    if (want.state === "stopped") {
      expect(running, `${name} is stopped`).toEqual([]);
      continue;
    }
    const images = running.map((container) => container.image);
    expect(images, `${name} runs: ${node.view(name).state}: ${node.view(name).reason}`).toEqual([want.image]);
    expect(containers.length, `${name} has one container`).toBe(1);
    expect([...(running[0]?.networks.keys() ?? [])]).toEqual(["orca-vm1"]);
    expect(running[0]?.detail.caps.memoryBytes).toBe(64 * 2 ** 20);
    expect(node.view(name).state, node.view(name).reason).toBe("healthy");
  }
  expectTraffic(node, wanted.get(FRONTED)?.order);
}

const runs = process.env["ORCA_SLOW"] === "1" ? 400 : 25;

test(`any ${runs} sequences of faults end where the manifests say`, { timeout: 1_800_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 3, maxLength: 25 }), async (events) => {
      const { node, wanted, doubles } = await begin();
      for (const what of events) await happen(node, what, wanted);
      calm(node);
      node.source.set(
        Object.fromEntries(
          [...wanted].map(([name, want]) => [name, buildSimulated({ ...want, requires: false }, name)]),
        ),
      );
      await node.clock.advance(600_000);
      expectEnd(node, wanted);
      expect(doubles).toEqual([]);
      // Come to rest: nothing more is done.
      const calls = node.engine.calls.length;
      await node.clock.advance(120_000);
      expect(node.engine.calls.length).toBe(calls);
      await node.dispose();
    }),
    { numRuns: runs, examples: FAILED, endOnFailure: false },
  );
});
