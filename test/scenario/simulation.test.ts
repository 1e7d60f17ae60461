// Any sequence of edits, crashes, hand-made changes, outages and kills ends where the manifests say, by seed. A failing run
// prints its seed and the shortest sequence that still fails.

import * as fc from "fast-check";
import { expect, test } from "vitest";

import { FRONT_IMAGE } from "../../shared/state/front.ts";
import { buildManifest } from "../builders/manifest.ts";
import { TestNode } from "../builders/node.ts";
import type { FakeContainer } from "../fakes/fake-container.ts";

const SERVICES = ["a", "b", "c", "d"] as const;
type Service = (typeof SERVICES)[number];

/** The one that may be updated start-first, and its front. */
const FRONTED = "d";
const FRONT = "d.front";
type Order = "stop-first" | "start-first";

/** One thing that happens. */
type Event =
  | { kind: "edit"; service: Service; image: string; state: "running" | "stopped"; requires: boolean; order: Order }
  | { kind: "break"; service: Service }
  | { kind: "crash" | "by-hand" | "oom" | "remove" | "disconnect" | "caps" | "pause"; service: Service | typeof FRONT }
  | { kind: "engine-restart" | "kill-agent" | "stop-agent" | "events-break" | "source-fails" | "source-back" }
  | { kind: "kill-at-call"; call: number }
  | { kind: "wait"; ms: number };

const service = fc.constantFrom(...SERVICES);
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("edit" as const),
      service,
      image: fc.constantFrom("app:1", "app:2"),
      state: fc.constantFrom("running" as const, "stopped" as const),
      requires: fc.boolean(),
      order: fc.constantFrom("stop-first" as const, "start-first" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("break" as const), service }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom("crash", "by-hand", "oom", "remove", "disconnect", "caps", "pause"),
      service: fc.constantFrom(...SERVICES, FRONT),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "engine-restart",
        "kill-agent",
        "stop-agent",
        "events-break",
        "source-fails",
        "source-back",
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("kill-at-call" as const), call: fc.integer({ min: 1, max: 6 }) }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 90_000 }) }) },
);

/** The wanted state of each service, as the last good edit left it. */
type Wanted = Map<Service, { image: string; state: "running" | "stopped"; order: Order }>;

function manifest(edit: { image: string; state: string; requires: boolean; order: Order }, name: Service): string {
  // Only towards the front of the alphabet, so that no cycle comes of it.
  const before = SERVICES[SERVICES.indexOf(name) - 1];
  const requires = edit.requires && before !== undefined ? `wants = ["${before}"]` : "";
  return buildManifest({
    image: edit.image,
    top: `state = "${edit.state}"\n${requires}${name === FRONTED ? '\nports = ["8080:80"]' : ""}`,
    tables: `[update]\nsettle = "5s"\norder = "${name === FRONTED ? edit.order : "stop-first"}"\n[restart]\nbackoff = { max = "20s" }`,
  });
}

async function happen(node: TestNode, what: Event, wanted: Wanted): Promise<void> {
  const target = "service" in what ? node.engine.running(what.service) : undefined;
  switch (what.kind) {
    case "edit":
      wanted.set(what.service, { image: what.image, state: what.state, order: what.order });
      return node.source.set({ [what.service]: manifest(what, what.service) });
    case "break":
      // A manifest that does not parse changes nothing that is wanted.
      return node.source.set({ [what.service]: "image = [" });
    case "wait":
      return node.clock.advance(what.ms);
    case "engine-restart":
      node.engine.goDown();
      await node.clock.advance(3_000);
      return node.engine.comeBack();
    case "kill-agent":
      node.kill();
      return node.start();
    case "stop-agent":
      await node.stop();
      return node.start();
    case "kill-at-call":
      node.engine.dieBeforeCall = what.call;
      await node.clock.advance(20_000);
      node.kill();
      return node.start();
    case "events-break":
      return node.engine.breakEvents();
    case "source-fails":
      return node.source.fail("gone");
    case "source-back":
      return node.source.fail(undefined);
    default:
      if (target !== undefined) disturb(node, what.kind, target);
  }
}

function disturb(node: TestNode, kind: string, target: FakeContainer): void {
  if (kind === "crash") node.engine.end(target, 1);
  else if (kind === "by-hand") node.engine.end(target, 143, { byHand: "15" });
  else if (kind === "oom") node.engine.end(target, 137, { oom: true });
  else if (kind === "remove") node.engine.remove(target.id);
  else if (kind === "disconnect") node.engine.touch(target, "disconnect", ({ networks }) => networks.clear());
  else if (kind === "caps")
    node.engine.touch(target, "update", ({ detail }) => (detail.caps = { ...detail.caps, memoryBytes: 2 ** 30 }));
  else node.engine.touch(target, "pause", (container) => (container.status = "paused"));
}

/** The front runs where one is wanted, and sends the traffic to the container that runs. */
function expectTraffic(node: TestNode, order: Order | undefined): void {
  const running = node.engine.of(FRONTED).find((entry) => entry.status === "running");
  const fronts = node.engine.of(FRONT).filter((entry) => entry.status === "running");
  expect(fronts).toHaveLength(order === "start-first" ? 1 : 0);
  if (order !== "start-first") return;
  const served = node.fronts.serving(FRONT);
  expect(served, "who gets the traffic").toBe(running === undefined ? undefined : [...running.networks.values()][0]);
}

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
];

const runs = process.env["ORCA_SLOW"] === "1" ? 400 : 25;

test(`any ${runs} sequences of faults end where the manifests say`, { timeout: 1_200_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 3, maxLength: 25 }), async (events) => {
      const node = new TestNode({ settings: { frontImage: FRONT_IMAGE } });
      node.engine.images.set(FRONT_IMAGE, {});
      const first = { image: "app:1", state: "running", order: "start-first" } as const;
      const wanted: Wanted = new Map(SERVICES.map((name) => [name, first]));
      node.source.set(Object.fromEntries(SERVICES.map((name) => [name, manifest({ ...first, requires: true }, name)])));
      await node.start();
      for (const what of events) await happen(node, what, wanted);
      node.source.fail(undefined);
      node.source.set(
        Object.fromEntries([...wanted].map(([name, want]) => [name, manifest({ ...want, requires: false }, name)])),
      );
      await node.clock.advance(400_000);
      for (const [name, want] of wanted) {
        const containers = node.engine.of(name);
        const running = containers.filter((container) => container.status === "running");
        if (want.state === "stopped") expect(running, `${name} is stopped`).toEqual([]);
        else {
          expect(
            running.map((container) => container.image),
            `${name} runs`,
          ).toEqual([want.image]);
          expect(containers.length, `${name} has one container`).toBe(1);
          expect([...(running[0]?.networks.keys() ?? [])]).toEqual(["orca-vm1"]);
          expect(running[0]?.detail.caps.memoryBytes).toBe(64 * 2 ** 20);
          expect(node.view(name).state).toBe("healthy");
        }
      }
      expectTraffic(node, wanted.get(FRONTED)?.order);
      // Come to rest: nothing more is done.
      const calls = node.engine.calls.length;
      await node.clock.advance(120_000);
      expect(node.engine.calls.length).toBe(calls);
      await node.dispose();
    }),
    { numRuns: runs, examples: FAILED, endOnFailure: false },
  );
});
