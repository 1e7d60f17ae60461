// Files with secrets in them: rendered into memory, changed in place, taken back, put right, and judged by the host with the
// values in them; no value is in a plan, an event or the state.

import { appendFileSync, chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { inspect } from "node:util";

import { afterEach, describe, expect, test } from "vitest";

import { FRONT_IMAGE } from "../../shared/front.ts";
import { buildStrictPolicy } from "../../shared/policy.ts";
import { findRequest, readMounted, readState } from "../builders/delivered.ts";
import { buildManifest } from "../builders/manifest.ts";
import { NODE, type NodeChoices, TestNode } from "../builders/node.ts";
import { FakeSecrets } from "../fakes/fake-secrets.ts";

const PATH = "/prod/app/PASSWORD";
const OTHER = "/prod/app/TOKEN";
const TARGET = "/etc/app.conf";
const TEMPLATE = "user=app\npassword={{ secrets.DB_PASSWORD }}\nnode={{ node }}\n";

interface Parts {
  file?: string;
  secrets?: string;
  top?: string;
  image?: string;
  update?: string;
}

/** A service with one template; its secret is for templates alone. */
function manifestOf(parts: Parts = {}): string {
  const { file = "", top = "", image = "app:1", update = "" } = parts;
  const secrets = parts.secrets ?? `[secrets.templates]\nDB_PASSWORD = "${PATH}"`;
  const files = `[[files]]\nsource = "files/app.conf"\ntarget = "${TARGET}"\ntemplate = true\n${file}`;
  const tables = `[update]\nsettle = "5s"\nhealthy_within = "30s"\n${update}\n${secrets}\n${files}`;
  return buildManifest({ image, top, tables });
}

const nodes: TestNode[] = [];

afterEach(async () => {
  for (const node of nodes.splice(0)) await node.dispose();
});

function open(choices: NodeChoices = {}): { node: TestNode; secrets: FakeSecrets } {
  const secrets = new FakeSecrets();
  secrets.values.set(PATH, "correct-horse-1");
  secrets.values.set(OTHER, "token-1");
  const node = new TestNode({ ...choices, secrets });
  nodes.push(node);
  node.source.setFile("files/app.conf", TEMPLATE);
  return { node, secrets };
}

async function bringUp(
  manifest = manifestOf(),
  choices: NodeChoices = {},
): Promise<{ node: TestNode; secrets: FakeSecrets }> {
  const opened = open(choices);
  opened.node.source.set({ app: manifest });
  await opened.node.start();
  await opened.node.untilSettled(["app"]);
  return opened;
}

const contentWith = (value: string): string => `user=app\npassword=${value}\nnode=${NODE}\n`;
const read = (node: TestNode): string => readMounted(node, TARGET).content;

describe("delivery", () => {
  test("at its target, read-only, from memory; no value is in the request, an event or the state", async () => {
    const { node } = await bringUp();
    const bind = findRequest(node).binds.find(({ target }) => target === TARGET);
    expect(bind).toMatchObject({ readOnly: true, source: expect.stringMatching(`^${node.runDir}/secrets/app/`) });
    expect(read(node)).toBe(contentWith("correct-horse-1"));
    expect(findRequest(node).extraEnv).toEqual({});
    const shown = inspect(node.events, { depth: null, maxArrayLength: null, maxStringLength: null });
    const everything = [JSON.stringify(findRequest(node)), shown, readState(node)];
    for (const text of everything) expect(text).not.toContain("correct-horse");
    // The recipe is kept, so that a release can be gone back to.
    expect(readState(node)).toContain("{{ secrets.DB_PASSWORD }}");
  });

  test("names of env and files are known too; those for templates alone come first", async () => {
    const secrets =
      `[secrets.templates]\nTOKEN = "${OTHER}"\n[secrets.files]\n"db.password" = "${PATH}"\n` +
      `[secrets.env]\nDB_PASSWORD = "${PATH}"\nTOKEN = "${PATH}"`;
    const { node, secrets: provider } = open();
    node.source.setFile(
      "files/app.conf",
      '{{ secrets.DB_PASSWORD }} {{ secrets["db.password"] | json }} {{ secrets.TOKEN }}',
    );
    node.source.set({ app: manifestOf({ secrets }) });
    await node.start();
    await node.untilSettled(["app"]);
    expect(read(node)).toBe('correct-horse-1 "correct-horse-1" token-1');
    expect(provider.asked).toEqual(new Set([PATH, OTHER]));
  });

  test.each([
    ["its user in numbers", { top: 'user = "1234:4321"' }, "0400 1234:4321"],
    ["its user by name", { top: 'user = "app"', image: "named" }, "0400 4021:4022"],
    ["its image's own user", { image: "named" }, "0400 4021:4022"],
    ["root, whose programs may give root up", {}, "0444 0:0"],
    ["what the manifest says", { file: 'mode = "0440"\nowner = "7:8"', image: "named" }, "0440 7:8"],
    ["a mode alone", { file: 'mode = "0440"', image: "named" }, "0440 4021:4022"],
    ["an owner alone", { file: 'owner = "7:8"' }, "0400 7:8"],
  ])("is owned by %s", async (_who, parts, expected) => {
    const { node } = open();
    const passwd = "root:x:0:0::/:\napp:x:4021:4022::/:\n";
    node.engine.images.set("named", { user: "app", files: { "/etc/passwd": passwd } });
    node.source.set({ app: manifestOf(parts) });
    await node.start();
    await node.untilSettled(["app"]);
    const { mode, owner } = readMounted(node, TARGET);
    expect(`${mode} ${owner}`).toBe(expected);
  });

  test("trial with stand-ins: a value is made up, and it does not change by itself", async () => {
    const node = new TestNode({ inMemory: true, settings: { standIns: { "*": "app:1" } } });
    nodes.push(node);
    node.source.setFile("files/app.conf", TEMPLATE);
    node.source.set({ app: manifestOf() });
    await node.start();
    await node.untilSettled(["app"]);
    expect(read(node)).toMatch(/^user=app\npassword=[\w-]{24}\nnode=vm1\n$/);
    const calls = node.engine.calls.length;
    await node.clock.advance(600_000);
    expect(node.engine.calls.length).toBe(calls);
  });
});

describe("a name that the manifest does not give", () => {
  test.each([
    ["x\n{{ secrets.MISSING }}", 'files/app.conf:2:4: the manifest names no secret "MISSING"', "MISSING = "],
    [
      "{% for s in secrets %}{% endfor %}",
      "files/app.conf:1:13: a template names each secret by itself",
      "secrets.NAME",
    ],
  ])("%s", async (template, message, hint) => {
    const { node } = open();
    node.source.setFile("files/app.conf", template);
    node.source.set({ app: manifestOf() });
    await node.start();
    await node.until("invalid", ["app"]);
    expect(node.view("app").reason).toContain(message);
    expect(node.view("app").reason).toContain(hint);
    expect(node.engine.of("app")).toEqual([]);
  });
});

describe("a new value", () => {
  test.each([
    ["its on_change", 'on_change = { signal = "SIGUSR1" }', "", ["signalContainer"]],
    ["on_rotate where it says nothing", "", '[secrets]\non_rotate = { signal = "SIGHUP" }\n', ["signalContainer"]],
    ["a restart where neither does", "", "", ["stopContainer", "startContainer"]],
    [
      "its on_change before on_rotate",
      'on_change = "restart"',
      '[secrets]\non_rotate = { signal = "SIGHUP" }\n',
      ["stopContainer", "startContainer"],
    ],
    ["a command", 'on_change = { exec = ["/bin/reload"] }', "", []],
  ])("is put in place, then %s", async (_what, file, table, calls) => {
    const { node, secrets } = await bringUp(
      manifestOf({ file, secrets: `${table}[secrets.templates]\nDB_PASSWORD = "${PATH}"` }),
    );
    const { inode } = readMounted(node, TARGET);
    const before = node.engine.calls.length;
    secrets.set({ [PATH]: "a-longer-new-value-2" });
    await node.clock.advance(60_000);
    expect(readMounted(node, TARGET)).toMatchObject({ content: contentWith("a-longer-new-value-2"), inode });
    expect(node.engine.calls.slice(before).map(({ call }) => call)).toEqual(calls);
    expect(node.view("app")).toMatchObject({ state: "healthy", settled: true });
  });

  test("a new template does the same, with the same value", async () => {
    const { node } = await bringUp(manifestOf({ file: 'on_change = { signal = "SIGUSR1" }' }));
    const { inode } = readMounted(node, TARGET);
    const before = node.engine.calls.length;
    node.source.setFile("files/app.conf", `# new\n${TEMPLATE}`);
    await node.clock.advance(60_000);
    expect(readMounted(node, TARGET)).toMatchObject({ content: `# new\n${contentWith("correct-horse-1")}`, inode });
    expect(node.engine.calls.slice(before).map(({ call }) => call)).toEqual(["signalContainer"]);
  });

  test("that makes it sick is taken back: the file holds the old one again", async () => {
    const { node, secrets } = await bringUp(manifestOf({ file: 'on_change = { signal = "SIGUSR1" }' }));
    const container = node.engine.running("app")?.id ?? "";
    secrets.set({ [PATH]: "bad-value" });
    await node.clock.advance(1_000);
    expect(read(node)).toBe(contentWith("bad-value"));
    node.sick.add(container);
    await node.clock.advanceUntil(
      () => read(node) === contentWith("correct-horse-1"),
      120_000,
      "the old value is back",
    );
    node.sick.delete(container);
    await node.until("rolled-back", ["app"]);
    // Also after the agent was gone, and with the provider away.
    secrets.fail("*", { kind: "unavailable", reason: "down" });
    node.kill();
    await node.start();
    await node.clock.advance(60_000);
    expect(read(node)).toBe(contentWith("correct-horse-1"));
    expect(node.view("app").state).toBe("rolled-back");
  });

  test("a release that is bad goes back to its template, with the value of then", async () => {
    const { node } = await bringUp();
    node.engine.rejects = () => read(node).startsWith("broken");
    node.source.setFile("files/app.conf", `broken\n${TEMPLATE}`);
    await node.until("rolled-back", ["app"]);
    await node.clock.advance(60_000);
    expect(read(node)).toBe(contentWith("correct-horse-1"));
    expect(node.engine.running("app")).toBeDefined();
  });

  test("start-first: a second container gets it, the first keeps what it has", async () => {
    const { node, secrets } = open({ settings: { frontImage: FRONT_IMAGE } });
    node.engine.images.set(FRONT_IMAGE, {});
    const start = 'order = "start-first"\ndrain = "10s"';
    node.source.set({ app: manifestOf({ update: start, top: 'ports = ["8080:80"]' }) });
    await node.start();
    await node.untilSettled(["app", "app.front"]);
    const old = readMounted(node, TARGET);
    secrets.set({ [PATH]: "second-value" });
    await node.clock.advanceUntil(() => node.engine.of("app").length === 2, 20_000, "both are there");
    await node.clock.advanceUntil(() => read(node) === contentWith("second-value"), 20_000, "the new one has it");
    expect(readFileSync(old.path, "utf8")).toBe(contentWith("correct-horse-1"));
    await node.untilSettled(["app"]);
    await node.clock.advance(60_000);
    expect(node.engine.of("app").length).toBe(1);
    expect(() => readFileSync(old.path)).toThrow("ENOENT");
  });

  test("what the template does not show changes nothing", async () => {
    const { node } = await bringUp();
    const calls = node.engine.calls.length;
    const routed = `[[routes]]\nhost = "new.example.com"\nport = 80`;
    node.source.set({ other: buildManifest({ tables: routed }) });
    await node.untilSettled(["other"]);
    const touched = node.engine.calls.slice(calls).filter(({ subject }) => subject.includes("-app-"));
    expect(touched).toEqual([]);
  });

  test("a value that decides what is shown: all that could be shown counts", async () => {
    const { node } = open();
    const routed = (host: string): string => buildManifest({ tables: `[[routes]]\nhost = "${host}"\nport = 80` });
    node.source.setFile(
      "files/app.conf",
      '{% if secrets.DB_PASSWORD == "correct-horse-1" %}{% for r in routes %}{{ r.host }} {% endfor %}{% endif %}',
    );
    node.source.set({ app: manifestOf(), other: routed("one.example.com") });
    await node.start();
    await node.untilSettled(["app", "other"]);
    expect(read(node)).toBe("one.example.com ");
    node.source.set({ other: routed("two.example.com") });
    await node.clock.advance(60_000);
    expect(read(node)).toBe("two.example.com ");
  });
});

describe("after a reboot, with everything else down", () => {
  test("it is rendered again before the start, from what is sealed and stored", async () => {
    const { node, secrets } = await bringUp();
    const { path } = readMounted(node, TARGET);
    secrets.fail("*", { kind: "unavailable", reason: "connect ECONNREFUSED" });
    node.source.fail("connect ECONNREFUSED");
    await node.stop();
    node.engine.goDown();
    node.clearMemory();
    expect(() => readFileSync(path)).toThrow("ENOENT");
    node.bootId = "boot-2";
    node.engine.comeBack();
    const starts: string[] = [];
    node.engine.rejects = () => (starts.push(readFileSync(path, "utf8")), false);
    await node.start();
    await node.untilSettled(["app"]);
    expect(starts[0]).toBe(contentWith("correct-horse-1"));
    expect(node.engine.of("app").length).toBe(1);
    const calls = node.engine.calls.length;
    secrets.fail("*", undefined);
    node.source.fail(undefined);
    await node.clock.advance(600_000);
    expect(node.engine.calls.length).toBe(calls);
  });
});

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
    const { node, secrets } = await bringUp(manifestOf({ file: 'on_change = { signal = "SIGUSR1" }' }));
    rmSync(readMounted(node, TARGET).path);
    await node.clock.advance(40_000);
    expect(read(node)).toBe(contentWith("correct-horse-1"));
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
      node.source.set({ app: manifestOf({ top: 'user = "1234"' }) });
      await node.start();
      const killed = await killAfter(node, steps);
      await node.untilSettled(["app"]);
      expect(readMounted(node, TARGET)).toMatchObject({
        content: contentWith("correct-horse-1"),
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
      const { node, secrets } = await bringUp(manifestOf({ file: 'on_change = { signal = "SIGUSR1" }' }));
      secrets.set({ [PATH]: "new-value" });
      const killed = await killAfter(node, steps);
      await node.clock.advance(60_000);
      expect(read(node)).toBe(contentWith("new-value"));
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
      const { node, secrets } = await bringUp(manifestOf({ file: 'on_change = { signal = "SIGUSR1" }' }));
      const { path } = readMounted(node, TARGET);
      const marks = `${dirname(path).replace(/\.files$/, "")}.json`;
      expect(readFileSync(marks, "utf8")).not.toContain("correct-horse");
      node.kill();
      // The new value is in the file, the note of it is not; then the provider takes it back.
      writeFileSync(path, how === "half of it" ? contentWith("new-value").slice(0, 20) : contentWith("new-value"));
      secrets.set({ [PATH]: "correct-horse-1" });
      await node.start();
      await node.clock.advance(5_000);
      expect(read(node)).toBe(contentWith("correct-horse-1"));
    },
  );
});

describe("what the host's law and the file itself cannot take", () => {
  const policy = { ...buildStrictPolicy(), text: { forbidden: ["password=bad", "conf\\.test"] } };

  test("the file is judged with the value in it, also where text and value make it together", async () => {
    const { node, secrets } = open({ settings: { policy } });
    secrets.values.set(PATH, "bad");
    node.source.set({ app: manifestOf() });
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
    const { node, secrets } = await bringUp(manifestOf(), { settings: { policy } });
    const calls = node.engine.calls.length;
    secrets.set({ [PATH]: value });
    await node.clock.advance(60_000);
    expect(node.view("app").reason).toContain(reason);
    expect(node.view("app").reason).not.toContain("injected");
    expect(read(node)).toBe(contentWith("correct-horse-1"));
    expect(node.engine.calls.length).toBe(calls);
    // It is still healed.
    node.engine.end(node.engine.running("app") as never, 1);
    await node.clock.advance(30_000);
    expect(node.engine.running("app")).toBeDefined();
    secrets.set({ [PATH]: "good-value" });
    await node.clock.advance(60_000);
    expect(read(node)).toBe(contentWith("good-value"));
    expect(node.view("app")).toMatchObject({ state: "healthy", settled: true });
  });

  test("a path that is for templates alone is judged too, before anybody is asked for it", async () => {
    const strict = { ...buildStrictPolicy(), secrets: { allowed_prefixes: ["/stage"] } };
    const { node, secrets } = open({ settings: { policy: strict } });
    node.source.set({ app: manifestOf() });
    await node.start();
    await node.until("refused", ["app"]);
    expect(node.view("app").reason).toContain("secrets.templates.DB_PASSWORD");
    expect(secrets.asked).toEqual(new Set());
  });
});
