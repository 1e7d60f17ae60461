// What people are told of a service by its state and its reason, at moments that were once told wrong.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import { buildStatus } from "../../../agent/report/status/status-builder.ts";
import { beginState } from "../../../agent/report/status/report-state.ts";
import { policySchema } from "../../../shared/policy/policy.ts";
import { printPreview } from "../../../agent/cli/plan/plan-agent.ts";
import { readStoredMemory } from "../../../agent/host/store/store.ts";
import { listChanges } from "../../../agent/plan/compare/changes.ts";
import type { ChangeDocument } from "../../../shared/document/plan-preview.ts";
import type { Reachable } from "../../../agent/plan/world.ts";
import type { DesiredState } from "../../../shared/state/desired-state.ts";
import type { ServiceView } from "../../../shared/state/status.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import { buildDesired } from "../../builders/node/turns.ts";

let node: TestNode;

const UPDATE = '[update]\nhealthy_within = "1m"\nsettle = "5s"\n';

function app(image: string, parts: { top?: string; health?: string; tables?: string } = {}): string {
  return buildManifest({ image, ...parts, tables: `${UPDATE}${parts.tables ?? ""}` });
}

/** Everything that was shown of a service, turn by turn. */
function shown(service: string): ServiceView[] {
  return node.events.flatMap((event) =>
    event.kind === "turn" ? event.turn.services.filter(({ name }) => name === service) : [],
  );
}

beforeEach(async () => {
  const policy = policySchema.parse({ mounts: { allowed_prefixes: ["/srv"] } });
  node = new TestNode({ settings: { policy } });
  node.source.set({ app: app("app:1") });
  await node.start();
  await node.untilSettled(["app"]);
  node.events.length = 0;
});

afterEach(() => node.dispose());

describe("why no start can begin", () => {
  test("is said of a service that is refused and has nothing to run, and of one that its manifest stops", async () => {
    const bind = '[[volumes]]\nsource = "/etc"\ntarget = "/data"\nread_only = true\n';
    node.source.set({
      web: app("app:1", { top: 'backup = { none = "a test" }', tables: bind }),
      app: app("app:1", { top: 'state = "stopped"' }),
    });
    await node.until("refused", ["web"]);
    expect(node.view("web").startBlocked).toMatch(/^it is refused: .*\/etc/);
    await node.until("stopped", ["app"]);
    expect(node.view("app").startBlocked).toBe('its manifest says state = "stopped"');
  });

  test("is not said of one that a person stopped, nor of a release behind a manifest that is invalid", async () => {
    node.agent.request({ kind: "stop", service: "app", actor: { uid: 1000, user: "ada" } });
    await node.until("stopped", ["app"]);
    expect(node.view("app").startBlocked).toBeUndefined();
    node.source.set({ app: app("app:1", { top: "nonsense = 1" }) });
    await node.until("invalid", ["app"]);
    expect(node.view("app").startBlocked).toBeUndefined();
  });
});

const ADA = { uid: 1000, user: "ada" };

async function rollBack(): Promise<void> {
  node.engine.images.set("bad:1", { endsAfterMs: 10, exitCode: 3 });
  node.source.set({ app: app("bad:1") });
  await node.until("rolled-back", ["app"], 300_000);
}

describe("a release that was rolled back", () => {
  test("is held until its manifest changes, and no longer once it has changed to one that cannot be used", async () => {
    await rollBack();
    expect(node.view("app").reason).toContain("what Git wants is held until its manifest changes or orca sync --retry");
    node.source.set({ app: app("bad:1", { top: "nonsense = 1" }) });
    await node.until("invalid", ["app"]);
    expect(node.view("app").reason).toMatch(
      /nonsense.*; its release .* is healthy: rolled back to dir:\w+: .*restarts\)/,
    );
    expect(node.view("app").reason).not.toContain("until its manifest changes");
  });

  test("is named by a plan, the agent's and one made beside it, which changes nothing until then", async () => {
    await rollBack();
    await node.clock.advance(30_000);
    const text = printPreview(await node.agent.preview());
    expect(text).toMatch(
      /\nno change\napp is rolled-back: rolled back to dir:\w+: .*; what Git wants is held until its manifest/,
    );
    const { desired, observed } = node.turn;
    const memory = readStoredMemory(node.stateDir)?.services ?? {};
    const wanted = new Map([
      ["app", buildDesired("app", { fingerprint: memory["app"]?.release.rolledBack?.wanted ?? "" })],
    ]);
    const state = { ...(desired as DesiredState), services: wanted };
    const engine = observed.engine as Reachable;
    const beside = (services: typeof memory): ChangeDocument[] =>
      listChanges({ kind: "observed", observed: { engine, files: undefined, services, obstacles: new Map() } }, state);
    expect(beside(memory)).toMatchObject([
      { action: "none", effects: [expect.stringMatching(/^rolled back to dir:/)] },
    ]);
    expect(beside({})).toMatchObject([{ action: "recreate" }]);
  });

  test("is no word in the reason as soon as its manifest is another one", async () => {
    await rollBack();
    node.events.length = 0;
    node.source.set({ app: app("app:2") });
    await node.untilSettled(["app"]);
    expect(shown("app").filter(({ reason }) => reason.includes("rolled back"))).toEqual([]);
  });
});

test("a service that a person stops is stopped all the while, however long its end takes", async () => {
  node.engine.images.set("app:2", { ignoresStop: true });
  node.source.set({ app: app("app:2") });
  await node.clock.advanceUntil(() => node.engine.running("app")?.image === "app:2", 60_000, "app:2");
  await node.untilSettled(["app"]);
  node.events.length = 0;
  node.agent.request({ kind: "stop", service: "app", actor: ADA });
  await node.clock.advance(20_000);
  expect(new Set(shown("app").map(({ state }) => state))).toEqual(new Set(["stopped"]));
  expect(node.engine.running("app")).toBeUndefined();
});

test("while a release cannot start for a port, what serves is said with its health, once, and shown", async () => {
  const before = node.engine.running("app")?.id;
  const { revision } = node.view("app");
  node.engine.host.heldPorts.add("127.0.0.1:9090:1");
  node.source.set({ app: app("app:1", { top: 'ports = ["127.0.0.1:9090:90"]' }) });
  await node.until("backoff", ["app"], 20_000);
  await node.clock.advance(30_000);
  const views = shown("app").filter(({ state }) => state === "backoff");
  for (const view of views) {
    expect(view.reason).toMatch(new RegExp(`^[^;]*; ${revision} still runs \\(healthy\\)$`));
    expect([view.container, view.revision]).toEqual([before, revision]);
  }
  expect(views.length).toBeGreaterThan(2);
});

describe("a hostname that is another service's name", () => {
  test("holds the service that took it, and not the other, whichever was changed", async () => {
    node.source.set({ db: app("app:1"), web: app("app:1", { top: 'hostname = "db"' }) });
    await node.until("held", ["web"]);
    expect(node.view("web").reason).toMatch(
      /^hostname "db" is the name of another service on this node: .*write another/,
    );
    await node.untilSettled(["db", "app"]);
    expect(node.engine.running("web")).toBeUndefined();
    node.source.set({ web: app("app:1") });
    await node.untilSettled(["web"]);
  });

  test("holds a new service whose name is taken, and the one that runs goes on", async () => {
    node.source.set({ web: app("app:1", { top: 'hostname = "db"' }) });
    await node.untilSettled(["web"]);
    node.source.set({ db: app("app:1") });
    await node.until("held", ["db"]);
    await node.clock.advance(60_000);
    expect([node.view("web").state, node.engine.running("db")]).toEqual(["healthy", undefined]);
  });
});

test("ages and waits in a reason are counted when status is read, not when it was planned", async () => {
  node.source.set({ app: buildManifest({ image: "app:2", tables: '[update]\nsettle = "10m"\n' }) });
  await node.clock.advanceUntil(() => node.view("app").reason.startsWith("healthy for "), 60_000, "app:2 healthy");
  const state = reduceStatus(beginState(0, {}), { kind: "turn", atMs: node.clock.nowMs(), turn: node.turn });
  const context = { node: "vm1", version: "1", startedMs: 0, socket: undefined, notes: [] };
  const read = (afterMs: number): string | undefined =>
    buildStatus(state, { ...context, nowMs: node.clock.nowMs() + afterMs }).services[0]?.reason;
  expect(read(0)).toBe(node.view("app").reason);
  expect(read(60_000)).toMatch(/^healthy for 1m(?: \ds)?, settled in 8m 59s$/);
  expect(read(3_600_000)).toMatch(/^healthy for 1h, settled in 0ms$/);
});
