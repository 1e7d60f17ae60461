// Files with secrets in them: rendered into memory, changed in place and taken back, and rendered again after a reboot; no
// value is in a plan, an event or the state.

import { readFileSync } from "node:fs";
import { inspect } from "node:util";

import { afterEach, describe, expect, test } from "vitest";

import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import { findRequest, listCauses, noteAtStarts, readMounted, readState } from "../../builders/node/delivered.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { type NodeChoices, TestNode } from "../../builders/node/node.ts";
import {
  buildTemplated,
  contentWith,
  FIRST_VALUE,
  openTemplated,
  OTHER_PATH,
  PATH,
  readContent,
  TARGET,
  TEMPLATE,
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

describe("delivery", () => {
  test("at its target, read-only, from memory; no value is in the request, an event or the state", async () => {
    const { node } = open();
    node.source.set({ app: buildTemplated() });
    const starts = noteAtStarts(node, () => readContent(node));
    await node.start();
    await node.untilSettled(["app"]);
    expect(starts).toEqual([contentWith(FIRST_VALUE)]);
    const bind = findRequest(node).binds.find(({ target }) => target === TARGET);
    expect(bind).toMatchObject({ readOnly: true, source: expect.stringMatching(`^${node.runDir}/secrets/app/`) });
    expect(readContent(node)).toBe(contentWith(FIRST_VALUE));
    expect(findRequest(node).extraEnv).toEqual({});
    const shown = inspect(node.events, { depth: null, maxArrayLength: null, maxStringLength: null });
    const everything = [JSON.stringify(findRequest(node)), shown, readState(node)];
    for (const text of everything) expect(text).not.toContain("correct-horse");
    // The recipe is kept, so that a release can be gone back to.
    expect(readState(node)).toContain("{{ secrets.DB_PASSWORD }}");
  });

  test("names of env and files are known too; those for templates alone come first", async () => {
    const secrets =
      `[secrets.templates]\nTOKEN = "${OTHER_PATH}"\n[secrets.files]\n"db.password" = "${PATH}"\n` +
      `[secrets.env]\nDB_PASSWORD = "${PATH}"\nTOKEN = "${PATH}"`;
    const { node, secrets: provider } = open();
    node.source.setFile(
      "files/app.conf",
      '{{ secrets.DB_PASSWORD }} {{ secrets["db.password"] | json }} {{ secrets.TOKEN }}',
    );
    node.source.set({ app: buildTemplated({ secrets }) });
    await node.start();
    await node.untilSettled(["app"]);
    expect(readContent(node)).toBe(`${FIRST_VALUE} "${FIRST_VALUE}" token-1`);
    expect(provider.asked).toEqual(new Set([PATH, OTHER_PATH]));
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
    node.source.set({ app: buildTemplated(parts) });
    await node.start();
    await node.untilSettled(["app"]);
    const { mode, owner } = readMounted(node, TARGET);
    expect(`${mode} ${owner}`).toBe(expected);
  });

  test("trial with stand-ins: a value is made up, and it does not change by itself", async () => {
    const node = new TestNode({ inMemory: true, settings: { standIns: { "*": "app:1" } } });
    nodes.push(node);
    node.source.setFile("files/app.conf", TEMPLATE);
    node.source.set({ app: buildTemplated() });
    await node.start();
    await node.untilSettled(["app"]);
    expect(readContent(node)).toMatch(/^user=app\npassword=[\w-]{24}\nnode=vm1\n$/);
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
    node.source.set({ app: buildTemplated() });
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
      buildTemplated({ file, secrets: `${table}[secrets.templates]\nDB_PASSWORD = "${PATH}"` }),
    );
    const { inode } = readMounted(node, TARGET);
    const before = node.engine.calls.length;
    const since = node.events.length;
    secrets.set({ [PATH]: "a-longer-new-value-2" });
    await node.clock.advance(60_000);
    expect(readMounted(node, TARGET)).toMatchObject({ content: contentWith("a-longer-new-value-2"), inode });
    expect(node.engine.calls.slice(before).map(({ call }) => call)).toEqual(calls);
    expect(node.view("app")).toMatchObject({ state: "healthy", settled: true });
    expect(new Set(listCauses(node, "app", since))).toEqual(new Set([`rotation: ${PATH} has a new value`]));
  });

  test("a new template does the same, with the same value", async () => {
    const { node } = await bringUp(buildTemplated({ file: 'on_change = { signal = "SIGUSR1" }' }));
    const { inode } = readMounted(node, TARGET);
    const before = node.engine.calls.length;
    node.source.setFile("files/app.conf", `# new\n${TEMPLATE}`);
    await node.clock.advance(60_000);
    expect(readMounted(node, TARGET)).toMatchObject({ content: `# new\n${contentWith(FIRST_VALUE)}`, inode });
    expect(node.engine.calls.slice(before).map(({ call }) => call)).toEqual(["signalContainer"]);
  });

  test("that makes it sick is taken back: the file holds the old one again", async () => {
    const { node, secrets } = await bringUp(buildTemplated({ file: 'on_change = { signal = "SIGUSR1" }' }));
    const container = node.engine.running("app")?.id ?? "";
    secrets.set({ [PATH]: "bad-value" });
    await node.clock.advance(1_000);
    expect(readContent(node)).toBe(contentWith("bad-value"));
    node.sick.add(container);
    await node.clock.advanceUntil(
      () => readContent(node) === contentWith(FIRST_VALUE),
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
    expect(readContent(node)).toBe(contentWith(FIRST_VALUE));
    expect(node.view("app").state).toBe("rolled-back");
  });

  test("a release that is bad goes back to its template, with the value of then", async () => {
    const { node } = await bringUp();
    node.engine.rejects = () => readContent(node).startsWith("broken");
    node.source.setFile("files/app.conf", `broken\n${TEMPLATE}`);
    await node.until("rolled-back", ["app"]);
    await node.clock.advance(60_000);
    expect(readContent(node)).toBe(contentWith(FIRST_VALUE));
    expect(node.engine.running("app")).toBeDefined();
  });

  test("start-first: a second container gets it, the first keeps what it has", async () => {
    const { node, secrets } = open({ settings: { frontImage: FRONT_IMAGE } });
    node.engine.images.set(FRONT_IMAGE, {});
    const start = 'order = "start-first"\ndrain = "10s"';
    node.source.set({ app: buildTemplated({ update: start, top: 'ports = ["8080:80"]' }) });
    await node.start();
    await node.untilSettled(["app", "app.front"]);
    const old = readMounted(node, TARGET);
    const since = node.events.length;
    secrets.set({ [PATH]: "second-value" });
    await node.clock.advanceUntil(() => node.engine.of("app").length === 2, 20_000, "both are there");
    await node.clock.advanceUntil(
      () => readContent(node) === contentWith("second-value"),
      20_000,
      "the new one has it",
    );
    expect(readFileSync(old.path, "utf8")).toBe(contentWith(FIRST_VALUE));
    expect(listCauses(node, "app", since)[0]).toBe(`rotation: ${PATH} has a new value`);
    await node.untilSettled(["app"]);
    await node.clock.advance(60_000);
    expect(node.engine.of("app").length).toBe(1);
    expect(() => readFileSync(old.path)).toThrow("ENOENT");
  });

  test.each([
    ["that it does not mention", TEMPLATE],
    [
      "of which it shows others",
      "{% for r in routes %}{% if r.service == 'app' %}{{ r.host }}{% endif %}{% endfor %} {{ secrets.DB_PASSWORD }}",
    ],
  ])("new routes %s change nothing", async (_what, template) => {
    const { node } = open();
    node.source.setFile("files/app.conf", template);
    node.source.set({ app: buildTemplated() });
    await node.start();
    await node.untilSettled(["app"]);
    const calls = node.engine.calls.length;
    node.source.set({ other: buildManifest({ tables: '[[routes]]\nhost = "new.example.com"\nport = 80' }) });
    await node.untilSettled(["other"]);
    const others = new Set(node.engine.of("other").map(({ id }) => id));
    const touched = node.engine.calls
      .slice(calls)
      .filter(({ subject }) => !subject.includes("other") && !others.has(subject));
    expect(touched).toEqual([]);
  });

  test("a value that decides what is shown: all that could be shown counts", async () => {
    const { node } = open();
    const routed = (host: string): string => buildManifest({ tables: `[[routes]]\nhost = "${host}"\nport = 80` });
    node.source.setFile(
      "files/app.conf",
      `{% if secrets.DB_PASSWORD == "${FIRST_VALUE}" %}{% for r in routes %}{{ r.host }} {% endfor %}{% endif %}`,
    );
    node.source.set({ app: buildTemplated(), other: routed("one.example.com") });
    await node.start();
    await node.untilSettled(["app", "other"]);
    expect(readContent(node)).toBe("one.example.com ");
    node.source.set({ other: routed("two.example.com") });
    await node.clock.advance(60_000);
    expect(readContent(node)).toBe("two.example.com ");
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
    const starts = noteAtStarts(node, () => readFileSync(path, "utf8"));
    await node.start();
    await node.untilSettled(["app"]);
    expect(starts).toEqual([contentWith(FIRST_VALUE)]);
    expect(node.engine.of("app").length).toBe(1);
    const calls = node.engine.calls.length;
    secrets.fail("*", undefined);
    node.source.fail(undefined);
    await node.clock.advance(600_000);
    expect(node.engine.calls.length).toBe(calls);
  });
});
