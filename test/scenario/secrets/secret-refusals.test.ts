// A secret that is refused while its services run, and a provider that refuses everything: what is told, to whom, how long the last value
// lives, and that a round which was cut off goes on where it ended. Each answer in each situation: secret-faults.test.ts.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { listConditions } from "../../../agent/report/notify/alert-judge.ts";
import { logChange } from "../../../agent/report/log/log-events.ts";
import { Metrics } from "../../../agent/report/metrics/metrics.ts";
import { beginState, type ReportState } from "../../../agent/report/status/report-state.ts";
import { buildStatus, selectTroubled } from "../../../agent/report/status/status-builder.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import { buildWhy } from "../../../agent/report/status/why-builder.ts";
import { printWhy } from "../../../agent/report/text/why-text.ts";
import { parseRefusals } from "../../../shared/secret/secret-refusal.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { NODE, type NodeChoices } from "../../builders/node/node.ts";
import {
  crash,
  deliveredTo,
  manifestOf,
  MORE,
  openSecretNode,
  PATH,
  reboot,
  type SecretNode,
  WITH_FILE,
} from "../../builders/node/secret-node.ts";

const THIRD = "/prod/db/PASSWORD";
const NO = { kind: "denied", reason: "You are not allowed to describeSecret on secrets" } as const;
const MINUTE_MS = 60_000;
const opened: SecretNode[] = [];

afterEach(async () => {
  for (const { node } of opened.splice(0)) await node.dispose();
});

/** Three services with a secret each. */
async function bringUp(choices: NodeChoices = {}): Promise<SecretNode> {
  const one = openSecretNode(choices);
  opened.push(one);
  one.secrets.values.set(MORE, "battery staple").set(THIRD, "tr0ub4dor");
  one.node.source.set({
    app: WITH_FILE,
    api: manifestOf(`[secrets.files]\ntoken = "${MORE}"`),
    db: manifestOf(`[secrets.files]\npassword = "${THIRD}"`),
  });
  await one.node.start();
  await one.node.untilSettled(["app", "api", "db"]);
  return one;
}

/** What report/ knows after all that the agent has told. */
function reduceAll({ node }: SecretNode): ReportState {
  return node.events.reduce(reduceStatus, beginState(0));
}

function statusOf(one: SecretNode): StatusDocument {
  const context = { node: NODE, version: "1", startedMs: 0, socket: undefined, notes: [] };
  return buildStatus(reduceAll(one), { ...context, nowMs: one.node.clock.nowMs() });
}

function conditionOf(one: SecretNode, subject: string) {
  const conditions = listConditions(reduceAll(one), one.node.clock.nowMs(), undefined);
  return conditions.find((condition) => condition.subject === subject);
}

function readSealed({ node }: SecretNode): { paths: string[]; ended: string[] } {
  const text = readFileSync(join(node.stateDir, "secrets.sealed"), "utf8");
  const { entries } = JSON.parse(text) as { entries: { path: string }[] };
  const ended = parseRefusals(text).flatMap((refusal) => (refusal.ended ? [refusal.path] : []));
  return { paths: entries.map(({ path }) => path).toSorted(), ended };
}

describe("a secret that is denied while its service runs", () => {
  test("is told at once: status, exit code, why, log, metrics and a critical alert, with the age of the value in use", async () => {
    const one = await bringUp();
    await one.node.clock.advance(20 * MINUTE_MS);
    one.secrets.fail(PATH, NO);
    await one.node.clock.advance(MINUTE_MS);
    const status = statusOf(one);
    expect(status.healthy).toBe(false);
    expect(selectTroubled(status).map(({ name }) => name)).toEqual(["app"]);
    const app = status.services.find(({ name }) => name === "app");
    expect(app).toMatchObject({ state: "refused", health: "healthy", settled: true });
    expect(app?.reason).toMatch(new RegExp(`^the secret ${PATH} is denied since 20.*Z: ${NO.reason}; its value of 20`));
    expect(app?.refusedSecrets).toMatchObject([{ path: PATH, kind: "denied", reason: NO.reason }]);
    const why = buildWhy(reduceAll(one), "app", {
      node: NODE,
      nowMs: one.node.clock.nowMs(),
      exits: [],
      releases: [],
      trusted: false,
    });
    expect(why && printWhy(why, {})).toMatch(
      new RegExp(
        `secret ${PATH}: denied for (1m|59s|5\\ds).*; the value in use is \\d+m.* old, used for starts until 20`,
      ),
    );
    expect(conditionOf(one, "app")).toMatchObject({ severity: "critical", state: "refused" });
    expect(conditionOf(one, "api")?.severity).toBeUndefined();
    const lines: object[] = [];
    const logger = { warn: (fields: object) => lines.push(fields) } as never;
    one.node.events.reduce((state, event) => {
      const next = reduceStatus(state, event);
      for (const change of next.changes) if (change.state === "refused") logChange(logger, change);
      return next;
    }, beginState(0));
    expect(lines).toMatchObject([{ service: "app", state: "refused", reason: expect.stringContaining(PATH) }]);
    const { body } = await new Metrics().scrape({
      status,
      turns: { completed: 1, failed: 0 },
      audit: { lines: 0, ok: true },
      alertsOk: undefined,
      dockerCalls: undefined,
      steps: {},
      residentBytes: 1,
      fleet: undefined,
      coldStart: undefined,
      slo: { version: 1, node: "n", at: "", held: true, rpo: [], availability: [], rto: [] },
    });
    expect(body).toContain(
      `orca_service_secret_refused{node="${NODE}",service="app",secret="${PATH}",kind="denied"} 1`,
    );
    expect(body).toMatch(/orca_service_secret_age_seconds\{[^}]*\} [1-9]\d+/);
    expect(body).toContain(`orca_secrets_ok{node="${NODE}"} 1`);
  });

  test("keeps its last value for a quarter of an hour and two rounds, and not longer", async () => {
    const one = await bringUp();
    one.secrets.fail(PATH, NO);
    await one.node.clock.advance(14 * MINUTE_MS);
    expect(readSealed(one)).toEqual({ paths: [PATH, MORE, THIRD].toSorted(), ended: [] });
    crash(one.node, "app");
    await one.node.clock.advance(30_000);
    expect(deliveredTo(one.node)).toEqual({ "db.password": "correct horse" });
    expect(one.node.engine.running("app")).toBeDefined();
    await one.node.clock.advance(7 * MINUTE_MS);
    expect(readSealed(one)).toEqual({ paths: [MORE, THIRD].toSorted(), ended: [PATH] });
    expect(one.node.view("app").reason).toMatch(/is gone, and nothing starts with it any more; it is healthy: /);
    // What still runs may print it.
    const { agent } = one.node;
    expect(agent.redact("password=correct horse")).toBe("password=[REDACTED]");
    // And a new agent, which cannot know the value, still knows that it is refused.
    await one.node.stop();
    await one.node.start();
    await one.node.clock.advance(1_000);
    expect(one.node.view("app").reason).toMatch(/is gone, and nothing starts with it any more; it is healthy: /);
    one.secrets.fail(PATH, undefined);
    await one.node.clock.advance(10_000);
    expect(one.node.view("app")).toMatchObject({ state: "healthy", settled: true });
    expect(readSealed(one)).toEqual({ paths: [PATH, MORE, THIRD].toSorted(), ended: [] });
  });

  test("does not end a service that is sick: without the value it could not start again", async () => {
    const one = await bringUp();
    one.secrets.fail(PATH, NO);
    await one.node.clock.advance(21 * MINUTE_MS);
    expect(readSealed(one).ended).toEqual([PATH]);
    const running = one.node.engine.running("app");
    one.node.sick.add(running?.id ?? "");
    await one.node.clock.advance(5 * MINUTE_MS);
    expect(one.node.engine.running("app")?.id).toBe(running?.id);
    expect(one.node.view("app").reason).toMatch(/it is not restarted, since it could not start/);
  });

  test("one round, however long ago, ends nothing", async () => {
    const one = await bringUp();
    one.secrets.fail(PATH, NO);
    await one.node.clock.advance(1_000);
    // The provider cannot be asked for an hour: that says nothing more of this path.
    one.secrets.fail("*", { kind: "unavailable", reason: "connect ECONNREFUSED" });
    one.secrets.faults.delete(PATH);
    await one.node.clock.advance(60 * MINUTE_MS);
    expect(readSealed(one).paths).toContain(PATH);
    expect(one.node.view("app").state).toBe("refused");
    one.secrets.fail("*", undefined);
    await one.node.clock.advance(2 * MINUTE_MS);
    expect(one.node.view("app").state).toBe("healthy");
  });

  test("a provider that is not polled is asked again for it", async () => {
    const one = await bringUp();
    one.secrets.pollMs = undefined;
    one.secrets.fail(PATH, NO);
    await one.node.clock.advance(25 * MINUTE_MS);
    expect(readSealed(one).ended).toEqual([PATH]);
    expect(one.node.view("app").reason).toContain("is gone");
  });
});

describe("a provider that refuses everything", () => {
  const OF_ALL = { ...NO, listed: false };

  test("wipes nothing, however long, and costs no start; status says how long it has been, and it is an alert", async () => {
    const one = await bringUp();
    const { node, secrets } = one;
    secrets.fail("*", OF_ALL);
    await node.clock.advance(3 * 60 * MINUTE_MS);
    expect(readSealed(one)).toEqual({ paths: [PATH, MORE, THIRD].toSorted(), ended: [] });
    crash(node, "app");
    await reboot(node);
    await node.untilSettled(["app", "api", "db"]);
    expect(deliveredTo(node)).toEqual({ "db.password": "correct horse" });
    await node.clock.advance(10 * MINUTE_MS);
    const note = statusOf(one).notes.find((text) => text.startsWith("secrets: "));
    expect(note).toMatch(/^secrets: test cannot be asked for 1\dm.*: it refuses everything: You are not allowed/);
    expect(statusOf(one)).toMatchObject({ healthy: false, secrets: { location: "test", refused: true } });
    expect(conditionOf(one, "@secrets")).toMatchObject({ severity: "critical", state: "refused" });
    secrets.fail("*", undefined);
    await node.clock.advance(6 * MINUTE_MS);
    expect(statusOf(one).secrets).toBeNull();
    expect(conditionOf(one, "@secrets")?.severity).toBeUndefined();
  });

  test("also where all are listed and not there: more than one path has no other to go by", async () => {
    const one = await bringUp();
    one.secrets.fail("*", { kind: "not-found", reason: "Project not found", listed: true });
    await one.node.clock.advance(60 * MINUTE_MS);
    expect(readSealed(one).paths).toEqual([PATH, MORE, THIRD].toSorted());
    expect(one.node.view("app").state).toBe("healthy");
  });

  test("of a single path, a listing that works counts as another that was answered", async () => {
    for (const listed of [true, false]) {
      const one = openSecretNode();
      opened.push(one);
      one.node.source.set({ app: WITH_FILE });
      await one.node.start();
      await one.node.untilSettled(["app"]);
      one.secrets.fail(PATH, { ...NO, listed });
      await one.node.clock.advance(40 * MINUTE_MS);
      expect(readSealed(one).paths).toEqual(listed ? [] : [PATH]);
    }
  });

  test("is asked at most once in five minutes, with a question for each secret", async () => {
    const one = await bringUp();
    one.secrets.fail("*", OF_ALL);
    await one.node.clock.advance(30 * MINUTE_MS);
    const before = one.secrets.reads;
    await one.node.clock.advance(60 * MINUTE_MS);
    expect(one.secrets.reads - before).toBeLessThanOrEqual(15);
    expect(one.secrets.reads - before).toBeGreaterThan(8);
  });
});

describe("a round that a rate limit cuts off", () => {
  const LIMIT = { kind: "unavailable", reason: "it asks for fewer requests (500)", waitMs: 4_000 } as const;

  test("keeps what it has read, and goes on with the rest, which keeps what it had", async () => {
    const one = await bringUp();
    const { node, secrets } = one;
    const asked: string[][] = [];
    const read = secrets.read.bind(secrets);
    secrets.read = async (paths) => {
      asked.push([...paths]);
      return read(paths);
    };
    secrets.values.set(PATH, "another one");
    secrets.fail(THIRD, LIMIT);
    await node.clock.advance(2_000);
    expect(statusOf(one).secrets).toBeNull();
    expect(node.view("db")).toMatchObject({ state: "healthy", notes: [] });
    secrets.faults.delete(THIRD);
    await node.clock.advance(15_000);
    expect(asked).toEqual([[PATH, MORE, THIRD].toSorted(), [THIRD]]);
    await node.untilSettled(["app", "api", "db"]);
    expect(deliveredTo(node)).toEqual({ "db.password": "another one" });
    // A refusal in the rest of a round has the first part to go by.
    secrets.fail(THIRD, LIMIT);
    await node.clock.advance(1_000);
    secrets.faults.set(THIRD, { ...NO, listed: false });
    await node.clock.advance(15_000);
    expect(node.view("db").state).toBe("refused");
  });

  test("and that does not go on is a provider that cannot be asked", async () => {
    const one = await bringUp();
    one.secrets.fail(THIRD, LIMIT);
    await one.node.clock.advance(20_000);
    // Also while the others are asked for again, as they are every five minutes.
    for (let passed = 0; passed < 20; passed += 1) {
      await one.node.clock.advance(47_000);
      expect(statusOf(one).secrets).toMatchObject({ reason: LIMIT.reason, refused: false });
    }
    expect(conditionOf(one, "@secrets")).toMatchObject({ severity: "warning", state: "unreadable" });
    expect(one.node.view("db").notes.join()).toContain("its secrets are as they were at");
    expect(one.node.view("app")).toMatchObject({ state: "healthy", notes: [] });
    one.secrets.values.set(PATH, "another one");
    await one.node.clock.advance(400_000);
    expect(deliveredTo(one.node)).toEqual({ "db.password": "another one" });
  });
});

test("the age of a provider that cannot be asked goes on between two questions", async () => {
  const one = await bringUp();
  one.secrets.fail("*", { kind: "unavailable", reason: "connect ECONNREFUSED", waitMs: 3_600_000 });
  await one.node.clock.advance(5 * MINUTE_MS);
  expect(statusOf(one).notes.join()).toContain("cannot be asked for 5m");
  await one.node.clock.advance(20 * MINUTE_MS);
  expect(statusOf(one).notes.join()).toContain("cannot be asked for 25m");
});

test("nothing is forgotten before anybody has said what is needed", async () => {
  const one = await bringUp();
  await one.node.stop();
  one.secrets.fail("*", { kind: "unavailable", reason: "connect ECONNREFUSED" });
  await one.node.start();
  one.node.agent.secrets.refresh();
  await one.node.clock.advance(MINUTE_MS);
  crash(one.node, "app");
  await one.node.clock.advance(MINUTE_MS);
  await one.node.untilSettled(["app"]);
  expect(deliveredTo(one.node)).toEqual({ "db.password": "correct horse" });
});
