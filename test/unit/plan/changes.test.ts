// The planner behind every form of `orca plan`: what one desired state changes against another, and against what runs on a node.

import { expect, test } from "vitest";

import { listChanges, type Observed } from "../../../agent/plan/compare/changes.ts";
import type { DesiredService, DesiredState, Objection } from "../../../shared/state/desired-state.ts";
import { beginService, type ServiceMemory, setPart } from "../../../shared/state/memory.ts";
import type { ObservedContainer } from "../../../shared/state/observed-state.ts";
import type { Reason } from "../../../shared/state/reason.ts";
import { buildContainer, buildDesired, buildExit, buildTurn } from "../../builders/node/turns.ts";

function buildState(services: readonly DesiredService[], objections: Record<string, Objection> = {}): DesiredState {
  const { desired } = buildTurn({ views: [], desired: services });
  if (desired === undefined) throw new Error("the turn has no desired state");
  return { ...desired, objections: new Map(Object.entries(objections)) };
}

function objectTo(why: Reason): Objection {
  return { state: "refused", why, problems: [] };
}

function observe(containers: readonly ObservedContainer[], services: Record<string, ServiceMemory> = {}): Observed {
  const engine = { reachable: true, run: "run-1", containers, volumes: {}, foreign: [], networks: {} } as const;
  return { engine, files: undefined, services, obstacles: new Map() };
}

const app = buildDesired("app");
const ended = buildContainer("app", { specHash: app.specHash, status: "exited", exitCode: 0 });

test("the same service changes by the same facts, whatever it is compared with", () => {
  const next = buildDesired("app", { spec: { image: "app:2" }, specHash: "v1:next" });
  const [planned] = listChanges({ kind: "desired", state: buildState([app]) }, buildState([next]));
  const running = buildContainer("app", { specHash: app.specHash, image: app.spec.image, caps: app.caps });
  const [found] = listChanges({ kind: "observed", observed: observe([running]) }, buildState([next]));
  expect(planned).toMatchObject({ action: "recreate", restarts: true, facts: [{ code: "image", to: "app:2" }] });
  expect(found).toEqual(planned);
  const created = listChanges({ kind: "observed", observed: observe([]) }, buildState([app]));
  expect(created).toEqual(listChanges({ kind: "desired", state: buildState([]) }, buildState([app])));
});

test("an objection is the same by its code and fields, and not by the words that these happen to have", () => {
  const compare = (before: Reason, after: Reason): string | undefined =>
    listChanges(
      { kind: "desired", state: buildState([], { app: objectTo(before) }) },
      buildState([], { app: objectTo(after) }),
    )[0]?.action;
  const taken: Reason = { code: "name-taken", container: "a", owner: undefined };
  expect(compare(taken, { ...taken })).toBe("none");
  expect(compare(taken, { ...taken, container: "b" })).toBe("refused");
  expect(compare({ code: "said", said: { message: "x" } }, { code: "said", said: { message: "x", output: "y" } })).toBe(
    "refused",
  );
});

test("what a person stopped, and what its restart policy leaves ended, stays as it is until its manifest changes", () => {
  const wanted = app.fingerprint;
  const stopped = setPart(beginService(wanted), "operator", { stoppedBy: { wanted, uid: 1_000 } });
  const at = (service: DesiredService, memory: ServiceMemory): unknown =>
    listChanges({ kind: "observed", observed: observe([ended], { app: memory }) }, buildState([service]))[0];
  expect(at(app, stopped)).toMatchObject({ action: "none", facts: [{ code: "kept", why: { code: "stopped-by" } }] });
  expect(at({ ...app, fingerprint: "another" }, stopped)).toMatchObject({ action: "start" });
  const once = { ...app, restart: { ...app.restart, policy: "on-failure" as const } };
  const exit = { ...buildExit("app"), container: ended.id, exitCode: 0, requested: undefined, engineStopped: false };
  const done = setPart(beginService(wanted), "run", { lastExit: exit });
  expect(at(once, done)).toMatchObject({ action: "none", facts: [{ why: { code: "policy-leaves-ended" } }] });
  expect(at(app, done)).toMatchObject({ action: "start", facts: [{ code: "container", status: "exited" }] });
});
