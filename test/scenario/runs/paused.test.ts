// A container that a person has paused lives: it has its data, its ports and its memory, and writes on once it goes on. Whatever
// ends for something else ends first, and whatever still serves goes on.

import { afterEach, beforeEach, expect, test } from "vitest";

import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import type { FakeContainer } from "../../fakes/fake-container.ts";

let node: TestNode;
/** Services of which two containers lived at once. */
let doubles: string[];

beforeEach(() => {
  node = new TestNode({ settings: { frontImage: FRONT_IMAGE } });
  node.engine.images.set(FRONT_IMAGE, {});
  doubles = node.watchDoubles();
});

afterEach(() => node.dispose());

function pause(service: string): FakeContainer {
  const container = node.engine.running(service);
  if (container === undefined) throw new Error(`${service} does not run`);
  node.engine.touch(container, "pause", (entry) => (entry.status = "paused"));
  return container;
}

const DATA = '[[volumes]]\nname = "data"\ntarget = "/data"\n';
const NO_BACKUP = 'backup = { none = "a test" }\n';

test("another release comes: the paused one ends before the new one starts", async () => {
  node.source.set({ app: buildManifest() });
  await node.start();
  await node.untilSettled(["app"]);
  const old = pause("app");
  node.source.set({ app: buildManifest({ image: "app:2" }) });
  await node.clock.advance(60_000);
  expect(node.engine.running("app")?.image).toBe("app:2");
  expect(node.engine.find(old.id)?.status).not.toBe("paused");
  expect(doubles).toEqual([]);
});

test("it gets another name: the paused one under the old name ends before the new one has its data", async () => {
  node.source.set({ old: buildManifest({ top: NO_BACKUP, tables: DATA }), db: buildManifest() });
  await node.start();
  await node.untilSettled(["old"]);
  const old = pause("old");
  const calls = node.engine.calls.length;
  node.source.set({ old: undefined, new: buildManifest({ top: `${NO_BACKUP}moved_from = "old"`, tables: DATA }) });
  await node.clock.advance(60_000);
  const now = node.engine.running("new");
  const done = node.engine.calls.slice(calls).map(({ call, subject }) => `${call} ${subject}`);
  expect(done.indexOf(`stopContainer ${old.id}`)).toBeGreaterThanOrEqual(0);
  expect(done.indexOf(`startContainer ${now?.id}`)).toBeGreaterThan(done.indexOf(`stopContainer ${old.id}`));
});

const release = (image: string): string =>
  buildManifest({
    image,
    health: "tcp = { port = 80 }",
    top: 'ports = ["8080:80"]',
    tables: '[update]\norder = "start-first"\nsettle = "20s"\nhealthy_within = "1m"\n',
  });

test("the last good one is paused while a new release is tried beside it: it goes on", async () => {
  node.source.set({ app: release("app:1") });
  await node.start();
  await node.untilSettled(["app"]);
  node.engine.images.set("bad:1", {});
  node.engine.rejects = ({ spec }) => spec.image === "bad:1";
  node.source.set({ app: release("bad:1") });
  await node.clock.advanceUntil(
    () => node.engine.running("app") !== undefined && node.engine.of("app").length === 2,
    20_000,
  );
  const old = pause("app");
  await node.clock.advance(5_000);
  expect([old.status, node.fronts.serving("app.front")]).toEqual(["running", [...old.networks.values()][0]]);
});

test("the one before is paused while it loses the traffic: it is asked to end, and not killed", async () => {
  node.source.set({ app: release("app:1") });
  await node.start();
  await node.untilSettled(["app"]);
  node.source.set({ app: release("app:2") });
  await node.clock.advanceUntil(() => node.engine.of("app").length === 2, 20_000);
  await node.clock.advanceUntil(() => node.view("app").reason.startsWith("healthy for"), 30_000, "the new one is well");
  const old = node.engine.of("app").find(({ image }) => image === "app:1");
  if (old === undefined) throw new Error("the old one is gone");
  const calls = node.engine.calls.length;
  node.engine.breakEvents();
  old.status = "paused";
  await node.clock.advance(90_000);
  const done = node.engine.calls.slice(calls).filter(({ subject }) => subject === old.id);
  expect(done.map(({ call }) => call)).toEqual(["stopContainer", "removeContainer"]);
});

test("a paused job is not run a second time beside itself", async () => {
  node.engine.images.set("app:1", { endsAfterMs: 30_000, exitCode: 0 });
  node.source.set({ job: buildManifest({ top: 'schedule = "* * * * *"' }) });
  await node.start();
  await node.clock.advanceUntil(() => node.engine.running("job") !== undefined, 120_000, "the job runs");
  pause("job");
  await node.clock.advance(300_000);
  expect(doubles).toEqual([]);
});
