// Data goes from name to name, in any order of renames, gifts from one service to another that stay both, commits that are taken back, crashes, outages and kills, by seed: never do two
// write to it, and in the end the one that Git names does. A failing run prints its seed and the shortest sequence that still fails.

import * as fc from "fast-check";
import { expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

const NAMES = ["x", "y", "z"] as const;
type Name = (typeof NAMES)[number];

type Event =
  | { kind: "rename"; to: Name; says: boolean }
  | { kind: "give"; to: Name; asks: boolean }
  | { kind: "edit"; image: string }
  | { kind: "crash" | "pause" | "remove"; service: Name }
  | {
      kind: "engine-restart" | "reboot" | "kill-agent" | "stop-agent" | "events-break" | "source-fails" | "source-back";
    }
  | { kind: "slow" | "fast" }
  | { kind: "kill-at-call"; call: number }
  | { kind: "wait"; ms: number };

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("rename"), to: fc.constantFrom(...NAMES), says: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("give"), to: fc.constantFrom(...NAMES), asks: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("edit"), image: fc.constantFrom("app:1", "app:2") }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("crash", "pause", "remove"),
      service: fc.constantFrom(...NAMES),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        ...(["engine-restart", "reboot", "kill-agent", "stop-agent", "events-break"] as const),
        ...(["source-fails", "source-back", "slow", "fast"] as const),
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("kill-at-call"), call: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("wait"), ms: fc.integer({ min: 1, max: 30_000 }) }) },
);

/** A node with one service that has data, whatever it is called now; others of these names may be there without the data. */
class DataModel {
  readonly node = new TestNode();
  /** Who were alive with the data at once, at a start. */
  readonly together: string[] = [];
  name: Name = "x";
  image = "app:1";
  /** Services without the data, and whether one requires the service that has it. */
  readonly bare = new Map<Name, boolean>();

  constructor() {
    const { writer } = this.node.engine;
    const start = writer.startContainer.bind(writer);
    writer.startContainer = async (id) => {
      await start(id);
      if (this.alive.length > 1) this.together.push(this.alive.join("+"));
    };
  }

  get alive(): string[] {
    const all = NAMES.flatMap((name) => this.node.engine.of(name));
    const holders = all.filter(({ request }) => (request?.spec.volumes ?? []).length > 0);
    return holders.filter(({ status }) => status === "running" || status === "paused").map(({ name }) => name);
  }

  /** Writes into Git what is wanted, and nothing of the other names. */
  write(from?: Name): void {
    const says = from === undefined || from === this.name ? "" : `moved_from = "${from}"\n`;
    const manifest = buildManifest({
      image: this.image,
      top: `backup = { none = "a test" }\n${says}`,
      tables:
        '[[volumes]]\nname = "data"\ntarget = "/data"\n[update]\nsettle = "5s"\n[restart]\nbackoff = { max = "20s" }',
    });
    const rest = (name: Name): string | undefined => {
      const asks = this.bare.get(name);
      return asks === undefined ? undefined : buildManifest({ top: asks ? `requires = ["${this.name}"]` : "" });
    };
    const all = Object.fromEntries(NAMES.map((name) => [name, name === this.name ? manifest : rest(name)]));
    this.node.source.set({ ...all, web: buildManifest() });
  }

  async happen(what: Event): Promise<void> {
    const { node } = this;
    switch (what.kind) {
      case "rename": {
        const from = this.name;
        this.name = what.to;
        this.bare.delete(what.to);
        return this.write(what.says ? from : undefined);
      }
      case "give":
        if (what.to === this.name) return;
        this.bare.set(this.name, what.asks);
        this.name = what.to;
        this.bare.delete(what.to);
        return this.write();
      case "edit":
        this.image = what.image;
        return this.write();
      case "wait":
        return node.clock.advance(what.ms);
      case "kill-at-call":
        node.engine.dieBeforeCall = what.call;
        await node.clock.advance(20_000);
        node.kill();
        return node.start();
      case "kill-agent":
        node.kill();
        return node.start();
      case "stop-agent":
        await node.stop();
        return node.start();
      case "reboot":
        node.kill();
        node.engine.goDown();
        node.engine.comeBack();
        node.bootId = `boot-${node.clock.monotonicMs()}`;
        return node.start();
      case "engine-restart":
        node.engine.goDown();
        await node.clock.advance(3_000);
        return node.engine.comeBack();
      case "events-break":
        return node.engine.breakEvents();
      case "source-fails":
        return node.source.fail("gone");
      case "source-back":
        return node.source.fail(undefined);
      case "slow":
        return void Object.assign(node.engine.latencyMs, { startContainer: 4_000, stopContainer: 9_000 });
      case "fast":
        return void Object.assign(node.engine.latencyMs, { startContainer: 0, stopContainer: 0 });
      default:
        return this.#disturb(what.kind, what.service);
    }
  }

  #disturb(kind: "crash" | "pause" | "remove", service: Name): void {
    const { engine } = this.node;
    const container = engine.running(service);
    if (container === undefined) return;
    if (kind === "crash") engine.end(container, 1);
    else if (kind === "remove") engine.remove(container.id);
    else engine.touch(container, "pause", (entry) => (entry.status = "paused"));
  }
}

/** Sequences that failed once. */
const FAILED: [Event[]][] = [
  [
    [
      { kind: "rename", to: "z", says: false },
      { kind: "slow" },
      { kind: "wait", ms: 13_016 },
      { kind: "remove", service: "z" },
      { kind: "wait", ms: 8 },
      { kind: "rename", to: "x", says: false },
      { kind: "edit", image: "app:1" },
    ],
  ],
  // It goes back in the moment in which its new holder starts, whose container nobody has looked at yet.
  [
    [
      { kind: "slow" },
      { kind: "give", to: "y", asks: true },
      { kind: "wait", ms: 9_000 },
      { kind: "give", to: "x", asks: false },
    ],
  ],
];

const runs = process.env["ORCA_SLOW"] === "1" ? 1_000 : 40;

test(`any ${runs} sequences: two never write to one volume`, { timeout: 1_800_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 2, maxLength: 20 }), async (events) => {
      const model = new DataModel();
      const { node } = model;
      model.write();
      await node.start();
      await node.untilSettled(["x", "web"]);
      for (const what of events) await model.happen(what);
      node.source.fail(undefined);
      await node.clock.advance(400_000);
      for (const name of model.bare.keys()) expect(node.view(name).state, name).toBe("healthy");
      const running = node.engine.of(model.name).filter(({ status }) => status === "running");
      const { state, reason } = node.view(model.name);
      expect([running.map(({ image }) => image), state], reason).toEqual([[model.image], "healthy"]);
      expect([model.alive.length, model.together]).toEqual([1, []]);
      await node.dispose();
    }),
    { numRuns: runs, examples: FAILED, endOnFailure: false },
  );
});
