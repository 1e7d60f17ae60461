// Alerts against a real server on loopback that takes, refuses, fails and hangs. The URL is a secret and is seen nowhere.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { listConditions } from "../../../agent/report/notify/alert-judge.ts";
import type { AlertMessage } from "../../../agent/report/notify/alert-message.ts";
import { type Alerts, openWebhookAlerts } from "../../../agent/report/notify/alerts.ts";
import { createLogger } from "../../../agent/report/log/logger.ts";
import { beginState } from "../../../agent/report/status/report-state.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import type { ServiceState } from "../../../shared/state/status.ts";
import { Secret } from "../../../shared/secret/secret.ts";
import { buildTurn, buildView, NOW_MS } from "../../builders/node/turns.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { readCpuMs } from "../../builders/data/cpu-time.ts";

const PATH = "/services/T000/CANARY-URL";

let server: Server;
let answers: (number | "hang" | "flood")[] = [];
let taken: AlertMessage[] = [];
let alerts: Alerts;
let clock: FakeClock;
let log = "";

beforeEach(async () => {
  [answers, taken, log] = [[], [], ""];
  clock = new FakeClock(NOW_MS);
  server = createServer((request, response) => void take(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  alerts = build();
});
afterEach(async () => {
  await alerts.close();
  server.closeAllConnections();
  server.close();
});

function build(port = (server.address() as AddressInfo).port): Alerts {
  const logger = createLogger("debug", { write: (line) => void (log += line) });
  const url = new Secret(`http://127.0.0.1:${port}${PATH}`);
  const parts = { node: "vm1", version: "1.2.3", clock, logger, timeoutMs: 120 };
  return openWebhookAlerts({ url, min: "warning", repeatMs: 3_600_000 }, parts);
}

async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = "";
  for await (const chunk of request) body += String(chunk);
  const answer = answers.length > 1 ? answers.shift() : (answers[0] ?? 200);
  if (request.url !== PATH || request.method !== "POST") return void response.writeHead(400).end();
  taken.push(JSON.parse(body) as AlertMessage);
  if (answer === "hang") return undefined;
  if (answer === "flood") {
    response.writeHead(200);
    while (!response.destroyed && response.write("x".repeat(65_536))) await sleep(0);
    return undefined;
  }
  return void response.writeHead(answer ?? 200, answer === 302 ? { location: "http://127.0.0.1:1/" } : {}).end("no");
}

function show(state: ServiceState, reason = "it ended with exit code 1"): void {
  const turn = buildTurn({ views: [buildView("web", { state, reason, owner: "identity" })], endedMs: clock.nowMs() });
  const known = reduceStatus(beginState(NOW_MS), { kind: "turn", atMs: clock.nowMs(), turn });
  alerts.look(known, listConditions(known, clock.nowMs(), undefined));
}

/** Moves the clock while real answers come in. */
async function until(condition: () => boolean, stepMs = 0): Promise<void> {
  for (let round = 0; round < 800 && !condition(); round += 1) {
    await sleep(5);
    if (stepMs > 0) await clock.advance(stepMs);
  }
  expect(condition()).toBe(true);
}

describe("a message", () => {
  test("says who, what, since when and why, and a line that chats show", async () => {
    show("failed");
    await until(() => taken.length === 1);
    expect(taken[0]).toEqual({
      version: 1,
      node: "vm1",
      service: "web",
      subject: "web",
      state: "failed",
      previous: null,
      reason: "it ended with exit code 1",
      severity: "critical",
      at: "2026-11-21T12:00:00.000Z",
      revision: "a".repeat(40),
      resolved: false,
      help: "orca help runbook",
      text: "[critical] vm1/web is failed: it ended with exit code 1 (orca help runbook)",
    });
  });

  test("comes on a change and not on every turn; the end of it comes too", async () => {
    for (let turn = 0; turn < 20; turn += 1) show("failed");
    await until(() => taken.length === 1);
    show("healthy", "GET: 200");
    await until(() => taken.length === 2);
    expect(taken[1]).toMatchObject({
      state: "healthy",
      previous: "failed",
      resolved: true,
      help: null,
      text: "[resolved] vm1/web is healthy: GET: 200",
    });
  });
});

describe("a server that", () => {
  test("fails is tried again with growing waits until it takes the message", async () => {
    answers = [500, 503, 429, 200];
    show("failed");
    await until(() => taken.length === 4, 1_000);
    await until(() => alerts.trouble === undefined && log.includes("alert sent"));
    expect(new Set(taken.map(({ at }) => at)).size).toBe(1);
    // 1 s, 5 s and 25 s of waiting.
    expect(clock.nowMs() - NOW_MS).toBeGreaterThanOrEqual(31_000);
  });

  test("goes on failing is given up after five attempts, said, and told anew after a rest", async () => {
    answers = [500];
    show("failed");
    await until(() => alerts.trouble !== undefined, 5_000);
    expect(taken).toHaveLength(5);
    expect(alerts.trouble).toBe("the alert webhook does not take messages (it answered 500): tried again later");
    answers = [200];
    show("failed");
    await sleep(50);
    expect(taken).toHaveLength(5);
    await clock.advance(300_000);
    show("failed");
    await until(() => alerts.trouble === undefined);
    expect(taken).toHaveLength(6);
  });

  test("refuses is told of once, and not asked again for the same", async () => {
    answers = [403];
    show("failed");
    await until(() => alerts.trouble !== undefined, 1_000);
    expect(alerts.trouble).toContain("refuses messages with 403");
    show("stalled");
    await until(() => taken.length === 2, 1_000);
    await clock.advance(600_000);
    expect(taken).toHaveLength(2);
    expect(log.match(/alert refused/g)).toHaveLength(1);
  });

  test("sends elsewhere is not followed", async () => {
    answers = [302];
    show("failed");
    await until(() => alerts.trouble !== undefined, 1_000);
    expect(alerts.trouble).toContain("refuses messages with 302");
  });

  test("hangs is not waited for, and holds up nobody", async () => {
    answers = ["hang", 200];
    const begunMs = readCpuMs();
    show("failed");
    expect(readCpuMs() - begunMs).toBeLessThan(400);
    await until(() => log.includes("alert sent"), 2_000);
    expect(taken).toHaveLength(2);
  });

  test("answers without end costs nothing", async () => {
    answers = ["flood"];
    const before = process.memoryUsage().rss;
    show("failed");
    await until(() => log.includes("alert sent"));
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 2 ** 20);
  });

  test("is not there at all is a failure without its address", async () => {
    await alerts.close();
    alerts = build(1);
    show("failed");
    await until(() => alerts.trouble !== undefined, 10_000);
    expect(alerts.trouble).toContain("ECONNREFUSED");
  });
});

test("the URL is in no message, no trouble and no line of the log", async () => {
  for (const answer of [200, 403, 500, "hang"] as const) {
    answers = [answer];
    show("failed");
    await until(() => taken.length > 0, 20_000);
    await until(() => answer === 200 || alerts.trouble !== undefined, 20_000);
    await alerts.close();
    expect(`${JSON.stringify(taken)}${alerts.trouble ?? ""}${JSON.stringify(alerts.memory)}${log}`).not.toContain(
      "CANARY",
    );
    taken = [];
    alerts = build();
  }
  expect(log).toContain("alert");
});

test("what waits when the agent ends is told by the next one", async () => {
  answers = [500];
  show("failed");
  await until(() => taken.length === 1);
  await alerts.close();
  expect(alerts.memory.told).toEqual({});
});
