// What `orca up` prints in the foreground: where it answers, what is not served, what starts, what is done in place.

import { expect, test } from "vitest";

import { UpProgress } from "../../../agent/cli/agent/up-progress.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import type { ServiceState } from "../../../shared/state/status.ts";
import type { Step } from "../../../shared/state/step.ts";
import { buildDesired, buildTurn, buildView, containerOf, NOW_MS } from "../../builders/node/turns.ts";

function watch(troubles: () => readonly string[] = () => []): {
  hear: (event: AgentEvent) => void;
  lines: () => string[];
} {
  let text = "";
  const progress = new UpProgress({ write: (piece) => (text += piece) }, troubles);
  const lines = (): string[] =>
    text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.slice("00:00:00 ".length));
  return { hear: (event) => progress.hear(event), lines };
}

function turnOf(revision: string, states: Readonly<Record<string, ServiceState>>): AgentEvent {
  const views = Object.entries(states).map(([name, state]) => buildView(name, { state }));
  const turn = buildTurn({
    views,
    desired: Object.keys(states).map((name) => buildDesired(name)),
    state: { revision },
  });
  return { kind: "turn", atMs: NOW_MS, turn };
}

function done(step: Step): AgentEvent {
  const cause = { kind: "commit", why: { code: "said", said: { message: "new caps" } }, detail: "new caps" } as const;
  return { kind: "step-done", atMs: NOW_MS, lane: "web", step, cause, tookMs: 3, changed: true };
}

test("it says where it answers, and what is not served and why, once", () => {
  const taken =
    "status is not served on 127.0.0.1:7070: the port is taken, perhaps by another agent; tried again every 30 s";
  const { hear, lines } = watch(() => [taken]);
  hear({ kind: "serving", atMs: NOW_MS, addresses: [], socket: "/var/lib/orca/up/demo/agent.sock", troubles: [taken] });
  hear(turnOf("dir:1", { web: "healthy" }));
  expect(lines()[0]).toMatch(/^agent +serves +the socket \/var\/lib\/orca\/up\/demo\/agent\.sock$/);
  expect(lines().filter((line) => line.includes("7070"))).toHaveLength(1);
  const whole = watch();
  whole.hear({ kind: "serving", atMs: NOW_MS, addresses: ["127.0.0.1:7070"], socket: "/s/agent.sock", troubles: [] });
  expect(whole.lines()).toEqual([
    expect.stringMatching(/serves +http:\/\/127\.0\.0\.1:7070 and the socket \/s\/agent\.sock$/),
  ]);
});

test("every note is told, not the first alone", () => {
  const { hear, lines } = watch(() => ["second, in 5s"]);
  const turn = (notes: readonly string[]): AgentEvent => ({
    kind: "turn",
    atMs: NOW_MS,
    turn: buildTurn({ views: [], notes }),
  });
  hear(turn(["first"]));
  hear(turn(["first"]));
  expect(lines().filter((line) => line.startsWith("node") && line.includes("note"))).toHaveLength(2);
});

test("waves are those of what starts; where nothing does there are none", () => {
  const { hear, lines } = watch();
  hear(turnOf("dir:1", { store: "starting", web: "waiting" }));
  expect(lines()[0]).toMatch(/2 services at dir:1, 2 to start in 1 wave$/);
  hear(turnOf("dir:2", { store: "healthy", web: "healthy" }));
  expect(lines().filter((line) => line.startsWith("wave"))).toHaveLength(1);
  expect(lines().some((line) => line.endsWith("2 services at dir:2"))).toBe(true);
});

test("what has to wait for a secret is counted, and stands in no wave yet", () => {
  const { hear, lines } = watch();
  const views = [buildView("store", { state: "starting" }), buildView("web", { state: "waiting" })];
  const turn = buildTurn({ views, desired: [buildDesired("store")], state: { revision: "dir:1" } });
  hear({ kind: "turn", atMs: NOW_MS, turn });
  expect(lines()[0]).toMatch(/2 services at dir:1, 1 to start in 1 wave, later web$/);
});

test("what becomes of a service under an invalid manifest is told: its container is removed, and comes back", () => {
  const { hear, lines } = watch();
  const turn = (state: ServiceState, message: string): void => {
    const why = { code: "said", said: { message } } as const;
    const objected = { code: "said", said: { message: "it cannot be read" } } as const;
    const fact = { code: "objection", objected, revision: "dir:1", state, why } as const;
    const views = [buildView("web", { state: "invalid", fact })];
    hear({ kind: "turn", atMs: NOW_MS, turn: buildTurn({ views, state: { revision: "dir:2" } }) });
  };
  turn("healthy", "200 in 1 ms");
  turn("healthy", "200 in 2 ms");
  turn("starting", "its container was removed");
  turn("healthy", "200 in 1 ms");
  const told = lines().filter((line) => line.startsWith("web"));
  expect(told).toHaveLength(3);
  expect(told[1]).toMatch(/^web +invalid +it cannot be read.*its container was removed/);
});

test("a cap that is changed in place is told, from what to what", () => {
  const { hear, lines } = watch();
  const caps = { memoryBytes: 16 * 2 ** 20, nanoCpus: 0, cpuShares: 0, pids: 512 };
  const to = { ...caps, memoryBytes: 24 * 2 ** 20 };
  hear(done({ kind: "update-caps", service: "web", container: containerOf("web"), from: caps, to }));
  hear(done({ kind: "signal-container", service: "web", container: containerOf("web"), signal: "SIGHUP" }));
  expect(lines()).toEqual([
    expect.stringMatching(/^web +caps +16 MiB, 512 pids → 24 MiB, 512 pids, in place$/),
    expect.stringMatching(/^web +signal +SIGHUP, in place$/),
  ]);
});
