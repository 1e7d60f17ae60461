// The table of provider answers × situations (behaviour, section 5): each cell is a test. Which class a wire answer is, is shown with
// the real SDK by the docker lane (infisical-answers.test.ts), by the same list.

import { afterEach, describe, expect, test } from "vitest";

import { listConditions } from "../../../agent/report/notify/alert-judge.ts";
import { beginState } from "../../../agent/report/status/report-state.ts";
import { buildStatus } from "../../../agent/report/status/status-builder.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import { type ProviderAnswer, PROVIDER_ANSWERS } from "../../builders/data/provider-answers.ts";
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

const opened: SecretNode[] = [];

afterEach(async () => {
  for (const { node } of opened.splice(0)) await node.dispose();
});

function open(): SecretNode {
  const one = openSecretNode();
  opened.push(one);
  return one;
}

async function bringUp(): Promise<SecretNode> {
  const one = open();
  one.node.source.set({ app: WITH_FILE });
  await one.node.start();
  await one.node.untilSettled(["app"]);
  return one;
}

/** The provider answers like this from now on; where the answer is a value in the end, nothing is different. */
function answerWith({ secrets }: SecretNode, row: ProviderAnswer, path = "*"): void {
  const { class: kind, sample: reason, waitMs } = row;
  if (kind === "value") return;
  if (kind === "unavailable") secrets.fail(path, waitMs === undefined ? { kind, reason } : { kind, reason, waitMs });
  else secrets.fail(path, { kind, reason, listed: row.ofAll !== true });
}

async function expectKept({ node }: SecretNode, row: ProviderAnswer, forMs: number): Promise<void> {
  const calls = node.engine.calls.length;
  await node.clock.advance(forMs);
  expect(node.view("app")).toMatchObject({ state: isClosed(row) ? "refused" : "healthy", settled: true });
  expect(node.engine.calls.length).toBe(calls);
  expect(deliveredTo(node)).toEqual({ "db.password": "correct horse" });
  expectSaid(node, row);
}

/** The cause and the next try, and an alert: of the provider that gives nothing, or of the service whose secret is refused. */
function expectSaid(node: SecretNode["node"], row: ProviderAnswer): void {
  const state = node.events.reduce(reduceStatus, beginState(0));
  const [nowMs, context] = [node.clock.nowMs(), { node: "vm1", version: "0", socket: undefined, notes: [] }];
  const status = buildStatus(state, { ...context, nowMs });
  const alerts = listConditions(state, nowMs, undefined).filter(
    // The weekly look at the host and the agent's update are nothing of theirs.
    ({ severity, subject }) => severity !== undefined && !["@doctor", "@update"].includes(subject),
  );
  if (row.class === "value") {
    expect([status.secrets, alerts]).toEqual([null, []]);
    return;
  }
  const [alert] = alerts;
  expect(alert?.reason).toContain(row.sample);
  if (isClosed(row)) {
    expect(alert).toMatchObject({ subject: "app", severity: "critical" });
    return;
  }
  expect(alert).toMatchObject({ subject: "@secrets", severity: row.ofAll === true ? "critical" : "warning" });
  expect(status.notes.join()).toMatch(/what was known before is used; next try in \d/);
  expect(Date.parse(status.secrets?.retry ?? "")).toBeGreaterThan(nowMs);
}

/** The provider answers well: nothing is said any more, and what ran was never touched. */
async function expectWell({ node, secrets }: SecretNode): Promise<void> {
  secrets.fail("*", undefined);
  await node.clock.advance(400_000);
  expect(node.view("app")).toMatchObject({ state: "healthy", settled: true });
  expect(node.turn.secrets).toBeUndefined();
}

async function expectNotStarted({ node }: SecretNode, row: ProviderAnswer): Promise<void> {
  await node.clock.advance(120_000);
  expectRefused(node, row);
  expect(node.view("app").reason).toContain(
    `it is waiting: it is not started: the secret ${PATH} ${row.class === "denied" ? "is denied" : "is not there"}: ${row.sample}`,
  );
  expect(node.engine.running("app")).toBeUndefined();
}

/** A refused secret is shown over what the service does. */
function expectRefused(node: SecretNode["node"], row: ProviderAnswer): void {
  const kind = row.class === "denied" ? "is denied" : "is not there";
  expect(node.view("app").state).toBe("refused");
  expect(node.view("app").reason).toMatch(new RegExp(`^the secret ${PATH} ${kind} since \\d`));
  expect(node.view("app").reason).toContain(row.sample);
}

/** What the situation is, and what the table says of each class in it. */
type Situation = (row: ProviderAnswer) => Promise<void>;

const SITUATIONS: Record<string, Situation> = {
  "a running service goes on": async (row) => {
    const one = await bringUp();
    answerWith(one, row);
    await expectKept(one, row, 3_600_000);
    await expectWell(one);
    expect(one.node.engine.running("app")?.run).toBe(1);
  },

  "one that crashes": async (row) => {
    const one = await bringUp();
    const { node } = one;
    answerWith(one, row);
    await node.clock.advance(10_000);
    crash(node, "app");
    await node.clock.advance(1_000);
    await node.untilSettled(["app"]);
    if (!isClosed(row)) return;
    // A refusal that has not stood for its time costs no start; one that has ends the value.
    expectRefused(node, row);
    expect(deliveredTo(node)).toEqual({ "db.password": "correct horse" });
    await node.clock.advance(1_200_000);
    crash(node, "app");
    await expectNotStarted(one, row);
  },

  "a restart of the agent touches nothing": async (row) => {
    const one = await bringUp();
    await one.node.stop();
    answerWith(one, row);
    const calls = one.node.engine.calls.length;
    await one.node.start();
    await expectKept(one, row, 3_600_000);
    await one.node.stop();
    await one.node.start();
    await expectKept(one, row, 600_000);
    expect(one.node.engine.calls.length).toBe(calls);
  },

  "a reboot": async (row) => {
    const one = await bringUp();
    const { node } = one;
    answerWith(one, row);
    await reboot(node);
    await node.untilSettled(["app"]);
    expect(deliveredTo(node)).toEqual({ "db.password": "correct horse" });
    // Its age is shown where the last known value is what it runs with.
    expect(node.view("app").notes.join().includes("its secrets are as they were at")).toBe(row.class !== "value");
    if (isClosed(row)) {
      expectRefused(node, row);
      await node.clock.advance(1_200_000);
      await reboot(node);
      await expectNotStarted(one, row);
    }
    one.secrets.fail("*", undefined);
    await node.untilSettled(["app"]);
  },

  "a new service": async (row) => {
    const one = open();
    answerWith(one, row);
    one.node.source.set({ app: WITH_FILE });
    await one.node.start();
    await one.node.clock.advance(120_000);
    if (row.class !== "value") {
      // Of what was never given a refusal of everything says as much as one of it alone.
      expect(one.node.view("app").state).toBe(row.class === "unavailable" ? "waiting" : "refused");
      expect(one.node.view("app").reason).toContain(row.sample);
      expect(one.node.engine.of("app")).toEqual([]);
    }
    one.secrets.fail("*", undefined);
    await one.node.untilSettled(["app"]);
  },

  "a new service that takes what another one has": async (row) => {
    const one = await bringUp();
    const { node, secrets } = one;
    answerWith(one, row);
    // The answer has come before the manifest does.
    secrets.set({});
    await node.clock.advance(70_000);
    node.source.set({ other: WITH_FILE });
    await node.clock.advance(120_000);
    if (row.class !== "value") {
      expect(node.view("other").state).toBe(isClosed(row) ? "refused" : "waiting");
      expect(node.view("other").reason).toContain(row.sample);
      expect(node.engine.of("other")).toEqual([]);
      secrets.fail("*", undefined);
      await node.clock.advance(70_000);
    }
    await node.untilSettled(["app", "other"]);
  },

  "a changed service that takes one more": async (row) => {
    const one = await bringUp();
    const { node, secrets } = one;
    const calls = node.engine.calls.length;
    secrets.values.set(MORE, "battery staple");
    const path = isClosed(row) ? MORE : "*";
    answerWith(one, row, path);
    await node.clock.advance(1_000);
    node.source.set({ app: manifestOf(`[secrets.files]\n"db.password" = "${PATH}"\ntoken = "${MORE}"`) });
    if (row.class !== "value") {
      await node.clock.advance(120_000);
      expect(node.view("app").reason).toContain(MORE);
      // It stays at its release, untouched.
      expect(node.engine.calls.length).toBe(calls);
      expect(deliveredTo(node)).toEqual({ "db.password": "correct horse" });
      secrets.fail(path, undefined);
    }
    await node.clock.advance(70_000);
    await node.untilSettled(["app"]);
    expect(deliveredTo(node)).toEqual({ "db.password": "correct horse", token: "battery staple" });
  },
};

/** A revoked or missing secret must not come back from what was known. */
function isClosed({ class: kind, ofAll }: ProviderAnswer): boolean {
  return (kind === "denied" || kind === "not-found") && ofAll !== true;
}

describe.each(PROVIDER_ANSWERS)("$name, which is $class", (row) => {
  test("its sample is one that the docker lane would see", () => expect(row.sample).toMatch(row.says));

  test.each(Object.entries(SITUATIONS))("%s", async (_what, expectSituation) => {
    await expectSituation(row);
  });
});
