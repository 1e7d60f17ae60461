// How secrets are delivered, what becomes of the last known values, and that an agent with everything else down brings back what it
// knows. What each of a provider's answers means in each situation is a table of its own (secret-faults.test.ts).

import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";

import { afterEach, describe, expect, test } from "vitest";

import type { SecretAnswer } from "../../../shared/secret/secret-provider.ts";
import { CanaryFinder } from "../../../scripts/lab/canary/canary.ts";
import { searchFiles } from "../../../scripts/lab/canary/canary-places.ts";
import { type NodeChoices, TestNode } from "../../builders/node/node.ts";
import {
  crash,
  deliveredTo,
  manifestOf,
  MORE,
  openSecretNode,
  PATH,
  reboot,
  type SecretNode,
  WITH_ENV,
  WITH_FILE,
} from "../../builders/node/secret-node.ts";

type Fault = Exclude<SecretAnswer, { kind: "value" }>;

const nodes: TestNode[] = [];

afterEach(async () => {
  for (const node of nodes.splice(0)) await node.dispose();
});

function open(choices: NodeChoices = {}): SecretNode {
  const opened = openSecretNode(choices);
  nodes.push(opened.node);
  return opened;
}

async function bringUp(manifest = WITH_FILE, choices: NodeChoices = {}): Promise<SecretNode> {
  const opened = open(choices);
  opened.node.source.set({ app: manifest });
  await opened.node.start();
  await opened.node.untilSettled(["app"]);
  return opened;
}

function requestOf(node: TestNode, service = "app") {
  const containers = [...node.engine.containers.values()].filter((entry) => entry.request?.service === service);
  return containers.at(-1)?.request;
}

const DOWN: Fault = { kind: "unavailable", reason: "connect ECONNREFUSED" };
describe("delivery", () => {
  test("as a file in memory with its variable, and never in what the engine is told otherwise", async () => {
    const { node } = await bringUp();
    expect(deliveredTo(node)).toEqual({ "db.password": "correct horse" });
    const request = requestOf(node);
    expect(request?.extraEnv).toEqual({ DB_PASSWORD_FILE: "/run/secrets/db.password" });
    expect(request?.binds.at(-1)).toMatchObject({ target: "/run/secrets", readOnly: true });
    expect(JSON.stringify(request)).not.toContain("correct horse");
    expect(statSync(join(node.runDir, "secrets")).mode & 0o777).toBe(0o700);
  });

  test("as a variable where the manifest says so", async () => {
    const { node } = await bringUp(WITH_ENV);
    expect(requestOf(node)?.extraEnv).toEqual({ PASSWORD: "correct horse" });
    expect(JSON.stringify(requestOf(node)?.spec)).not.toContain("correct horse");
  });

  test("in a trial with stand-ins too, where bootstrap files are not read: from the file that was named", async () => {
    const bootstrap = '[bootstrap]\nenv_file = "/etc/orca/bootstrap/app.env"';
    const manifest = manifestOf(`[secrets.files]\n"db.password" = "${PATH}"\n${bootstrap}`);
    const { node } = await bringUp(manifest, { settings: { standIns: { "*": "app:2" } } });
    expect(deliveredTo(node)).toEqual({ "db.password": "correct horse" });
    expect(requestOf(node)?.extraEnv).toEqual({ DB_PASSWORD_FILE: "/run/secrets/db.password" });
  });

  test("with nothing new, no reading and no restart of the agent changes anything", async () => {
    const { node, secrets } = await bringUp();
    const calls = node.engine.calls.length;
    const reads = secrets.reads;
    await node.clock.advance(3_600_000);
    expect(secrets.reads - reads).toBeGreaterThan(9);
    await node.stop();
    await node.start();
    await node.clock.advance(60_000);
    expect(node.engine.calls.length).toBe(calls);
  });

  test("a value is in no event, whatever the program prints before it ends, and not in the state", async () => {
    const { node, secrets } = open();
    secrets.values.set(PATH, "correct horse battery");
    const logs = ["password=correct horse battery", `auth ${Buffer.from("correct horse battery").toString("base64")}`];
    node.engine.images.set("app:1", { endsAfterMs: 3_000, exitCode: 1, logs });
    node.source.set({ app: WITH_ENV });
    await node.start();
    await node.until("backoff", ["app"]);
    await node.clock.advance(10_000);
    const everything = inspect(node.events, { depth: null, maxArrayLength: null, maxStringLength: null });
    expect(everything).toContain("password=[REDACTED]");
    expect(everything).toContain("auth [REDACTED]");
    const finder = new CanaryFinder({ value: "correct horse battery" });
    expect(finder.find(everything)).toEqual([]);
    // Its variable apart, which this service asks for, the engine is told nothing of it.
    const told = node.engine.of("app").map(({ labels, name, request }) => ({ labels, name, ...request, extraEnv: {} }));
    expect(finder.find(JSON.stringify(told))).toEqual([]);
    const { hits, count } = searchFiles(finder, node.stateDir);
    expect(hits).toEqual([]);
    expect(count).toBeGreaterThan(10);
  });

  test("new content of a config file restarts nothing that could not be started again, since its secret is denied", async () => {
    const { node, secrets } = open();
    const file = '[[files]]\nsource = "files/app.conf"\ntarget = "/etc/app.conf"';
    node.source.setFile("files/app.conf", "one");
    node.source.set({ app: `${WITH_FILE}\n${file}` });
    await node.start();
    await node.untilSettled(["app"]);
    secrets.fail(PATH, { kind: "denied", reason: "no" });
    await node.clock.advance(1_200_000);
    const calls = node.engine.calls.length;
    node.source.setFile("files/app.conf", "two");
    await node.clock.advance(120_000);
    expect(node.engine.calls.slice(calls)).toEqual([]);
    expect(node.view("app")).toMatchObject({ state: "refused", settled: false });
    expect(node.view("app").reason).toContain(`when it may: it is not started: the secret ${PATH} is denied: no`);
    secrets.fail(PATH, undefined);
    await node.clock.advanceUntil(() => node.engine.calls.length > calls, 10_000, "the restart");
    await node.untilSettled(["app"]);
  });

  test("an engine that quotes a value in why it cannot start is not repeated", async () => {
    const { node, secrets } = open();
    secrets.values.set(PATH, "correct horse battery");
    node.engine.images.set("app:1", { startFails: "OCI runtime: env PASSWORD=correct horse battery: bad" });
    node.source.set({ app: WITH_ENV });
    await node.start();
    await node.until("backoff", ["app"]);
    expect(node.view("app").reason).toContain("PASSWORD=[REDACTED]: bad");
    const everything = inspect(node.events, { depth: null, maxArrayLength: null, maxStringLength: null });
    expect(new CanaryFinder({ value: "correct horse battery" }).find(everything)).toEqual([]);
  });

  test("what is being asked for the first time is waited for, and is not refused", async () => {
    const { node } = await bringUp();
    const shown = node.events.flatMap((event) => (event.kind === "turn" ? event.turn.services : []));
    expect(shown[0]).toMatchObject({ state: "waiting", reason: `the secret ${PATH} is being read` });
    expect(shown.map(({ state }) => state)).not.toContain("refused");
  });

  test("a file that was taken away or changed by hand is put back", async () => {
    const { node } = await bringUp();
    const root = join(node.runDir, "secrets", "app");
    const find = (): string =>
      readdirSync(root, { recursive: true })
        .map(String)
        .find((path) => path.endsWith("db.password")) ?? "";
    rmSync(join(root, find()));
    await node.clock.advance(40_000);
    expect(deliveredTo(node)).toEqual({ "db.password": "correct horse" });
    writeFileSync(join(root, find()), "tampered, and of another length");
    await node.clock.advance(40_000);
    expect(deliveredTo(node)).toEqual({ "db.password": "correct horse" });
  });

  test("a directory that is not in memory gets nothing", async () => {
    const { node } = open();
    node.useDisk();
    node.source.set({ app: WITH_FILE });
    await node.start();
    await node.until("backoff", ["app"]);
    expect(node.view("app").reason).toContain("is not in memory");
    expect(readdirSync(join(node.runDir, "secrets"))).toEqual([]);
  });
});

describe("the last known values", () => {
  test("are too old after the time that is allowed: then a start fails closed", async () => {
    const { node, secrets } = await bringUp(WITH_FILE, { maxStaleMs: 7_200_000 });
    secrets.fail("*", DOWN);
    await node.clock.advance(7_300_000);
    expect(node.view("app").state).toBe("healthy");
    crash(node, "app");
    await node.clock.advance(120_000);
    expect(node.view("app").state).toBe("waiting");
    expect(node.view("app").reason).toMatch(/, longer ago than the 2h allowed/);
  });

  test("a changed image goes out while the provider is down, where every secret is known", async () => {
    const { node, secrets } = await bringUp();
    secrets.fail("*", DOWN);
    await node.clock.advance(10_000);
    node.source.set({ app: WITH_FILE.replace("app:1", "app:2") });
    await node.clock.advance(2_000);
    await node.untilSettled(["app"]);
    expect(node.view("app").image).toBe("app:2");
    expect(deliveredTo(node)).toEqual({ "db.password": "correct horse" });
  });

  test("a revoked secret is gone from the disk, and does not come back when the provider is down later", async () => {
    const { node, secrets } = await bringUp();
    secrets.fail(PATH, { kind: "denied", reason: "no" });
    await node.clock.advance(1_200_000);
    expect(readFileSync(join(node.stateDir, "secrets.sealed"), "utf8")).toContain('"entries":[],');
    secrets.fail(PATH, undefined);
    secrets.fail("*", DOWN);
    await reboot(node);
    await node.clock.advance(120_000);
    expect(node.view("app").state).toBe("refused");
    expect(node.engine.running("app")).toBeUndefined();
  });

  test("the provider is asked at most once a minute while it is down", async () => {
    const { node, secrets } = await bringUp();
    secrets.fail("*", DOWN);
    await node.clock.advance(1_000);
    const before = secrets.reads;
    await node.clock.advance(3_600_000);
    expect(secrets.reads - before).toBeLessThanOrEqual(65);
    expect(secrets.reads - before).toBeGreaterThan(30);
  });

  test("what it wants to be left alone for is kept to", async () => {
    const { node, secrets } = await bringUp();
    secrets.fail("*", { ...DOWN, waitMs: 1_200_000 });
    await node.clock.advance(1_000);
    const before = secrets.reads;
    await node.clock.advance(1_190_000);
    expect(secrets.reads).toBe(before);
    await node.clock.advance(20_000);
    expect(secrets.reads).toBe(before + 1);
  });
});

test("no provider: refused, and it says what to write", async () => {
  const node = new TestNode();
  nodes.push(node);
  node.source.set({ app: WITH_FILE });
  await node.start();
  await node.until("refused", ["app"]);
  expect(node.view("app").reason).toContain("no provider is configured: write [secrets]");
});

test("everything else down at a cold boot: all start in order from what is on the disk, and nothing restarts when it returns", async () => {
  const { node, secrets } = open();
  secrets.values.set(MORE, "battery staple");
  node.source.set({
    db: manifestOf(`[secrets.env]\nPASSWORD = "${PATH}"`),
    api: manifestOf(`[secrets.files]\ntoken = "${MORE}"`, 'requires = ["db"]'),
    web: manifestOf(`[secrets.files]\npassword = "${PATH}"`, 'requires = ["api"]'),
  });
  await node.start();
  await node.untilSettled(["db", "api", "web"]);
  secrets.fail("*", DOWN);
  node.source.fail("connect ECONNREFUSED");
  await reboot(node);
  await node.untilSettled(["db", "api", "web"]);
  const started = node.events.flatMap((event) =>
    event.kind === "step-done" && event.step.kind === "start-container" ? [event.lane] : [],
  );
  expect(started.slice(-3)).toEqual(["db", "api", "web"]);
  expect(deliveredTo(node, "web")).toEqual({ password: "correct horse" });
  expect(node.turn.secrets).toMatchObject({ location: "test", reason: "connect ECONNREFUSED", refused: false });
  const calls = node.engine.calls.length;
  secrets.fail("*", undefined);
  node.source.fail(undefined);
  await node.clock.advance(600_000);
  expect(node.engine.calls.length).toBe(calls);
  expect(node.turn.secrets).toBeUndefined();
});
