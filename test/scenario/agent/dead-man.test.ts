// The hourly look from outside: an agent that does not answer, one whose loop stands still, and a broken recovery point are told to the
// webhook once, again after `repeat`, and when they are over; what could not be told is told at the next look.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { deadMan } from "../../../agent/cli/agent/dead-man-command.ts";
import { type AlertMessage } from "../../../agent/report/notify/alert-message.ts";
import { chooseMessage } from "../../../agent/report/notify/dead-man.ts";

const ROW = { service: "pg", store: "db", repository: "local", promisedSeconds: 3_600, ageSeconds: 7_200 };
const REST = { newest: null, reason: null, verdict: null };
const BROKEN = { version: 1, node: "demo", at: "", held: false, rpo: [{ ...ROW, ...REST, state: "broken" }] } as const;
const HELD = { ...BROKEN, held: true, rpo: [] } as const;

let [root, health, slo, answer]: [string, number, object, number] = ["", 200, HELD, 200];
let servers: Server[] = [];
let messages: AlertMessage[] = [];

async function listen(server: Server, ...place: [string] | [number, string]): Promise<void> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(...(place as [string]), resolve));
}

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "orca-dead-man-"));
  [health, slo, answer, messages, servers] = [200, HELD, 200, [], []];
  const hook = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      messages.push(JSON.parse(body) as AlertMessage);
      response.writeHead(answer).end();
    });
  });
  await listen(hook, 0, "127.0.0.1");
  const { port } = hook.address() as AddressInfo;
  writeFileSync(join(root, "webhook"), `http://127.0.0.1:${port}/hook`, { mode: 0o600 });
  mkdirSync(join(root, "state"));
  writeFileSync(
    join(root, "agent.toml"),
    `node = "demo"\nsource = { dir = "${root}" }\nstate = { dir = "${root}/state" }\nalerts = { webhook_file = "${root}/webhook" }\n`,
  );
});

afterEach(async () => {
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  rmSync(root, { recursive: true, force: true });
});

/** An agent, as far as it is looked at. */
function startAgent(): Promise<void> {
  const agent = createServer((request, response) => {
    if (request.url === "/healthz") response.writeHead(health).end("no turn of the loop has been completed for 90 s\n");
    else response.end(JSON.stringify(slo));
  });
  return listen(agent, join(root, "agent.sock"));
}

async function look(): Promise<[number, string[]]> {
  messages = [];
  const code = await deadMan({ config: join(root, "agent.toml"), socket: join(root, "agent.sock") });
  return [code, messages.map(({ text }) => text)];
}

test("a dead agent is told once, and its return too", async () => {
  const [code, [text = ""]] = await look();
  expect([code, text]).toEqual([
    3,
    expect.stringMatching(/^\[critical\] demo agent is dead: no agent answers at .*orca help runbook/),
  ]);
  expect(await look()).toEqual([3, []]);
  await startAgent();
  expect(await look()).toEqual([0, ["[resolved] demo agent is alive"]]);
  expect(await look()).toEqual([0, []]);
});

test("a loop that stands still, and a recovery point that is broken, are told with their reason", async () => {
  await startAgent();
  health = 503;
  expect(await look()).toEqual([
    3,
    [expect.stringContaining("demo agent is dead: no turn of the loop has been completed for 90 s")],
  ]);
  [health, slo] = [200, BROKEN];
  expect(await look()).toEqual([
    3,
    [expect.stringContaining("demo agent is rpo-broken: pg/db in local: no good backup for 2h, 1h is promised")],
  ]);
  expect(messages[0]).toMatchObject({ previous: "dead", severity: "critical", help: "orca help backup" });
});

test("what the webhook refuses is told at the next look", async () => {
  answer = 403;
  expect((await look())[1]).toHaveLength(1);
  expect((await look())[1]).toHaveLength(1);
  answer = 200;
  expect((await look())[1]).toHaveLength(1);
  expect((await look())[1]).toHaveLength(0);
});

test("the same is told again after `repeat`, also where the clock was set back", () => {
  const dead = { dead: "no agent answers", slo: undefined };
  const told = (nowMs: number): boolean =>
    chooseMessage(dead, { state: "dead", atMs: 100_000 }, { node: "demo", nowMs, repeatMs: 50_000 }).message !==
    undefined;
  expect([120_000, 149_999, 150_000, 90_000, 40_000].map(told)).toEqual([false, false, true, false, true]);
});
