// Files with secrets in them, in trouble: changed by hand, an agent that is killed in between, values that the host's law or
// the file itself cannot take.

import { appendFileSync, chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { buildStrictPolicy } from "../../../shared/policy/policy.ts";
import { readMounted } from "../../builders/node/delivered.ts";
import { type NodeChoices, type TestNode } from "../../builders/node/node.ts";
import {
  buildTemplated,
  contentWith,
  FIRST_VALUE,
  openTemplated,
  PATH,
  readContent,
  TARGET,
} from "../../builders/node/templated.ts";

const nodes: TestNode[] = [];

afterEach(async () => {
  for (const node of nodes.splice(0)) await node.dispose();
});

function open(choices: NodeChoices = {}): ReturnType<typeof openTemplated> {
  const opened = openTemplated(choices);
  nodes.push(opened.node);
  return opened;
}

async function bringUp(
  manifest = buildTemplated(),
  choices: NodeChoices = {},
): Promise<ReturnType<typeof openTemplated>> {
  const opened = open(choices);
  opened.node.source.set({ app: manifest });
  await opened.node.start();
  await opened.node.untilSettled(["app"]);
  return opened;
}

describe("changed by hand", () => {
  test.each([
    ["edited", (path: string) => writeFileSync(path, "tampered, and of another length")],
    ["added to", (path: string) => appendFileSync(path, "x")],
    ["readable for others", (path: string) => chmodSync(path, 0o666)],
  ])("%s: put right in place", async (_how, change) => {
    const { node } = await bringUp();
    const before = readMounted(node, TARGET);
    change(before.path);
    await node.clock.advance(40_000);
    expect(readMounted(node, TARGET)).toEqual(before);
  });

  test("removed: it is there again, and a later value restarts it, since its mount has the old file", async () => {
    const { node, secrets } = await bringUp(buildTemplated({ file: 'on_change = { signal = "SIGUSR1" }' }));
    rmSync(readMounted(node, TARGET).path);
    await node.clock.advance(40_000);
    expect(readContent(node)).toBe(contentWith(FIRST_VALUE));
    const before = node.engine.calls.length;
    secrets.set({ [PATH]: "new-value" });
    await node.clock.advance(60_000);
    expect(node.engine.calls.slice(before).map(({ call }) => call)).toEqual(["stopContainer", "startContainer"]);
  });

  test("while the agent was away: found at its start", async () => {
    const { node } = await bringUp();
    const before = readMounted(node, TARGET);
    await node.stop();
    writeFileSync(before.path, "tampered");
    await node.start();
    await node.clock.advance(1_000);
    expect(readMounted(node, TARGET)).toEqual(before);
  });
});

describe("kill -9", () => {
  /** Kills the agent when it has done this many steps, and starts it again; false when it never did so many. */
  async function killAfter(node: TestNode, steps: number): Promise<boolean> {
    let done = 0;
    let killed = false;
    const push = node.events.push.bind(node.events);
    node.events.push = (...events) => {
      for (const event of events) {
        if (event.kind === "step-done") done += 1;
        if (done < steps || killed) continue;
        killed = true;
        node.kill();
      }
      return push(...events);
    };
    await node.clock.advance(90_000);
    node.events.push = push;
    if (!killed) return false;
    await node.start();
    return true;
  }

  test("after any step of a first start: the same end", async () => {
    for (let steps = 1; ; steps += 1) {
      const { node } = open();
      node.source.set({ app: buildTemplated({ top: 'user = "1234"' }) });
      await node.start();
      const killed = await killAfter(node, steps);
      await node.untilSettled(["app"]);
      expect(readMounted(node, TARGET)).toMatchObject({
        content: contentWith(FIRST_VALUE),
        mode: "0400",
        owner: "1234:1234",
      });
      expect(node.engine.of("app").map(({ status }) => status)).toEqual(["running"]);
      if (!killed) {
        expect(steps).toBeGreaterThan(4);
        return;
      }
    }
  });

  test("after any step of a rotation: the new value, told once", async () => {
    for (let steps = 1; ; steps += 1) {
      const { node, secrets } = await bringUp(buildTemplated({ file: 'on_change = { signal = "SIGUSR1" }' }));
      secrets.set({ [PATH]: "new-value" });
      const killed = await killAfter(node, steps);
      await node.clock.advance(60_000);
      expect(readContent(node)).toBe(contentWith("new-value"));
      expect(node.view("app")).toMatchObject({ state: "healthy", settled: true });
      expect(node.engine.of("app").length).toBe(1);
      if (!killed) {
        expect(steps).toBeGreaterThan(2);
        return;
      }
    }
  });

  test.each(["half of it", "all of it"])(
    "while it was being written (%s): what was noted before does not count",
    async (how) => {
      const { node, secrets } = await bringUp(buildTemplated({ file: 'on_change = { signal = "SIGUSR1" }' }));
      const { path } = readMounted(node, TARGET);
      const marks = `${dirname(path).replace(/\.files$/, "")}.json`;
      expect(readFileSync(marks, "utf8")).not.toContain("correct-horse");
      node.kill();
      // The new value is in the file, the note of it is not; then the provider takes it back.
      writeFileSync(path, how === "half of it" ? contentWith("new-value").slice(0, 20) : contentWith("new-value"));
      secrets.set({ [PATH]: FIRST_VALUE });
      await node.start();
      await node.clock.advance(5_000);
      expect(readContent(node)).toBe(contentWith(FIRST_VALUE));
    },
  );
});

describe("what the host's law and the file itself cannot take", () => {
  const policy = { ...buildStrictPolicy(), text: { forbidden: ["password=bad", "conf\\.test"] } };

  test("the file is judged with the value in it, also where text and value make it together", async () => {
    const { node, secrets } = open({ settings: { policy } });
    secrets.values.set(PATH, "bad");
    node.source.set({ app: buildTemplated() });
    await node.start();
    await node.until("refused", ["app"]);
    expect(node.view("app").reason).toBe(
      "the host's policy refuses it: /etc/app.conf: the file holds what is forbidden on this host: password=bad; rule text.forbidden",
    );
    expect(node.engine.of("app")).toEqual([]);
  });

  test.each([
    ["that the host forbids", "bad", "rule text.forbidden"],
    ["that would break out of the file", 'x"\ninjected=1', "has characters that could end the text around it"],
  ])("a new value %s is not taken: it goes on with the old one and says why", async (_what, value, reason) => {
    const { node, secrets } = await bringUp(buildTemplated(), { settings: { policy } });
    const calls = node.engine.calls.length;
    secrets.set({ [PATH]: value });
    await node.clock.advance(60_000);
    expect(node.view("app").reason).toContain(reason);
    expect(node.view("app").reason).not.toContain("injected");
    expect(readContent(node)).toBe(contentWith(FIRST_VALUE));
    expect(node.engine.calls.length).toBe(calls);
    // However many follow: the one that it has is kept.
    for (let count = 0; count < 5; count += 1) {
      secrets.set({ [PATH]: `${value}${count}` });
      await node.clock.advance(10_000);
    }
    rmSync(readMounted(node, TARGET).path);
    await node.clock.advance(60_000);
    expect(readContent(node)).toBe(contentWith(FIRST_VALUE));
    // It is still healed.
    node.engine.end(node.engine.running("app") as never, 1);
    await node.clock.advance(30_000);
    expect(node.engine.running("app")).toBeDefined();
    secrets.set({ [PATH]: "good-value" });
    await node.clock.advance(60_000);
    expect(readContent(node)).toBe(contentWith("good-value"));
    expect(node.view("app")).toMatchObject({ state: "healthy", settled: true });
  });

  test("a path that is for templates alone is judged too, before anybody is asked for it", async () => {
    const strict = { ...buildStrictPolicy(), secrets: { allowed_prefixes: ["/stage"] } };
    const { node, secrets } = open({ settings: { policy: strict } });
    node.source.set({ app: buildTemplated() });
    await node.start();
    await node.until("refused", ["app"]);
    expect(node.view("app").reason).toContain("secrets.templates.DB_PASSWORD");
    expect(secrets.asked).toEqual(new Set());
  });
});
