// The worst hour: a password has leaked and must be replaced while other services of the node are broken, wait for a node that is
// away, are paused, or cannot be given what is new. Nobody waits for those that have nothing to do with it, and who does have to
// do with it keeps the others waiting for a time that is known.

import { afterEach, describe, expect, test } from "vitest";

import { buildManifest } from "../../builders/node/manifest.ts";
import { type NodeChoices, TestNode } from "../../builders/node/node.ts";
import { deliveredTo } from "../../builders/node/secret-node.ts";
import { FakeSecrets } from "../../fakes/fake-secrets.ts";

const LEAKED = "/prod/app/PASSWORD";
const OTHER = "/prod/other/TOKEN";
const AWAY = "tcp://10.0.0.9:5432";
const ACTOR = { uid: 1000, user: "admin" };
/** What a service has to settle: healthy_within and settle. */
const TURN_MS = 35_000;

/** A service that takes these secrets, as variables or as files. */
function taking(
  paths: readonly string[],
  parts: { top?: string; image?: string; as?: "env" | "files"; update?: string } = {},
): string {
  const { top = "", image = "app:1", as = "env", update = "" } = parts;
  const names = paths.map((path) => `${path.split("/").at(-1) ?? ""} = "${path}"`);
  const tables = `[update]\nsettle = "5s"\nhealthy_within = "30s"\n${update}\n[secrets.${as}]\n${names.join("\n")}`;
  return buildManifest({ image, top, tables });
}

const nodes: TestNode[] = [];

afterEach(async () => {
  for (const node of nodes.splice(0)) await node.dispose();
});

async function bringUp(
  manifests: Record<string, string>,
  choices: NodeChoices & { unsettled?: readonly string[] } = {},
): Promise<{ node: TestNode; secrets: FakeSecrets }> {
  const secrets = new FakeSecrets();
  secrets.values.set(LEAKED, "old leaked").set(OTHER, "old other");
  const node = new TestNode({ endpoints: new Set([AWAY]), ...choices, secrets });
  nodes.push(node);
  node.engine.images.set("broken:1", {});
  node.source.set(manifests);
  await node.start();
  await node.untilSettled(Object.keys(manifests).filter((name) => choices.unsettled?.includes(name) !== true));
  return { node, secrets };
}

/** From now on every container of this image ends 300 ms after its start. */
function breakImage(node: TestNode): void {
  node.engine.images.set("broken:1", { endsAfterMs: 300, exitCode: 7, healthyAfterMs: Number.POSITIVE_INFINITY });
  for (const service of ["z", "a"]) {
    const container = node.engine.running(service);
    if (container?.image === "broken:1") node.engine.end(container, 7);
  }
}

function valueIn(node: TestNode, service: string, name = "PASSWORD"): string | undefined {
  return node.engine.of(service).find((entry) => entry.status === "running")?.request?.extraEnv[name];
}

function newestOf(node: TestNode, service: string, name: string): string | undefined {
  return node.engine.of(service).at(-1)?.request?.extraEnv[name];
}

function notesOf(node: TestNode, service: string): string {
  return node.view(service).notes.join("\n");
}

/** Waits until the service runs with the new value; answers how long that took. */
async function untilNew(node: TestNode, service: string, withinMs: number): Promise<number> {
  const beganMs = node.clock.nowMs();
  await node.clock.advanceUntil(
    () => valueIn(node, service) === "new leaked",
    withinMs,
    `${service} has the new value`,
  );
  return node.clock.nowMs() - beganMs;
}

describe("an unrelated service that does not settle keeps nobody waiting", () => {
  const stuck: Record<string, { z: string; prepare: (node: TestNode) => Promise<void> | void; state: string }> = {
    "it crashes for days": {
      z: taking([OTHER], { image: "broken:1" }),
      prepare: async (node) => {
        breakImage(node);
        await node.clock.advance(2 * 86_400_000);
      },
      state: "backoff",
    },
    "it crashes and nothing is rolled back": {
      z: taking([OTHER], { image: "broken:1", update: "rollback = false" }),
      prepare: async (node) => {
        breakImage(node);
        await node.clock.advance(600_000);
      },
      state: "backoff",
    },
    "it waits for a node that is away": {
      z: taking([OTHER], { top: `requires = ["${AWAY}"]` }),
      prepare: (node) => void node.endpoints.delete(AWAY),
      state: "healthy",
    },
    "a person has paused it": {
      z: taking([OTHER]),
      prepare: (node) => node.agent.request({ kind: "pause", service: "z", actor: ACTOR }),
      state: "paused",
    },
  };

  test.each(Object.entries(stuck))("%s", async (_name, { z, prepare, state }) => {
    const { node, secrets } = await bringUp({ a: taking([LEAKED]), z });
    await prepare(node);
    await node.clock.advance(2_000);
    expect(["healthy", state]).toContain(node.view("z").state);
    // Its own secret changes first, so that it is the one under way.
    secrets.set({ [OTHER]: "new other" });
    await node.clock.advance(3_000);
    expect(node.view("z").settled).toBe(false);
    secrets.set({ [LEAKED]: "new leaked" });
    expect(await untilNew(node, "a", 10_000)).toBeLessThan(2_000);
    await node.untilSettled(["a"], 10_000);
  });
});

describe("services that share the value", () => {
  test("one that was broken before has its turn, goes back with its cause, and the other takes the value", async () => {
    const { node, secrets } = await bringUp({
      a: taking([LEAKED], { top: 'wants = ["z"]\nwants_timeout = "1s"' }),
      z: taking([LEAKED], { image: "broken:1" }),
    });
    breakImage(node);
    await node.clock.advance(86_400_000);
    secrets.set({ [LEAKED]: "new leaked" });
    // It is tried with the new value at once, without its backoff of minutes.
    await node.clock.advanceUntil(() => newestOf(node, "z", "PASSWORD") === "new leaked", 3_000, "z is tried");
    await node.clock.advance(1_000);
    expect(notesOf(node, "a")).toBe(`waits with the new value of ${LEAKED}: z takes it first, see orca why z`);
    expect(await untilNew(node, "a", TURN_MS + 10_000)).toBeGreaterThan(20_000);
    await node.untilSettled(["a"], 10_000);
    expect(node.view("z").reason).toMatch(/did not settle within 30s: it ended with exit code 7/);
    expect(notesOf(node, "z")).toContain(`runs with its old value of ${LEAKED} again`);
    expect(notesOf(node, "z")).toContain("it was not well before either");
    expect(node.engine.of("z").map((entry) => entry.request?.extraEnv["PASSWORD"])).toContain("old leaked");
    expect(notesOf(node, "a")).toBe("");
    // And then nothing more changes: no value is handed back and forth.
    const since = node.events.length;
    await node.clock.advance(600_000);
    expect(
      node.events.slice(since).filter((event) => event.kind === "step-done" && event.step.kind === "create-container"),
    ).toEqual([]);
    expect(valueIn(node, "a")).toBe("new leaked");
  });

  test("one that never was well has its turn and keeps the newest, and the other takes the value", async () => {
    const { node, secrets } = await bringUp(
      {
        a: taking([LEAKED], { top: 'wants = ["z"]\nwants_timeout = "1s"' }),
        z: taking([LEAKED], { image: "never:1" }),
      },
      { unsettled: ["z", "a"] },
    );
    node.engine.images.set("never:1", { endsAfterMs: 300, exitCode: 3, healthyAfterMs: Number.POSITIVE_INFINITY });
    await node.untilSettled(["a"]);
    await node.clock.advance(600_000);
    secrets.set({ [LEAKED]: "new leaked" });
    await node.clock.advance(2_000);
    expect(valueIn(node, "a")).toBe("old leaked");
    expect(await untilNew(node, "a", TURN_MS + 5_000)).toBeGreaterThan(20_000);
    expect(newestOf(node, "z", "PASSWORD")).toBe("new leaked");
    expect(notesOf(node, "z")).toBe(
      `has not settled with the new value of ${LEAKED} in its time: it was not well before either, so that others do not wait for it`,
    );
  });

  test("one that waits for a node that is away: the other waits as long as a turn takes, and it takes the value when the node is back", async () => {
    const { node, secrets } = await bringUp({
      a: taking([LEAKED]),
      "0z": taking([LEAKED], { top: `requires = ["${AWAY}"]` }),
    });
    node.endpoints.delete(AWAY);
    await node.clock.advance(20_000);
    secrets.set({ [LEAKED]: "new leaked" });
    const tookMs = await untilNew(node, "a", TURN_MS + 5_000);
    expect(tookMs).toBeGreaterThan(TURN_MS - 5_000);
    // What runs goes on with what it has, and why says for what it waits.
    expect(valueIn(node, "0z")).toBe("old leaked");
    expect(node.view("0z").waitingFor).toEqual([AWAY]);
    expect(notesOf(node, "0z")).toContain("in its time: other services do not wait for it any more");
    node.endpoints.add(AWAY);
    await node.untilSettled(["0z", "a"], 60_000);
    await node.clock.advance(1_000);
    expect(valueIn(node, "0z")).toBe("new leaked");
    expect(notesOf(node, "0z")).toBe("");
  });

  test("one that was well and fails keeps that value from the others, with the cause, and no other value", async () => {
    const { node, secrets } = await bringUp({
      a: taking([LEAKED, OTHER], { top: 'requires = ["z"]' }),
      z: taking([LEAKED]),
    });
    node.engine.rejects = (request) => request.extraEnv["PASSWORD"] === "bad";
    secrets.set({ [LEAKED]: "bad" });
    await node.until("rolled-back", ["z"]);
    await node.clock.advance(60_000);
    expect(notesOf(node, "a")).toMatch(
      new RegExp(
        `^keeps its old value of ${LEAKED}, since z failed with the new one: .*did not settle within 30s.*; until the value changes again, or orca sync --retry z$`,
      ),
    );
    expect(notesOf(node, "z")).toBe(
      `runs with its old value of ${LEAKED} again: other services that use it keep theirs`,
    );
    secrets.set({ [OTHER]: "new other" });
    await node.clock.advance(60_000);
    expect([valueIn(node, "a"), valueIn(node, "a", "TOKEN")]).toEqual(["old leaked", "new other"]);
    // What made it fail is mended outside, and a person lets it try again.
    node.engine.rejects = () => false;
    node.agent.request({ kind: "sync", retry: "z", allowRemoval: undefined, actor: ACTOR });
    await node.clock.advance(2_000);
    expect([valueIn(node, "z"), valueIn(node, "a")]).toEqual(["bad", "old leaked"]);
    await node.clock.advance(60_000);
    expect([valueIn(node, "z"), valueIn(node, "a"), notesOf(node, "a")]).toEqual(["bad", "bad", ""]);
  });

  test("what one service has failed with another is given by a change of its own manifest, and be it a comment", async () => {
    const a = taking([LEAKED], { top: 'requires = ["z"]' });
    const { node, secrets } = await bringUp({ a, z: taking([LEAKED]) });
    node.engine.rejects = (request) => request.service === "z" && request.extraEnv["PASSWORD"] === "new leaked";
    secrets.set({ [LEAKED]: "new leaked" });
    await node.until("rolled-back", ["z"]);
    await node.clock.advance(60_000);
    expect(valueIn(node, "a")).toBe("old leaked");
    node.source.set({ a: `${a}\n# the leaked one must go` });
    expect(await untilNew(node, "a", 10_000)).toBeLessThan(3_000);
    await node.untilSettled(["a"]);
  });

  test("nothing is rolled back by its manifest: it fails in its time, and the others keep their value too", async () => {
    const { node, secrets } = await bringUp({
      a: taking([LEAKED], { top: 'requires = ["z"]' }),
      z: taking([LEAKED], { update: "rollback = false" }),
    });
    node.engine.rejects = (request) => request.extraEnv["PASSWORD"] === "bad";
    secrets.set({ [LEAKED]: "bad" });
    await node.clock.advance(300_000);
    expect([newestOf(node, "z", "PASSWORD"), valueIn(node, "a")]).toEqual(["bad", "old leaked"]);
    expect(notesOf(node, "a")).toContain("since z failed with the new one");
  });

  test("one that fails because what it requires went away says nothing of the value: the other takes it after its turn", async () => {
    const { node, secrets } = await bringUp({
      a: taking([LEAKED]),
      // Looked at often enough to be seen to fail before it has settled.
      "0z": taking([LEAKED], { top: `requires = ["${AWAY}"]` }).replace("port = 80 }", 'port = 80 }\ninterval = "1s"'),
    });
    secrets.set({ [LEAKED]: "new leaked" });
    await node.clock.advanceUntil(() => valueIn(node, "0z") === "new leaked", 5_000, "the first has it");
    node.endpoints.delete(AWAY);
    node.sick.add(node.engine.running("0z")?.id ?? "");
    expect(await untilNew(node, "a", TURN_MS + 5_000)).toBeGreaterThan(TURN_MS - 5_000);
    expect(node.view("0z").settled).toBe(false);
  });

  test("one that gets another manifest in the middle is a release like any other: its failure says nothing of the value", async () => {
    const { node, secrets } = await bringUp({ a: taking([LEAKED]), c: taking([LEAKED]), "0z": taking([LEAKED]) });
    secrets.set({ [LEAKED]: "new leaked" });
    await node.clock.advance(2_000);
    expect(valueIn(node, "a")).toBe("old leaked");
    node.engine.images.set("bad:1", { healthyAfterMs: Number.POSITIVE_INFINITY });
    node.source.set({ "0z": taking([LEAKED], { image: "bad:1" }) });
    expect(await untilNew(node, "a", 10_000)).toBeLessThan(3_000);
    await node.until("rolled-back", ["0z"]);
    await node.clock.advance(60_000);
    expect([valueIn(node, "a"), valueIn(node, "c"), notesOf(node, "c")]).toEqual(["new leaked", "new leaked", ""]);
  });

  test("one that cannot be given the value as its template stands keeps nobody waiting, and says so", async () => {
    const file = '[[files]]\nsource = "files/app.conf"\ntarget = "/etc/app.conf"\ntemplate = true';
    const templated = taking([LEAKED]).replace("[secrets.env]", `${file}\n[secrets.env]`);
    const { node, secrets } = await bringUp({ plain: buildManifest() });
    node.source.setFile("files/app.conf", "password={{ secrets.PASSWORD }}\n");
    node.source.set({ a: taking([LEAKED]), "0z": templated });
    secrets.set({ [LEAKED]: "old-leaked" });
    await node.clock.advance(60_000);
    expect([valueIn(node, "0z"), valueIn(node, "a")]).toEqual(["old-leaked", "old-leaked"]);
    secrets.set({ [LEAKED]: "new leaked" });
    expect(await untilNew(node, "a", 10_000)).toBeLessThan(2_000);
    await node.until("refused", ["0z"], 30_000);
    expect(node.view("0z")).toMatchObject({ state: "refused", settled: true });
    expect(node.view("0z").reason).toContain("cannot be delivered");
    expect(valueIn(node, "0z")).toBe("old-leaked");
  });
});

describe("a new value is a release's first start", () => {
  test("of a file, too: what runs is not stopped while what it requires is away", async () => {
    const { node, secrets } = await bringUp({
      app: taking([LEAKED], { as: "files", top: `requires = ["${AWAY}"]` }),
    });
    const run = node.engine.running("app")?.detail.startedMs;
    node.endpoints.delete(AWAY);
    await node.clock.advance(20_000);
    const calls = node.engine.calls.length;
    secrets.set({ [LEAKED]: "new leaked" });
    await node.clock.advance(3_600_000);
    expect(node.engine.calls.slice(calls)).toEqual([]);
    expect(deliveredTo(node)).toEqual({ PASSWORD: "old leaked" });
    expect(node.view("app")).toMatchObject({ state: "healthy", settled: false, waitingFor: [AWAY] });
    expect(node.view("app").reason).toMatch(
      /it starts anew \(.* has a new value\) when it may: waiting for tcp:\/\/10\.0\.0\.9:5432/,
    );
    node.endpoints.add(AWAY);
    await node.untilSettled(["app"], 60_000);
    expect(deliveredTo(node)).toEqual({ PASSWORD: "new leaked" });
    expect(node.engine.running("app")?.detail.startedMs).not.toBe(run);
  });

  test("expires holds for it as for any start", async () => {
    const { node, secrets } = await bringUp({
      app: taking([LEAKED], { as: "files", top: `requires = [{ on = "${AWAY}", expires = "2m", then = "start" }]` }),
    });
    node.endpoints.delete(AWAY);
    await node.clock.advance(20_000);
    secrets.set({ [LEAKED]: "new leaked" });
    await node.clock.advance(110_000);
    expect(deliveredTo(node)).toEqual({ PASSWORD: "old leaked" });
    await node.clock.advance(15_000);
    expect(deliveredTo(node)).toEqual({ PASSWORD: "new leaked" });
    await node.untilSettled(["app"], 60_000);
  });
});

describe("a person's word", () => {
  test("a service that was stopped stays stopped when its secret changes, and starts with the new value", async () => {
    const { node, secrets } = await bringUp({ a: taking([LEAKED]), z: taking([LEAKED]) });
    node.agent.request({ kind: "stop", service: "a", actor: ACTOR });
    await node.until("stopped", ["a"]);
    secrets.set({ [LEAKED]: "new leaked" });
    await node.clock.advance(120_000);
    expect(node.view("a").state).toBe("stopped");
    expect(valueIn(node, "z")).toBe("new leaked");
    node.agent.request({ kind: "start", service: "a", ignoreRequires: false, actor: ACTOR });
    await node.untilSettled(["a"]);
    expect(valueIn(node, "a")).toBe("new leaked");
  });

  test("a release that a person went back to stays, until resume", async () => {
    const { node, secrets } = await bringUp({ a: taking([LEAKED], { image: "app:1" }), z: taking([LEAKED]) });
    node.source.set({ a: taking([LEAKED], { image: "app:2" }) });
    await node.clock.advanceUntil(() => node.engine.running("a")?.image === "app:2", 60_000, "app:2");
    await node.untilSettled(["a"]);
    const [, release] = node.agent.store.listReleases("a", 10);
    if (release === undefined) throw new Error("there is no such release");
    node.agent.request({ kind: "rollback", service: "a", release, actor: ACTOR });
    await node.clock.advanceUntil(() => node.engine.running("a")?.image === "app:1", 60_000, "app:1");
    secrets.set({ [LEAKED]: "new leaked" });
    await node.clock.advance(120_000);
    expect(node.engine.running("a")?.image).toBe("app:1");
    expect(valueIn(node, "z")).toBe("new leaked");
    node.agent.request({ kind: "resume", service: "a", actor: ACTOR });
    await node.clock.advance(60_000);
    expect([node.engine.running("a")?.image, valueIn(node, "a")]).toEqual(["app:2", "new leaked"]);
  });
});
