// What may happen to one node, in any order: edits, crashes, hand-made changes, outages, kills, people. For the simulation by seed.

import * as fc from "fast-check";

import { buildManifest } from "./manifest.ts";
import type { TestNode } from "./node.ts";
import type { FakeContainer } from "../../fakes/fake-container.ts";

export const SERVICES = ["a", "b", "c", "d"] as const;
export type Service = (typeof SERVICES)[number];

/** The one that may be updated start-first, and its front. */
export const FRONTED = "d";
export const FRONT = "d.front";
export type Order = "stop-first" | "start-first";

/** An image with which nothing is ever healthy, and one that nobody has. */
export const SICK_IMAGE = "bad:1";
const NO_IMAGE = "none:1";

const ROOT = { uid: 0, user: "root" };
type Target = Service | typeof FRONT;

/** One thing that happens. */
export type Event =
  | { kind: "edit"; service: Service; image: string; state: "running" | "stopped"; requires: boolean; order: Order }
  | { kind: "bad-edit"; service: Service; image: string; order: Order }
  | { kind: "break" | "drop"; service: Service }
  | { kind: "crash" | "by-hand" | "oom" | "remove" | "disconnect" | "caps" | "pause" | "sick"; service: Target }
  | { kind: "stop" | "start" | "restart" | "hold" | "resume"; service: Service }
  | { kind: "engine-restart" | "kill-agent" | "stop-agent" | "events-break" | "source-fails" | "source-back" }
  | { kind: "well" | "mute" | "unmute" | "reboot" | "slow" | "late" | "fast" }
  | { kind: "kill-at-call"; call: number }
  | { kind: "clock"; byMs: number }
  | { kind: "wait"; ms: number };

const YEAR_MS = 31_536_000_000;

const service = fc.constantFrom(...SERVICES);
const target = fc.constantFrom<Target>(...SERVICES, FRONT);
const order = fc.constantFrom<Order>("stop-first", "start-first");

/** One of some kinds that need nothing else. */
function plain<K extends string>(...kinds: K[]): fc.Arbitrary<{ kind: K }> {
  return fc.record({ kind: fc.constantFrom(...kinds) });
}

/** One of some kinds that meet something. */
function meets<K extends string, T>(whom: fc.Arbitrary<T>, ...kinds: K[]): fc.Arbitrary<{ kind: K; service: T }> {
  return fc.record({ kind: fc.constantFrom(...kinds), service: whom });
}

const edit: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant("edit"),
  service,
  image: fc.constantFrom("app:1", "app:2"),
  state: fc.constantFrom("running", "stopped"),
  requires: fc.boolean(),
  order,
});
const badEdit: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant("bad-edit"),
  service,
  image: fc.constantFrom(SICK_IMAGE, NO_IMAGE),
  order,
});

export const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 4, arbitrary: edit },
  { weight: 2, arbitrary: badEdit },
  { weight: 1, arbitrary: meets(service, "break", "drop") },
  { weight: 5, arbitrary: meets(target, "crash", "by-hand", "oom", "remove", "disconnect", "caps", "pause", "sick") },
  { weight: 2, arbitrary: meets(service, "stop", "start", "restart", "hold", "resume") },
  { weight: 2, arbitrary: plain("engine-restart", "kill-agent", "stop-agent", "reboot") },
  { weight: 2, arbitrary: plain("events-break", "source-fails", "source-back") },
  { weight: 2, arbitrary: plain("well", "mute", "unmute", "slow", "late", "fast") },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("kill-at-call"), call: fc.integer({ min: 1, max: 6 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("clock"),
      byMs: fc.constantFrom(-YEAR_MS, -3_600_000, -2_000, 1_500, 3_600_000, YEAR_MS),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("wait"), ms: fc.integer({ min: 1, max: 90_000 }) }) },
);

/** The wanted state of each service, as the last good edit left it. */
export type Wanted = Map<Service, { image: string; state: "running" | "stopped"; order: Order }>;

/** The manifest of one service. */
export function buildSimulated(
  edited: { image: string; state: string; requires: boolean; order: Order },
  name: Service,
): string {
  // Only towards the front of the alphabet, so that no cycle comes of it.
  const before = SERVICES[SERVICES.indexOf(name) - 1];
  const requires = edited.requires && before !== undefined ? `wants = ["${before}"]` : "";
  return buildManifest({
    image: edited.image,
    top: `state = "${edited.state}"\n${requires}${name === FRONTED ? '\nports = ["8080:80"]' : ""}`,
    tables: `[update]\nsettle = "5s"\norder = "${name === FRONTED ? edited.order : "stop-first"}"\n[restart]\nbackoff = { max = "20s" }`,
  });
}

/** Lets one thing happen. */
export async function happen(node: TestNode, what: Event, wanted: Wanted): Promise<void> {
  switch (what.kind) {
    case "edit":
      wanted.set(what.service, { image: what.image, state: what.state, order: what.order });
      return node.source.set({ [what.service]: buildSimulated(what, what.service) });
    case "bad-edit":
      // It is taken back in the end, as what does not parse and what was dropped: nothing that is wanted changes.
      return node.source.set({
        [what.service]: buildSimulated({ ...what, state: "running", requires: false }, what.service),
      });
    case "break":
      return node.source.set({ [what.service]: "image = [" });
    case "drop":
      return node.source.set({ [what.service]: undefined });
    case "wait":
      return node.clock.advance(what.ms);
    case "clock":
      return node.clock.jump(what.byMs);
    case "kill-at-call":
      node.engine.dieBeforeCall = what.call;
      await node.clock.advance(20_000);
      node.kill();
      return node.start();
    case "stop":
    case "start":
    case "restart":
    case "hold":
    case "resume":
      return ask(node, what.kind, what.service);
    default:
      if (!("service" in what)) return SURROUNDINGS[what.kind](node);
      const container = node.engine.running(what.service);
      if (container !== undefined) disturb(node, what.kind, container);
  }
}

/** A person asks for something. */
function ask(node: TestNode, kind: "stop" | "start" | "restart" | "hold" | "resume", name: Service): void {
  const about = { service: name, actor: ROOT };
  if (kind === "start") node.agent.request({ kind, ...about, ignoreRequires: false });
  else node.agent.request({ kind: kind === "hold" ? "pause" : kind, ...about });
}

/** What happens around the services. */
const SURROUNDINGS: Record<
  Exclude<Event, { service: unknown } | { call: unknown } | { byMs: unknown } | { ms: unknown }>["kind"],
  (node: TestNode) => Promise<void> | void
> = {
  "engine-restart": async ({ engine, clock }) => {
    engine.goDown();
    await clock.advance(3_000);
    engine.comeBack();
  },
  reboot: async (node) => {
    node.kill();
    node.engine.goDown();
    await node.clock.advance(5_000);
    node.engine.comeBack();
    node.bootId = `boot-${node.clock.monotonicMs()}`;
    await node.start();
  },
  "kill-agent": (node) => {
    node.kill();
    return node.start();
  },
  "stop-agent": async (node) => {
    await node.stop();
    await node.start();
  },
  "events-break": ({ engine }) => engine.breakEvents(),
  "source-fails": ({ source }) => source.fail("gone"),
  "source-back": ({ source }) => source.fail(undefined),
  well: ({ sick }) => sick.clear(),
  mute: ({ fronts }) => void fronts.mute.add(FRONT),
  unmute: ({ fronts }) => fronts.mute.clear(),
  slow: ({ engine }) => {
    Object.assign(engine.latencyMs, { createContainer: 1_000, startContainer: 4_000, stopContainer: 9_000 });
  },
  late: ({ engine }) => void Object.assign(engine.answersAfterMs, { startContainer: 3_000, stopContainer: 2_000 }),
  fast: ({ engine }) => {
    const none = { createContainer: 0, startContainer: 0, stopContainer: 0 };
    Object.assign(engine.latencyMs, none);
    Object.assign(engine.answersAfterMs, none);
  },
};

/** Everything around the services is well again, and whatever a person held back goes on. */
export function calm(node: TestNode): void {
  for (const kind of ["source-back", "well", "unmute", "fast"] as const) void SURROUNDINGS[kind](node);
  for (const name of SERVICES) {
    ask(node, "resume", name);
    ask(node, "start", name);
  }
}

function disturb(node: TestNode, kind: string, container: FakeContainer): void {
  const { engine } = node;
  if (kind === "crash") engine.end(container, 1);
  else if (kind === "by-hand") engine.end(container, 143, { byHand: "15" });
  else if (kind === "oom") engine.end(container, 137, { oom: true });
  else if (kind === "remove") engine.remove(container.id);
  else if (kind === "sick") node.sick.add(container.id);
  else if (kind === "disconnect") engine.touch(container, "disconnect", ({ networks }) => networks.clear());
  else if (kind === "caps")
    engine.touch(container, "update", ({ detail }) => (detail.caps = { ...detail.caps, memoryBytes: 2 ** 30 }));
  else engine.touch(container, "pause", (entry) => (entry.status = "paused"));
}
